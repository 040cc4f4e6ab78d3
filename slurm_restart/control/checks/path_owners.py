"""Find what lets another user replace a file: an owner or a mode anywhere in its path."""

import errno
import grp
import os
import pwd
import stat
from collections.abc import Collection, Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

_MAX_LINKS = 40
"""As Linux has it (path_resolution(7))."""
_ROOT_GROUP = 0


@dataclass(frozen=True)
class WeakPlace:
    """A file or a directory that another user can change, and why: `belongs to alice`."""

    path: Path
    reason: str

    def __str__(self) -> str:
        return f"{self.path} {self.reason}"


def weak_places(path: Path, trusted: Collection[int]) -> tuple[WeakPlace, ...]:
    """Return each place in a path that another user can change.

    Every directory from `/` on is examined, and where a part is a symbolic link, its target's too.

    Args:
        path: an absolute path.
        trusted: ids of the users who may own or write it.

    Raises:
        OSError: a part does not exist, or may not be examined.
    """
    return _weak(dict.fromkeys(_places(path)), trusted)


def weak_files(directory: Path, trusted: Collection[int]) -> tuple[WeakPlace, ...]:
    """Return each file and directory below a directory that another user can change.

    Raises:
        OSError: a directory may not be read.
    """
    return _weak(files_below(directory), trusted)


def files_below(directory: Path) -> Iterator[Path]:
    """Return every file and directory below a directory; no symbolic link is followed.

    Raises:
        OSError: a directory may not be read.
    """
    for folder, folders, files in os.walk(directory, onerror=_raise):
        yield from (Path(folder) / name for name in (*folders, *files))


def user_name(uid: int) -> str:
    """Return a user's name, or the number where there is none."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def _places(path: Path) -> Iterator[Path]:
    """Return every directory entry that is passed when the path is opened, from `/` on."""
    place, left, links = Path("/"), list(path.parts[1:]), 0
    yield place
    while left:
        name = left.pop(0)
        if name == "..":
            place = place.parent
            continue
        place /= name
        yield place
        if place.is_symlink():
            links += 1
            if links > _MAX_LINKS:
                raise OSError(errno.ELOOP, os.strerror(errno.ELOOP), str(path))
            target = place.readlink()
            absolute = target.is_absolute()
            place = Path("/") if absolute else place.parent
            left = [*(target.parts[1:] if absolute else target.parts), *left]


def _weak(places: Iterable[Path], trusted: Collection[int]) -> tuple[WeakPlace, ...]:
    found = ((place, _weakness(place, trusted)) for place in places)
    return tuple(WeakPlace(place, reason) for place, reason in found if reason)


def _weakness(place: Path, trusted: Collection[int]) -> str | None:
    status = place.lstat()
    if status.st_uid not in trusted:
        return f"belongs to {user_name(status.st_uid)}"
    if stat.S_ISLNK(status.st_mode):
        return None  # its mode means nothing
    if stat.S_ISDIR(status.st_mode) and status.st_mode & stat.S_ISVTX:
        return None  # in a sticky directory, such as /tmp, nobody can replace another's files
    if status.st_mode & stat.S_IWOTH:
        return "can be written by everybody"
    if status.st_mode & stat.S_IWGRP and status.st_gid != _ROOT_GROUP:
        return f"can be written by the group {_group_name(status.st_gid)}"
    return None


def _group_name(gid: int) -> str:
    try:
        return grp.getgrgid(gid).gr_name
    except KeyError:
        return str(gid)


def _raise(error: OSError) -> None:
    raise error
