"""One compile for a smaller restart: a process with low priority, and how it ended."""

import json
import os
import subprocess
import time
from contextlib import suppress
from dataclasses import asdict
from pathlib import Path

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.compile_sizes import CompileOutcome, compile_title
from slurm_restart.frozen import frozen
from slurm_restart.logs.scanner import LogScanner
from slurm_restart.safe_files import read_tail
from slurm_restart.supervise.child_process import module_command
from slurm_restart.supervise.reaper import TrainerCommand

END_TIMEOUT = 4.0
"""Seconds for the worker to end its compile."""
SCANNED = 1 << 20
"""Last bytes of the output of a failed compile that are searched for the reason."""
_WORKER = "slurm_restart.supervise.compile_worker"


@frozen
class CompileProcess:
    """A compile that goes on."""

    worker: "subprocess.Popen[bytes]"
    nodes: int
    num_csx: int
    log: Path
    """Its output."""
    began: float
    """Monotonic time."""

    @classmethod
    def start(
        cls, command: TrainerCommand, *, nodes: int, num_csx: int, log: Path
    ) -> "CompileProcess":
        """Start one.

        Raises:
            OSError: no process can be started.
        """
        worker = subprocess.Popen(
            module_command(_WORKER),
            stdin=subprocess.PIPE,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
            start_new_session=True,
        )
        request = {"command": asdict(command), "log": str(log)}
        if worker.stdin is not None:
            with suppress(BrokenPipeError):
                os.write(worker.stdin.fileno(), f"{json.dumps(request)}\n".encode())
        return cls(worker=worker, nodes=nodes, num_csx=num_csx, log=log, began=time.monotonic())

    @property
    def title(self) -> str:
        """What it is, for people."""
        return compile_title(self.num_csx)

    def poll(self) -> int | None:
        """Return its exit code; None: it goes on."""
        return self.worker.poll()

    def end(self) -> None:
        """End it with all its processes, and wait until that is done."""
        if self.worker.stdin is not None:
            self.worker.stdin.close()
        try:
            self.worker.wait(END_TIMEOUT)
        except subprocess.TimeoutExpired:
            # Those that are left are ended with the supervisor, or before the next attempt.
            self.worker.kill()


def judge(code: int, log: Path, scanner: LogScanner) -> tuple[CompileOutcome, str]:
    """Return how a compile ended, and why it failed.

    Only output that certainly tells of the compiler shows that a size does not compile: a full
    cluster or a lost connection passes.

    Args:
        code: its exit code.
        log: its output.
        scanner: has the rules by which that is judged.
    """
    if code == 0:
        return CompileOutcome.COMPILED, ""
    fresh = scanner.for_another_log()
    with suppress(OSError):
        fresh.feed(read_tail(log, SCANNED, follow=False))
    found = attribute_log(ExitFacts(exit_code=code), fresh.findings())
    refused = found.category is Category.COMPILE and found.confidence is Confidence.CERTAIN
    text = f"exit code {code}" if found.root_cause is None else found.root_cause.text
    return CompileOutcome.REFUSED if refused else CompileOutcome.FAILED, text
