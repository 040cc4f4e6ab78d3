"""End Python processes of one node by SIGABRT, on which faulthandler prints their stacks.

It runs in a process of its own on each node. No core file is written, and only processes that have
a handler for the signal get it, each once the one before has printed: they may share a pipe. All
are stopped before, on all nodes: one that notices that another has ended would go on, or fail,
without its stack.
"""

import contextlib
import json
import os
import re
import resource
import select
import signal
import stat
import sys
import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import Annotated

from slurm_restart.core.record_reader import Text, to_data
from slurm_restart.frozen import frozen
from slurm_restart.supervise.job_processes import JobProcesses, ProcessStat
from slurm_restart.supervise.node_probe import COUNT, parse_arguments
from slurm_restart.supervise.processes import handles, read_file
from slurm_restart.supervise.shells import hold_shells
from slurm_restart.supervise.stack_dump import is_python

EACH = 1.0
"""Seconds that a process has to print its stacks: one of PyTorch took 2 ms."""
EACH_IN_KERNEL = 0.1
"""The same for one in state D, which handles no signal."""
TOTAL = 5.0
"""Seconds for all of a node; then the rest gets the signal at once."""
MAX_FILE = 1 << 16
"""Bytes that are read of a file that standard error goes to."""
WITHOUT_TERM, ALL = "without-term", "all"
"""Which of the processes get the signal: those without a handler for TERM, or all."""
STOPPED = "stopped"
"""In front of the node's name, once all processes of the node are stopped."""
_MAX_RANGES = 4096
_RANGE = re.compile(r"([0-9a-f]{1,16})-([0-9a-f]{1,16})", re.ASCII)
_POLL = 0.001
_PF_EXITING = 0x4
"""The flag of a process that has begun to end; from linux/sched.h."""
_CORE_PATTERN = Path("/proc/sys/kernel/core_pattern")


@frozen
class Aborted:
    """A process that was to get SIGABRT."""

    node: Annotated[str, Text(most=256)]
    pid: int
    refused: Annotated[str, Text(most=512)] = ""
    """Why it did not get it; empty: it did."""
    memory: str = ""
    """The ranges of its memory in which its threads' data may be: `7f00-7f80 …`, hexadecimal."""
    printed: str = ""
    """What it printed, if its standard error is a file."""

    @property
    def ranges(self) -> tuple[tuple[int, int], ...]:
        """The ranges of memory as numbers."""
        return tuple((int(begin, 16), int(end, 16)) for begin, end in _RANGE.findall(self.memory))


def abort(
    stats: Sequence[ProcessStat],
    node: str,
    *,
    without_term: bool,
    await_turn: Callable[[], None] = lambda: None,
    total: float = TOTAL,
) -> Iterator[Aborted]:
    """Send SIGABRT to processes, and yield what has become of each.

    Args:
        stats: the processes. Those started last come first.
        node: name of this node.
        without_term: whether those are left out that have a handler for TERM, in which they may
            save what they hold.
        await_turn: called once they are stopped; returns when the first may get the signal.
        total: seconds from then on in which each is waited for.
    """
    refused = {process.pid: _refusal(process.pid, without_term) for process in stats}
    receivers = [pid for pid, reason in refused.items() if not reason]
    try:
        _send(receivers, signal.SIGSTOP)
        await_turn()
        until = time.monotonic() + total
        for process in sorted(stats, key=lambda found: found.started, reverse=True):
            if reason := refused[process.pid]:
                yield Aborted(node=node, pid=process.pid, refused=reason)
            else:
                yield _abort(process, node, until)
    finally:
        # Whatever has failed, none is left stopped.
        _send([pid for pid in receivers if not is_ending(pid)], signal.SIGCONT)


def _send(pids: Sequence[int], number: int) -> None:
    for pid in pids:
        with contextlib.suppress(OSError):
            os.kill(pid, number)


def _refusal(pid: int, without_term: bool) -> str:  # noqa: FBT001 - private
    """Return why a process does not get the signal; empty: it does."""
    if without_term and handles(pid, signal.SIGTERM):
        return "it has a handler for TERM"
    if not (is_python(pid) and handles(pid, signal.SIGABRT)):
        return "it has no handler for SIGABRT any more"
    return prevent_core(pid) or ""


