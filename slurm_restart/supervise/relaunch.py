"""Restart in place: replace this process by a new supervisor of the same job.

The process id stays, so that Slurm sees the end of the batch script as before if the new supervisor
fails or is killed at any point: the hook then judges that end.
"""

import os
import signal
import sys
import time
from collections.abc import Iterable, Sequence
from contextlib import suppress

from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.supervise.reaper import IN_PLACE, IN_PLACE_NODES

REAPER_TIMEOUT = 1.0
"""Seconds for the reaper to end once none of the trainer's processes is left."""
_POLL = 0.01
"""Seconds between two looks: waitpid(2) has no time limit, and the restart waits for this."""


def has_ended_cleanly(reaper: int) -> bool:
    """Return whether the reaper has ended by itself, so that no process of the trainer is left."""
    until = time.monotonic() + REAPER_TIMEOUT
    while True:
        try:
            pid, status = os.waitpid(reaper, os.WNOHANG)
        except ChildProcessError:
            return False
        if pid:
            return status == 0
        if time.monotonic() > until:
            return False
        time.sleep(_POLL)


def relaunch(restarts: int, nodes: Sequence[str], spares: Sequence[str]) -> OSError:
    """Become the supervisor of the next attempt; return only the error if that is not possible.

    Signals that are blocked stay pending until that supervisor handles them.

    Args:
        restarts: restarts in place in this allocation, the one that begins now included.
        nodes: those of the next attempt.
        spares: those that could take the place of one later.
    """
    with suppress(OSError):
        # The program of a batch script reads its input (--input) from the beginning.
        os.lseek(0, 0, os.SEEK_SET)
    command = [sys.executable, *sys.orig_argv[1:]]
    try:
        variables = os.environ | {
            IN_PLACE: str(restarts),
            IN_PLACE_NODES: f"{format_hostlist(nodes)} {format_hostlist(spares)}",
        }
        os.execve(sys.executable, command, variables)  # noqa: S606 - no shell is wanted
    except OSError as error:
        return error


def block(numbers: Iterable[int]) -> None:
    """Let signals to this thread wait."""
    signal.pthread_sigmask(signal.SIG_BLOCK, numbers)


def unblock(numbers: Iterable[int]) -> None:
    """Let signals arrive that have waited."""
    signal.pthread_sigmask(signal.SIG_UNBLOCK, numbers)
