"""Open files that another user may have put there: regular ones only, never blocking, bounded."""

import errno
import os
import stat
from pathlib import Path
from typing import BinaryIO

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symbolic link",
}


class NotRegularFileError(OSError):
    """The path does not name a regular file. `strerror` names its kind."""


class FileTooLargeError(OSError):
    """The file has more bytes than the caller reads."""

    size: int
    """Bytes of the file when it was opened, or as many as were read if that is more."""


def open_regular(path: str | Path, *, follow: bool = True) -> int:
    """Open a regular file for reading and return its descriptor.

    The open never waits: not for the writer of a named pipe, not for a terminal, not for the
    holder of a lease.

    Args:
        path: a file; another user may replace it at any moment.
        follow: False refuses a symbolic link as the last part of the path.

    Raises:
        NotRegularFileError: a directory, pipe, device, socket, or a link that is not followed.
        OSError: the file cannot be opened, or the path holds a NUL character.
    """
    return _open(path, os.O_RDONLY, follow=follow)


def open_append(path: str | Path, mode: int = 0o644) -> int:
    """Open a regular file for appending, or create it; a symbolic link is refused.

    Raises:
        NotRegularFileError: there is something at `path` that is no regular file.
        OSError: the file cannot be opened or created.
    """
    return _open(path, os.O_WRONLY | os.O_APPEND | os.O_CREAT, follow=False, mode=mode)


def open_binary(path: str | Path, *, follow: bool = True) -> BinaryIO:
    """Return `open_regular` as a buffered binary stream.

    Raises:
        OSError: as `open_regular`.
    """
    return os.fdopen(open_regular(path, follow=follow), "rb")


def read_bounded(path: str | Path, limit: int, *, follow: bool = True) -> bytes:
    """Return the content of a regular file of at most `limit` bytes.

    Raises:
        FileTooLargeError: it has more bytes, now or by growing while it is read.
        OSError: as `open_regular`.
    """
    with open_binary(path, follow=follow) as stream:
        size = os.fstat(stream.fileno()).st_size
        data = b"" if size > limit else stream.read(limit + 1)
    if max(size, len(data)) > limit:
        error = FileTooLargeError(errno.EFBIG, f"expected at most {limit} bytes", str(path))
        error.size = max(size, len(data))
        raise error
    return data


def read_tail(path: str | Path, limit: int, *, follow: bool = True) -> bytes:
    """Return the last `limit` bytes of a regular file, or all of a shorter one.

    Raises:
        OSError: as `open_regular`.
    """
    with open_binary(path, follow=follow) as stream:
        size = stream.seek(0, os.SEEK_END)
        stream.seek(max(0, size - limit))
        return stream.read(limit)


def open_directory(path: str | Path, *below: str) -> int:
    """Open a directory, for use as `dir_fd`, and return its descriptor.

    Args:
        path: a directory; symbolic links in it are followed.
        below: names of directories below it, each inside the one before; no link is followed.

    Raises:
        OSError: it cannot be opened, or one of `below` is no directory or a symbolic link.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC
    descriptor = os.open(path, flags)
    shown = Path(path)
    for name in below:
        shown /= name
        try:
            inner = os.open(name, flags | os.O_NOFOLLOW, dir_fd=descriptor)
        except OSError as error:
            message = f"expected a directory, no link: {error.strerror}"
            raise OSError(error.errno, message, str(shown)) from error
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def _open(path: str | Path, flags: int, *, follow: bool, mode: int = 0) -> int:
    # Opening alone can have an effect on a device, so that the kind is asked for first; what was
    # opened is examined again, as the name may have been given to another file meanwhile.
    _refuse_other_kinds(path, follow=follow)
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, mode)
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_other_kinds(path: str | Path, *, follow: bool) -> None:
    try:
        status = Path(path).stat(follow_symlinks=follow)
    except FileNotFoundError:
        return  # created, or refused by open() itself
    except ValueError as error:  # a NUL character, or text that no file name can be made of
        raise OSError(errno.EINVAL, str(error), str(path)) from None
    _require_regular(status.st_mode, path)


def _require_regular(mode: int, path: str | Path) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "a special file")
        raise NotRegularFileError(
            errno.EISDIR if stat.S_ISDIR(mode) else errno.EINVAL,
            f"expected a regular file, got {kind}",
            str(path),
        )
