"""The state directory: when its records begin, who owns its files, and what is wrong with it."""

import errno
import os
import pwd
import time
from collections.abc import Iterator
from functools import cache
from pathlib import Path

from slurm_restart.errors import StateError
from slurm_restart.safe_files import create_new, read_bounded

BIRTH = "created"
"""The file that holds the time from which on the state directory has records."""
_MAX_BIRTH = 64
_FULL = {errno.ENOSPC, errno.EDQUOT}


def birth(state_dir: Path) -> int:
    """Return since when the state directory has held the journals, in epoch seconds.

    Ends before that time may have been in journals that are gone: a sweep does not judge them.
    The first process that comes to a new or emptied directory writes the time, for good; in a
    directory that already has journals it is the time of the oldest.

    Raises:
        StateError: the directory cannot be made, read or written.
    """
    path = state_dir / BIRTH
    try:
        try:
            return _read_birth(path)
        except FileNotFoundError:
            state_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
            create_new(path, f"{_oldest_journal(state_dir)}\n".encode(), mode=0o600)
            return _read_birth(path)
    except OSError as error:
        raise state_error(path, error) from error


def _read_birth(path: Path) -> int:
    text = read_bounded(path, _MAX_BIRTH, follow=False).decode("ascii", "replace").strip()
    # Another process may just have made the file, or the disk was full: its own time is the same.
    return int(text) if text.isdecimal() else int(path.lstat().st_mtime)


def _oldest_journal(state_dir: Path) -> int:
    """Return the time of the oldest journal, or the current time if there is none."""
    times = [path.lstat().st_mtime for path in state_dir.glob("journal/*/*.jsonl")]
    return int(min(times, default=time.time()))


def foreign_files(state_dir: Path, uid: int) -> Iterator[tuple[Path, int]]:
    """Yield the files that do not belong to the user `uid`, each with the uid of its owner.

    Raises:
        StateError: the state directory cannot be read.
    """
    try:
        owner = state_dir.lstat().st_uid
        if owner != uid:
            yield state_dir, owner
        yield from _foreign_below(state_dir, uid)
    except OSError as error:
        raise state_error(Path(error.filename or state_dir), error) from error


def _foreign_below(folder: Path, uid: int) -> Iterator[tuple[Path, int]]:
    with os.scandir(folder) as entries:
        for entry in entries:
            try:
                owner = entry.stat(follow_symlinks=False).st_uid
            except FileNotFoundError:
                continue  # removed meanwhile
            path = folder / entry.name
            if owner != uid:
                yield path, owner
            if entry.is_dir(follow_symlinks=False) and os.access(path, os.R_OK | os.X_OK):
                yield from _foreign_below(path, uid)


@cache
def user_name(uid: int) -> str:
    """Return the name of a user, or the uid as text if it has no account."""
    try:
        return pwd.getpwuid(uid).pw_name
    except KeyError:
        return str(uid)


def format_foreign(path: Path, owner: int, uid: int) -> str:
    """Return the message about a file of another user, with the remedy."""
    name = user_name(uid)
    return f"{path}: belongs to {user_name(owner)}, not to {name}: chown {name} {path}"


def state_error(path: Path, error: OSError) -> StateError:
    """Return the error about a file of the state directory, with the cause and the remedy."""
    if error.errno in _FULL:
        return StateError(f"{path}: {os.strerror(error.errno)}: make room on its file system")
    if error.errno in (errno.EACCES, errno.EPERM):
        return StateError(_format_refusal(path, error))
    return StateError(f"{path}: {error.strerror or error}")


def _format_refusal(path: Path, error: OSError) -> str:
    """Return why a file may not be used: the first in its path that belongs to somebody else."""
    uid = os.geteuid()
    for part in (path, *path.parents):
        try:
            owner = part.lstat().st_uid
        except OSError:
            continue  # it does not exist, or a directory above it may not be searched
        if owner == uid:
            return f"{part}: {error.strerror}: chmod u+rwX {part}"
        return format_foreign(part, owner, uid)
    return f"{path}: {error.strerror}"
