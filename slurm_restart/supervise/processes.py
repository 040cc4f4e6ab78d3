"""Processes of this node, from /proc and prctl(2): descendants, signals, subreapers."""

import ctypes
import os
import signal
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import suppress

# Numbers from linux/prctl.h.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36
# Of ioprio_set(2), which the C library does not wrap: numbers of the kernel's tables.
_IOPRIO_SET = {"x86_64": 251, "aarch64": 30}
_IOPRIO_WHO_PROCESS = 1
_IOPRIO_CLASS_IDLE = 3 << 13
_LOWEST = 19
"""The nice value of the lowest priority."""


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")


def release_memory() -> None:
    """Give free memory back to the kernel, where the C library can: malloc_trim(3) of glibc."""
    with suppress(AttributeError):
        ctypes.CDLL(None).malloc_trim(0)


def lower_priority() -> None:
    """Run this process after all others: CPU, disk, and who is killed if memory runs out.

    What it starts later inherits that. What the kernel or a container does not allow is left out.
    Where the kernel shares the CPUs by sessions (autogroup, see sched(7)), the priority of a
    process counts within its session alone, so that of the session is lowered too.
    """
    with suppress(OSError):
        os.setpriority(os.PRIO_PROCESS, 0, _LOWEST)
    if (number := _IOPRIO_SET.get(os.uname().machine)) is not None:
        ctypes.CDLL(None).syscall(number, _IOPRIO_WHO_PROCESS, 0, _IOPRIO_CLASS_IDLE)
    with suppress(OSError):
        _write_proc(os.getpid(), "oom_score_adj", "1000")
    set_session_priority(os.getpid(), _LOWEST)


def set_session_priority(pid: int, nice: int) -> None:
    """Set the nice value of a process's session, where the kernel shares the CPUs by sessions.

    Unlike that of a process it can be lowered again by everybody: a process that is killed needs
    some CPU time to end.
    """
    with suppress(OSError):
        _write_proc(pid, "autogroup", str(nice))


def _write_proc(pid: int, name: str, text: str) -> None:
    handle = os.open(f"/proc/{pid}/{name}", os.O_WRONLY | os.O_CLOEXEC)
    try:
        os.write(handle, text.encode())
    finally:
        os.close(handle)


def set_subreaper() -> None:
    """Make this process the parent of descendants whose own parent has died.

    Raises:
        OSError: the kernel does not support it (before 3.4).
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Have the kernel kill this process when `parent` dies; exit at once if it has died already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def signal_group(group: int, number: int, *, without_srun: bool = False) -> None:
    """Send a signal to a process group; a group that is gone or not ours is ignored.

    Args:
        group: the process group.
        number: the signal.
        without_srun: whether the processes of srun do not get it.
    """
    with suppress(ProcessLookupError, PermissionError):
        if not without_srun:
            os.killpg(group, number)
    for pid in _in_group(group) if without_srun else ():
        if not is_srun(pid):
            with suppress(ProcessLookupError, PermissionError):
                os.kill(pid, number)


def find_srun(group: int) -> list[int]:
    """Return the processes of srun in a process group."""
    return [pid for pid in _in_group(group) if is_srun(pid)]


def _in_group(group: int) -> list[int]:
    return [pid for pid, _, _, own_group in _list_processes() if own_group == group]


def is_srun(pid: int) -> bool:
    """Return whether a process executes srun."""
    return read_file(pid, "comm").strip() == b"srun"


def signal_descendants(
    root: int,
    number: int,
    *,
    excluded_group: int | None = None,
    already_signalled: tuple[int, int] | None = None,
) -> None:
    """Send a signal to everything below a process.

    Args:
        root: the process.
        number: the signal.
        excluded_group: a process group that does not get the signal.
        already_signalled: a process group, and the signal that it has had. Processes in it that
            have a handler for that signal may be handling it and are skipped, and so is srun, which
            ends with its tasks; one without a handler was forked after the signal was sent.
    """
    group, sent = already_signalled or (None, 0)
    signalled = set(descendants(root)) - set(descendants(root, excluded_group=group))
    for pid in descendants(root, excluded_group=excluded_group):
        if pid in signalled and (handles(pid, sent) or is_srun(pid)):
            continue
        with suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def descendants(root: int, *, excluded_group: int | None = None) -> tuple[int, ...]:
    """Return the ids of all processes below `root`, children first, without zombies."""
    children: dict[int, list[int]] = defaultdict(list)
    excluded = set()
    for pid, parent, state, group in _list_processes():
        children[parent].append(pid)
        if state in "ZX" or group == excluded_group:
            excluded.add(pid)
    return tuple(pid for pid in below((root,), children) if pid not in excluded)


def below(roots: Iterable[int], children: Mapping[int, Sequence[int]]) -> list[int]:
    """Return all processes below `roots`, without these, level by level.

    Args:
        roots: process ids.
        children: the ids of each process's children.
    """
    found: list[int] = []
    level = list(roots)
    known = set(level)
    while level:
        level = [pid for parent in level for pid in children.get(parent, ()) if pid not in known]
        # /proc is not read at one moment: parents may form a circle.
        known.update(level)
        found += level
    return found


def own_processes() -> Iterator[int]:
    """Yield the ids of this user's processes, as far as /proc shows them."""
    own = os.geteuid()
    for pid in _list_ids():
        with suppress(OSError):
            if os.stat(f"/proc/{pid}").st_uid == own:  # noqa: PTH116 - cheaper than Path
                yield pid


def read_file(pid: int, name: str) -> bytes:
    """Return the content of a file of /proc/PID; empty if it cannot be read."""
    try:
        with open(f"/proc/{pid}/{name}", "rb") as stream:  # noqa: PTH123 - cheaper than Path
            return stream.read()
    except OSError:
        return b""


def environment(pid: int) -> dict[bytes, bytes]:
    """Return the environment that a process was started with; empty if it cannot be read."""
    pairs = read_file(pid, "environ").split(b"\0")
    return {name: value for name, _, value in (pair.partition(b"=") for pair in pairs if pair)}


def handles(pid: int, number: int) -> bool:
    """Return whether a process has a handler for a signal."""
    caught = read_file(pid, "status").partition(b"SigCgt:")[2].split(maxsplit=1)
    return bool(caught) and bool(int(caught[0], 16) >> (number - 1) & 1)


def _list_ids() -> Iterator[int]:
    for name in os.listdir("/proc"):  # noqa: PTH208 - a Path object each costs too much
        if name.isdecimal():
            yield int(name)


def _list_processes() -> Iterator[tuple[int, int, str, int]]:
    """Yield (pid, parent, state, process group) of all visible processes."""
    for pid in _list_ids():
        if text := read_file(pid, "stat"):
            # The name in parentheses may contain anything, also `a) R 1`.
            state, parent, group = text.rpartition(b") ")[2].split(b" ", 3)[:3]
            yield pid, int(parent), state.decode(), int(group)
