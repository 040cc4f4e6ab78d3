"""Bound how many hooks think at the same time: a storm of ends must not slow the controller."""

import fcntl
import os
import time
from pathlib import Path

from slurm_restart.errors import StateError

_POLL = 0.05


def take_slot(state_dir: Path, *, count: int, timeout: float) -> int | None:
    """Wait for one of `count` places; returns its descriptor, or None after `timeout` seconds.

    The place is given back when the descriptor is closed, in any death of the process.

    Raises:
        StateError: the places cannot be opened.
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
            # Nothing tells when a lock of another process is given back, so it is looked for.
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
