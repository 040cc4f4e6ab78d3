"""Limit how many hooks run at the same time, so that many ends at once do not slow slurmctld."""

import fcntl
import os
import time
from pathlib import Path

from slurm_restart.errors import StateError

_POLL = 0.05


def take_slot(state_dir: Path, *, count: int, timeout: float) -> int | None:
    """Wait for one of `count` slots; return its descriptor, or None after `timeout` seconds.

    A slot is a locked file. Closing the descriptor releases it, and so does the end of the process.

    Raises:
        StateError: the slots cannot be opened.
    """
    folder = state_dir / "slots"
    deadline = time.monotonic() + timeout
    try:
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            for number in range(count):
                if (slot := _try(folder / str(number))) is not None:
                    return slot
            if time.monotonic() >= deadline:
                return None
            # The kernel does not notify when one of several locks is released, so they are polled.
            time.sleep(_POLL)
    except OSError as error:
        raise StateError(f"{folder}: {error.strerror}") from error


def _try(path: Path) -> int | None:
    descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except BlockingIOError:
        os.close(descriptor)
        return None
    return descriptor
