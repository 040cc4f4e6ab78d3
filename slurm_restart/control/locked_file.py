"""Open and lock files that other processes replace or remove."""

import fcntl
import os
from pathlib import Path


def try_lock(path: Path, *, create: bool = False, wait: bool = False) -> int | None:
    """Open and lock a file; return its descriptor, which holds the lock until it is closed.

    None: another process has it locked, or the path names no file, or another one by now.

    Args:
        path: the file; a symbolic link is refused.
        create: make the file if there is none.
        wait: wait for the process that has it locked.

    Raises:
        OSError: it cannot be opened, or cannot be made as its folder is missing.
    """
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
    flags |= os.O_NONBLOCK  # a named pipe in its place is refused, not waited for
    try:
        descriptor = os.open(path, flags | (os.O_CREAT if create else 0), 0o600)
    except FileNotFoundError:
        if create:
            raise  # its folder is missing: no use in trying again
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | (0 if wait else fcntl.LOCK_NB))
        if _is_at(path, descriptor):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:  # an alarm too must not leave it open, and locked
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the path still names the open file; a file of another kind is refused later."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False
