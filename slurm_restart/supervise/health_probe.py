"""Check one node and print the answer as a line of JSON; runs once on each node of the job."""

import json
import os
import select
import signal
import socket
import subprocess
import sys
import time
from contextlib import suppress
from dataclasses import asdict, dataclass, field
from typing import Any

from slurm_restart.core.node_answers import NodeAnswer
from slurm_restart.supervise.health_problem import UnhealthyError
from slurm_restart.supervise.health_request import ProbeRequest, one_line
from slurm_restart.supervise.ready_checks import READY_CHECKS, CheckContext
from slurm_restart.trainer.health_check import share_of

MAX_NOTES = 5
_TAIL = 4096
"""Bytes of a command's output that are kept."""
_PIPE = 1 << 20
"""Bytes that are read at once: all that is in a pipe."""
_POLL = 0.1
"""Seconds between two looks whether a command has ended whose output stays open."""


@dataclass
class _Report:
    """What the process that checks has told until now."""

    at: str = "start"
    failure: tuple[str, str, int | None] | None = None
    notes: list[str] = field(default_factory=list)
    done: bool = False

    def add(self, line: bytes) -> None:
        message = json.loads(line)
        self.at = message.get("at", self.at)
        self.notes += message.get("notes", ())
        if "failure" in message:
            self.failure = message["failure"], self.at, message.get("code")
        self.done = self.done or "done" in message


def examine(request: ProbeRequest) -> NodeAnswer:
    """Check this node within the deadline, in a process of its own: a file system may hang."""
    reader, writer = os.pipe()
    child = os.fork()
    if child == 0:
        with suppress(BaseException):
            os.close(reader)
            os.setsid()
            _Examination(request, writer).run()
        os._exit(0)
    os.close(writer)
    report = _follow(reader, time.monotonic() + request.timeout)
    with suppress(OSError):
        os.killpg(child, signal.SIGKILL)  # also what a command has left
    notes = tuple(one_line(note) for note in report.notes[:MAX_NOTES])
    if report.failure is not None:
        text, check, code = report.failure
        return NodeAnswer(failure=f"{check}: {text}", check=check, code=code, notes=notes)
    if not report.done:
        text = f"{report.at}: no end within {request.timeout:g} s"
        return NodeAnswer(failure=text, check="deadline", notes=notes)
    return NodeAnswer(failure=None, notes=notes)


def _follow(reader: int, deadline: float) -> _Report:
    """Read what the process tells until it has ended or the deadline has passed."""
    report, rest = _Report(), b""
    while select.select([reader], [], [], max(0.0, deadline - time.monotonic()))[0]:
        data = os.read(reader, 65536)
        if not data:
            break
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            report.add(line)
        if report.done:
            break
    return report


class _Examination:
    """Runs the checks one after the other and tells what it does and finds."""

    def __init__(self, request: ProbeRequest, writer: int) -> None:
        self._request = request
        self._writer = writer

    def run(self) -> None:
        for check in self._request.checks:
            if not self._try(check):
                return
        if self._request.command is not None and not self._run_command(self._request.command):
            return
        self._tell(done=True)

    def _tell(self, **message: Any) -> None:
        os.write(self._writer, json.dumps(message).encode() + b"\n")

    def _try(self, check: str) -> bool:
        name, share = share_of(check)
        self._tell(at=name)
        request = self._request
        context = CheckContext(
            run_dir=request.run_dir, host=request.host, port=request.port, share=share
        )
        try:
            note = READY_CHECKS[name](context)
        except UnhealthyError as error:
            self._tell(failure=one_line(str(error)))
            return False
        except Exception as error:  # noqa: BLE001 - a check that fails itself says nothing
            note = f"not checked: {error!r}"
        if note is not None:
            self._tell(notes=[f"{name}: {note}"])
        return True

    def _run_command(self, command: str) -> bool:
        self._tell(at="command")
        try:
            child = subprocess.Popen(
                ["/bin/sh", "-c", command],
                cwd=self._request.work_dir,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
            )
        except OSError as error:
            self._tell(failure=one_line(f"{self._request.work_dir}: {error.strerror}"))
            return False
        text = _read_tail(child)
        code = child.wait()
        if code == 0:
            return True
        status = f"exit code {code}" if code > 0 else f"signal {-code}"
        self._tell(failure=f"{one_line(text)} ({status})", code=code)
        return False


def _read_tail(child: "subprocess.Popen[bytes]") -> str:
    """Return the end of a command's output once it has ended.

    A process that it has left may keep the pipe open, and may write for ever.
    """
    if child.stdout is None:
        return ""
    stream, tail = child.stdout.fileno(), b""
    os.set_blocking(stream, False)
    is_over = False
    while not is_over:
        # Looked at before the pipe is read, so that all that it has written is.
        is_over = child.poll() is not None
        select.select([stream], [], [], 0 if is_over else _POLL)
        with suppress(BlockingIOError):
            data = os.read(stream, _PIPE)
            tail = (tail + data)[-_TAIL:]
            if not data:
                break
    return tail.decode(errors="replace")


def main() -> None:
    """Check this node; the argument is the request as JSON."""
    values = json.loads(sys.argv[1])
    request = ProbeRequest(**values | {"checks": tuple(values["checks"])})
    answer = examine(request)
    name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
    # One write, so that lines of several nodes do not mix.
    os.write(1, json.dumps({"node": name, **asdict(answer)}).encode() + b"\n")
    # A process that hangs in the kernel cannot be waited for.
    os._exit(0)
