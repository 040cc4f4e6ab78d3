"""Open files that another user may have put there: regular ones only, never blocking, bounded."""

import errno
import io
import os
import stat
from pathlib import Path

_KINDS = {
    stat.S_IFDIR: "a directory",
    stat.S_IFIFO: "a named pipe",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
    stat.S_IFSOCK: "a socket",
    stat.S_IFLNK: "a symbolic link",
}
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


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


def open_append(path: str | Path, mode: int = 0o644, *, directory: int | None = None) -> int:
    """Open a regular file for appending, or create it; a symbolic link is refused.

    Args:
        path: the file.
        mode: permissions of a new file.
        directory: an open directory that a relative `path` starts from; None: the working one.

    Raises:
        NotRegularFileError: there is something at `path` that is no regular file.
        OSError: the file cannot be opened or created.
    """
    flags = os.O_WRONLY | os.O_APPEND | os.O_CREAT
    return _open(path, flags, follow=False, mode=mode, directory=directory)


def create_new(path: str | Path, data: bytes, *, mode: int = 0o644) -> bool:
    """Create a file with this content unless the path exists; return whether it was created.

    Of several processes, one creates the file. A reader may see it while it is still empty, and it
    may be so after a power cut.

    Raises:
        OSError: it cannot be created; on a full disk it may stay, empty.
    """
    flags = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC | os.O_NOFOLLOW
    try:
        descriptor = os.open(path, flags, mode)
    except FileExistsError:
        return False
    try:
        os.write(descriptor, data)
    finally:
        os.close(descriptor)
    return True


def open_binary(path: str | Path, *, follow: bool = True) -> io.BufferedReader:
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
    descriptor = os.open(path, _DIRECTORY)
    try:
        return open_below(descriptor, *below, shown=path)
    finally:
        os.close(descriptor)


def open_below(directory: int, *below: str, shown: str | Path = "") -> int:
    """Open a directory below an open one and return a new descriptor; no link is followed.

    Args:
        directory: an open directory; it stays open.
        below: names of directories, each inside the one before.
        shown: the path of `directory` for error messages.

    Raises:
        OSError: one of `below` is no directory, or a symbolic link.
    """
    descriptor, path = os.open(".", _DIRECTORY, dir_fd=directory), Path(shown)
    for name in below:
        path /= name
        try:
            inner = os.open(name, _DIRECTORY | os.O_NOFOLLOW, dir_fd=descriptor)
        except OSError as error:
            message = f"expected a directory, no link: {error.strerror}"
            raise OSError(error.errno, message, str(path)) from error
        finally:
            os.close(descriptor)
        descriptor = inner
    return descriptor


def open_own_directory(path: str | Path) -> int:
    """Open a directory of the calling user, who is not root, and return its descriptor.

    A user who may replace parts of the path cannot direct the writes of root, or of another user,
    to a directory of their choice: the owner is that of the directory that was opened.

    Raises:
        PermissionError: the caller is root, or the directory belongs to another user.
        OSError: it cannot be opened.
    """
    descriptor = open_directory(path)
    owner, user = os.fstat(descriptor).st_uid, os.geteuid()
    if user == 0 or owner != user:
        os.close(descriptor)
        expected = "expected an owner who is not root" if user == 0 else f"expected owner {user}"
        raise PermissionError(errno.EPERM, f"{expected}, got owner {owner}", str(path))
    return descriptor


def _open(
    path: str | Path, flags: int, *, follow: bool, mode: int = 0, directory: int | None = None
) -> int:
    # Opening alone can have an effect on a device, so that the kind is asked for first; what was
    # opened is examined again, as the name may have been given to another file meanwhile.
    _refuse_other_kinds(path, follow=follow, directory=directory)
    flags |= os.O_NONBLOCK | os.O_CLOEXEC | os.O_NOCTTY | (0 if follow else os.O_NOFOLLOW)
    descriptor = os.open(path, flags, mode, dir_fd=directory)
    try:
        _require_regular(os.fstat(descriptor).st_mode, path)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _refuse_other_kinds(path: str | Path, *, follow: bool, directory: int | None) -> None:
    try:
        status = os.stat(path, dir_fd=directory, follow_symlinks=follow)
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