def _abort(process: ProcessStat, node: str, until: float) -> Aborted:
    pid, memory, errors = process.pid, _memory(process.pid), _ErrorFile.of(process.pid)
    with contextlib.suppress(OSError):
        os.kill(pid, signal.SIGABRT)
        os.kill(pid, signal.SIGCONT)  # it handles the pending signal before anything else
    limit = EACH_IN_KERNEL if process.state == "D" else EACH
    deadline = min(until, time.monotonic() + limit)
    while not is_ending(pid) and time.monotonic() < deadline:
        time.sleep(_POLL)
    printed = "" if errors is None else errors.read()
    return Aborted(node=node, pid=pid, memory=memory, printed=printed)


def prevent_core(pid: int, pattern: Path = _CORE_PATTERN) -> str | None:
    """Let a process write no core dump when it ends; return why that is not possible.

    A limit of 0 prevents a core file, and one of 1 prevents that the dump is piped to a program,
    for which all other limits are ignored (fs/coredump.c of the kernel, core(5)). There is no limit
    for a dump that is sent to a socket (`@` in core_pattern).
    """
    try:
        kind = pattern.read_bytes()[:1]
        soft, hard = resource.prlimit(pid, resource.RLIMIT_CORE)
        limit = 0 if kind not in (b"|", b"@") else 1
        if kind == b"@" or limit > hard != resource.RLIM_INFINITY:
            return "a core dump cannot be prevented"
        if soft != limit:
            resource.prlimit(pid, resource.RLIMIT_CORE, (limit, hard))
    except (OSError, ValueError) as error:
        return f"a core dump cannot be prevented: {error}"
    return None


def is_ending(pid: int) -> bool:
    """Return whether a process has ended or begun to: it prints nothing more."""
    fields = read_file(pid, "stat").rpartition(b") ")[2].split()
    # Fields 3 and 9 of proc(5).
    return not fields or fields[0] in (b"Z", b"X") or bool(int(fields[6]) & _PF_EXITING)


def _memory(pid: int) -> str:
    """Return the ranges that are written to and are no file's, as far as they can be read."""
    found = []
    for line in read_file(pid, "maps").splitlines():
        fields = line.split()
        if fields[1][:2] == b"rw" and fields[4] == b"0":
            found.append(fields[0].decode())
    return " ".join(found[:_MAX_RANGES])


@frozen
class _ErrorFile:
    """A file that the standard error of a process goes to, and how long it was."""

    path: str
    size: int

    @classmethod
    def of(cls, pid: int) -> "_ErrorFile | None":
        path = f"/proc/{pid}/fd/2"
        with contextlib.suppress(OSError):
            found = Path(path).stat()
            if stat.S_ISREG(found.st_mode):
                return cls(path=str(Path(path).readlink()), size=found.st_size)
        return None

    def read(self) -> str:
        """Return what has come in since."""
        with contextlib.suppress(OSError), Path(self.path).open("rb") as stream:
            stream.seek(self.size)
            return stream.read(MAX_FILE).decode(errors="replace")
        return ""


def main() -> None:
    """Send the signal, and print what became of each process, as JSON lines.

    Shells are stopped before: TERM and CONT have to follow.

    Once all are stopped, a line says so, and nothing gets the signal before the standard input has
    ended, which is the sign that those of the other nodes are stopped too.

    Arguments: those of `node_probe`; `without-term` or `all`; the seconds after which that is
    waited for no longer; those by which each node then waits longer than the one before; and the
    processes, as `NODE=PID,PID NODE=PID`.
    """
    # Slurm's signals to the job's steps are not for this one.
    signal.signal(signal.SIGTERM, signal.SIG_IGN)
    *which, receivers, patience, pause, targets = sys.argv[1:]
    belonging, node = parse_arguments(which[:COUNT])
    by_node = dict(part.partition("=")[::2] for part in targets.split())
    wanted = {int(pid) for pid in by_node.get(node, "").split(",") if pid}
    processes = JobProcesses(belonging).find()
    if wanted and receivers == WITHOUT_TERM:
        hold_shells(process.pid for process in processes)
    stats = [process for process in processes if process.pid in wanted]

    def await_turn() -> None:
        _print(f"{STOPPED} {node}")
        if stats:
            select.select([sys.stdin], [], [], float(patience))
            time.sleep(float(pause) * list(by_node).index(node))

    without_term = receivers == WITHOUT_TERM
    for aborted in abort(stats, node, without_term=without_term, await_turn=await_turn):
        _print(json.dumps(to_data(aborted)))


def _print(line: str) -> None:
    sys.stdout.write(f"{line}\n")
    sys.stdout.flush()
