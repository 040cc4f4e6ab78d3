"""The file of a journal: opened and locked, read within bounds, replaced as a whole."""

import errno
import fcntl
import os
import stat
from pathlib import Path

from slurm_restart.control.state_dir import state_error
from slurm_restart.errors import StateError

MAX_READ = 64 * 1024 * 1024
"""Bytes that are read of a journal. It is written anew long before; nothing else may grow it."""
GAP = b"\n(the middle of a journal that is too large)\n"


def open_locked(path: Path) -> int:
    """Open (or create) a journal and lock it; wait while another process has it locked.

    Raises:
        StateError: it cannot be opened.
    """
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        while True:
            descriptor = _open(path, os.O_CREAT)
            try:
                fcntl.flock(descriptor, fcntl.LOCK_EX)
                # While this process waited, the file may have been replaced, or removed as old.
                if _is_at(path, descriptor):
                    return descriptor
            except BaseException:
                os.close(descriptor)
                raise
            os.close(descriptor)
    except OSError as error:
        raise state_error(path, error) from error


def try_lock(path: Path) -> int | None:
    """Open and lock a journal that exists; None: another process has it locked, or it is gone.

    Raises:
        OSError: it cannot be opened.
    """
    try:
        descriptor = _open(path, 0)
    except FileNotFoundError:
        return None
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        if _is_at(path, descriptor):
            return descriptor
    except BlockingIOError:
        pass
    except BaseException:
        os.close(descriptor)
        raise
    os.close(descriptor)
    return None


def _open(path: Path, more: int) -> int:
    flags = os.O_RDWR | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW | more
    flags |= os.O_NONBLOCK  # a named pipe in its place is refused, not waited for
    return os.open(path, flags, 0o600)


def _is_at(path: Path, descriptor: int) -> bool:
    """Whether the path still names the open file; a file of another kind is refused later."""
    try:
        return os.path.samestat(path.lstat(), os.fstat(descriptor))
    except FileNotFoundError:
        return False


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
            return os.pread(descriptor, MAX_READ, 0)
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
    except BaseException:
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
