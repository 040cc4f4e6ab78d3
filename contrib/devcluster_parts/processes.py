"""Processes of this machine, read from /proc and signalled without mistaking one for another."""

from __future__ import annotations

import contextlib
import ctypes
import os
import signal
import time
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from contrib.devcluster_parts.errors import DevclusterError, poll

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

LIBC = ctypes.CDLL(None)
PR_SET_PDEATHSIG = 1
PR_SET_CHILD_SUBREAPER = 36

# A process may end between any two looks at it.
GONE = (FileNotFoundError, ProcessLookupError)


@dataclass(frozen=True)
class Process:
    """One line of /proc/PID/stat; `started` (ticks since boot) with `pid` names it for good."""

    pid: int
    parent: int
    name: str
    state: str
    started: int

    @property
    def key(self) -> tuple[int, int]:
        """What names it, in the order in which processes were started."""
        return (self.started, self.pid)

    @property
    def alive(self) -> bool:
        """Whether it is still that process, and not only waiting to be reaped."""
        now = read_process(self.pid)
        return now is not None and now.started == self.started

    def signal(self, number: int) -> None:
        """Send a signal to this very process, never to a later one with the same pid."""
        try:
            handle = os.pidfd_open(self.pid)
        except ProcessLookupError:
            return
        try:
            if self.alive:
                signal.pidfd_send_signal(handle, number)
        except ProcessLookupError:
            pass
        except PermissionError as error:
            raise DevclusterError(
                f"may not signal process {self.pid} ({self.name}): run this as who ran `up`"
            ) from error
        finally:
            os.close(handle)

    def kill(self) -> None:
        """SIGKILL it and return once it is gone."""
        self.signal(signal.SIGKILL)
        poll(f"the end of {self.name} ({self.pid})", lambda: not self.alive, 60)


def read_process(pid: int) -> Process | None:
    """The process with that pid; None if there is none or it only waits to be reaped."""
    try:
        text = Path(f"/proc/{pid}/stat").read_text(errors="replace")
    except GONE:
        return None
    name = text[text.index("(") + 1 : text.rindex(")")]
    fields = text[text.rindex(")") + 2 :].split()
    if fields[0] in "ZX":
        return None
    return Process(pid, int(fields[1]), name, fields[0], int(fields[19]))


def read_processes() -> dict[int, Process]:
    """All processes of the machine by pid."""
    pids = (int(entry.name) for entry in os.scandir("/proc") if entry.name.isdigit())
    return {process.pid: process for process in map(read_process, pids) if process}


def environment_of(pid: int) -> dict[str, str]:
    """The environment that a process was started with; empty where it may not be read."""
    try:
        text = Path(f"/proc/{pid}/environ").read_bytes().decode(errors="replace")
    except (*GONE, PermissionError):
        return {}
    pairs = (item.partition("=") for item in text.split("\0") if "=" in item)
    return {key: value for key, _, value in pairs}


def open_files(pid: int) -> Iterator[str]:
    """What the open files of a process are, as /proc/PID/fd shows it (`socket:[123]`)."""
    with contextlib.suppress(*GONE, PermissionError):
        for entry in os.scandir(f"/proc/{pid}/fd"):
            with contextlib.suppress(*GONE):
                yield str(Path(entry.path).readlink())


def descendants(roots: Iterable[int], processes: dict[int, Process]) -> set[int]:
    """The roots that are alive, and everything below them."""
    children: dict[int, list[int]] = {}
    for process in processes.values():
        children.setdefault(process.parent, []).append(process.pid)
    found: set[int] = set()
    waiting = [pid for pid in roots if pid in processes]
    while waiting:
        pid = waiting.pop()
        if pid not in found:
            found.add(pid)
            waiting.extend(children.get(pid, ()))
    return found


def adopt_orphans() -> None:
    """Become the parent of what is orphaned below this process, in place of init."""
    LIBC.prctl(PR_SET_CHILD_SUBREAPER, 1, 0, 0, 0)


def die_with_parent() -> Callable[[], None]:
    """What a child of this process is to call first so that it does not outlive it."""
    parent = os.getpid()

    def in_child() -> None:
        LIBC.prctl(PR_SET_PDEATHSIG, signal.SIGKILL, 0, 0, 0)
        if os.getppid() != parent:  # it died in the meantime
            os._exit(1)

    return in_child


def signal_all(find: Callable[[], list[Process]], number: int) -> int:
    """Signal what `find` finds, also what was started meanwhile; how many that were."""
    signalled: set[tuple[int, int]] = set()
    while new := [process for process in find() if process.key not in signalled]:
        for process in new:
            process.signal(number)
            signalled.add(process.key)
    return len(signalled)


def kill_all(find: Callable[[], list[Process]], timeout: float = 90) -> int:
    """Let everything that `find` finds die, none outliving another; how many were killed.

    All are stopped first, so that none tells anybody of another's death (a slurmstepd reports the
    end of its script, an srun has a shepherd that has its step killed). Then children die before
    their parents: the kernel wakes up a stopped process group that loses its parent.

    Errors: DevclusterError names those that are still alive after `timeout` seconds.
    """
    killed: set[tuple[int, int]] = set()
    deadline = time.monotonic() + timeout
    signal_all(find, signal.SIGSTOP)
    while alive := find():
        if time.monotonic() > deadline:
            names = ", ".join(f"{process.name} ({process.pid})" for process in alive)
            raise DevclusterError(f"still alive {timeout:g} s after SIGKILL: {names}")
        for process in sorted(alive, key=lambda process: process.key, reverse=True):
            process.signal(signal.SIGKILL)
            killed.add(process.key)
        time.sleep(0.01)
    return len(killed)


def record(path: Path, pid: int) -> None:
    """Write down a process so that `read_recorded` knows it again."""
    process = read_process(pid)
    path.write_text(f"{pid} {process.started if process else 0}\n")


def read_recorded(path: Path) -> Process | None:
    """The process that was written down there, if it is alive."""
    try:
        pid, started = map(int, path.read_text().split())
    except (FileNotFoundError, ValueError):
        return None
    process = read_process(pid)
    return process if process and process.started == started else None
