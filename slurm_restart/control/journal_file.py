"""The file of a journal: opened and locked, read within bounds, replaced as a whole."""

import errno
import fcntl
import os
import stat
from pathlib import Path

from slurm_restart.control.locked_file import try_lock
from slurm_restart.control.state_dir import state_error
from slurm_restart.errors import StateError

MAX_READ = 64 * 1024 * 1024
"""Bytes that are read of a journal. It is written anew long before; nothing else may grow it."""
_GROWTH = 1 << 16
"""Bytes that may be added to a file that is not locked while it is read."""
GAP = b"\n(the middle of a journal that is too large)\n"


def open_locked(path: Path) -> int:
    """Open (or create) a journal and lock it; wait while another process has it locked.

    Raises:
        StateError: it cannot be opened.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        # While this process waited, the file may have been replaced, or removed as old.
        while (descriptor := try_lock(path, create=True, wait=True)) is None:
            pass
    except OSError as error:
        raise state_error(path, error) from error
    return descriptor


def read_file(path: Path, descriptor: int) -> bytes:
    """Return the content; of a file larger than `MAX_READ`, the first and the last half of it.

    Raises:
        StateError: not a regular file, or it cannot be read.
    """
    try:
        status = os.fstat(descriptor)
        if not stat.S_ISREG(status.st_mode):
            raise StateError(f"{path}: expected a regular file")
        if status.st_size <= MAX_READ:
            # Python makes a buffer of the whole length first, which takes 0.7 ms for 64 MB.
            return os.pread(descriptor, min(MAX_READ, status.st_size + _GROWTH), 0)
        half = MAX_READ // 2
        return (
            os.pread(descriptor, half, 0) + GAP + os.pread(descriptor, half, status.st_size - half)
        )
    except OSError as error:
        raise state_error(path, error) from error


def append_synced(path: Path, descriptor: int, data: bytes) -> None:
    """Append to a journal and wait until it is on disk.

    Raises:
        StateError: it is not; a part of it may be.
    """
    try:
        written = os.write(descriptor, data)
        if written == len(data):
            os.fsync(descriptor)
    except OSError as error:
        raise state_error(path, error) from error
    if written != len(data):
        raise state_error(path, OSError(errno.ENOSPC, os.strerror(errno.ENOSPC)))


def replace_file(path: Path, data: bytes) -> int:
    """Write a locked journal anew; return the descriptor of the new file, which is locked as well.

    Until the new file is on disk as a whole, the old one stays. Call it with the old one locked.

    Raises:
        OSError: it cannot be written; the old file is still there.
    """
    partial = path.with_suffix(".compact")
    partial.unlink(missing_ok=True)  # of a process that was killed
    descriptor = os.open(
        partial, os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600
    )
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        left = memoryview(data)
        while left:
            left = left[os.write(descriptor, left) :]
        os.fsync(descriptor)
        partial.replace(path)
        _sync_folder(path.parent)
    except BaseException:  # an alarm too must not leave half a file, or the lock
        os.close(descriptor)
        partial.unlink(missing_ok=True)
        raise
    return descriptor


def _sync_folder(folder: Path) -> None:
    """Wait until a rename in the folder is on disk."""
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
