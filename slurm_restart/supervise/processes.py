"""Processes of this node as Linux shows them: descendants, groups, and who reaps whom."""

import contextlib
import ctypes
import os
import signal
from collections import defaultdict
from collections.abc import Iterator

# As prctl(2) numbers them.
_PR_SET_PDEATHSIG = 1
_PR_SET_CHILD_SUBREAPER = 36


def _prctl(option: int, value: int) -> None:
    libc = ctypes.CDLL(None, use_errno=True)
    if libc.prctl(option, ctypes.c_ulong(value), 0, 0, 0) != 0:
        number = ctypes.get_errno()
        raise OSError(number, f"prctl: {os.strerror(number)}")


def become_subreaper() -> None:
    """Descendants whose parent has died become this process's children.

    Raises:
        OSError: the kernel knows no such thing (before 3.4).
    """
    _prctl(_PR_SET_CHILD_SUBREAPER, 1)


def die_with_parent(parent: int) -> None:
    """Be killed when the parent dies, or at once where it has died already."""
    _prctl(_PR_SET_PDEATHSIG, signal.SIGKILL)
    if os.getppid() != parent:
        os._exit(128 + signal.SIGKILL)


def signal_group(group: int, number: int) -> None:
    """Send a signal to a process group; one that is gone, or not ours, is passed over."""
    with contextlib.suppress(ProcessLookupError, PermissionError):
        os.killpg(group, number)


def signal_descendants(
    root: int, number: int, *, but_group: int | None = None, already_signalled: int | None = None
) -> None:
    """Send a signal to everything below a process.

    Args:
        root: the process.
        number: the signal.
        but_group: a process group that is left out.
        already_signalled: a process group that has had the signal. Processes in it that have a
            handler may be handling it and are skipped; one without a handler was forked after the
            signal was sent.
    """
    told = set(descendants(root)) - set(descendants(root, but_group=already_signalled))
    for pid in descendants(root, but_group=but_group):
        if pid in told and _handles(pid, number):
            continue
        with contextlib.suppress(ProcessLookupError, PermissionError):
            os.kill(pid, number)


def descendants(root: int, *, but_group: int | None = None) -> tuple[int, ...]:
    """All processes below one, the nearest first, without those that only wait to be reaped."""
    children: dict[int, list[int]] = defaultdict(list)
    left_out = set()
    for pid, parent, state, group in _all():
        children[parent].append(pid)
        if state in "ZX" or group == but_group:
            left_out.add(pid)
    found: list[int] = []
    level = children[root]
    while level:
        found += level
        level = [pid for parent in level for pid in children[parent]]
    return tuple(pid for pid in found if pid not in left_out)


def _handles(pid: int, number: int) -> bool:
    """Whether a process has a handler for a signal."""
    try:
        with open(f"/proc/{pid}/status", "rb") as stream:  # noqa: PTH123 - as below
            caught = stream.read().partition(b"SigCgt:")[2].split(maxsplit=1)[0]
    except (OSError, IndexError):
        return False
    return bool(int(caught, 16) >> (number - 1) & 1)


def _all() -> Iterator[tuple[int, int, str, int]]:
    """(pid, parent, state, process group) of all processes that this one may see."""
    for name in os.listdir("/proc"):  # noqa: PTH208 - a path object each would cost more than all else
        if not name.isdecimal():
            continue
        try:
            with open(f"/proc/{name}/stat", "rb") as stream:  # noqa: PTH123 - as above
                text = stream.read()
        except OSError:
            continue
        # The name, in parentheses, may hold anything: `a) R 1`.
        state, parent, group = text.rpartition(b") ")[2].split(b" ", 3)[:3]
        yield int(name), int(parent), state.decode(), int(group)
