"""Files that another process may read at any moment: written whole, or not at all."""

import os
from pathlib import Path

from slurm_restart.safe_files import open_directory


def write_atomic(path: Path, data: bytes, *, mode: int = 0o644) -> None:
    """Write a file so that a reader sees the old content or the new one, also after a power cut.

    Raises:
        OSError: no space, no permission; the old content is still there then.
    """
    directory = open_directory(path.parent)
    try:
        write_atomic_in(directory, path.name, data, mode=mode)
    except OSError as error:
        raise OSError(error.errno, error.strerror, str(path)) from error
    finally:
        os.close(directory)


def write_atomic_in(directory: int, name: str, data: bytes, *, mode: int = 0o644) -> None:
    """Write the file `name` in an open directory, as `write_atomic` does.

    Raises:
        OSError: no space, no permission; the old content is still there then.
    """
    partial = f".{name}.{os.urandom(4).hex()}"
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    handle = os.open(partial, flags, 0o600, dir_fd=directory)
    try:
        with os.fdopen(handle, "wb") as stream:
            stream.write(data)
            stream.flush()
            os.fchmod(stream.fileno(), mode)
            os.fsync(stream.fileno())
        os.replace(partial, name, src_dir_fd=directory, dst_dir_fd=directory)
    except BaseException:
        os.unlink(partial, dir_fd=directory)
        raise
    # The rename itself is on disk only once the directory is.
    os.fsync(directory)


def set_aside_in(directory: int, name: str, at: float) -> str:
    """Rename a file that cannot be used to `NAME.corrupt-SECONDS`; return the new name.

    Args:
        directory: an open directory.
        name: the file.
        at: epoch seconds; the next free second is taken, so that no earlier file is replaced.

    Raises:
        OSError: it cannot be renamed.
    """
    number = int(at)
    while _exists(directory, aside := f"{name}.corrupt-{number}"):
        number += 1
    os.rename(name, aside, src_dir_fd=directory, dst_dir_fd=directory)
    return aside


def _exists(directory: int, name: str) -> bool:
    try:
        os.stat(name, dir_fd=directory, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return True
