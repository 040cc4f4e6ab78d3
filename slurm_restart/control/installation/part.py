"""A part of an installation: where it belongs, whether it is there, and how to put it there."""

import os
import shlex
import stat
from collections.abc import Callable, Sequence
from enum import Enum
from pathlib import Path

from slurm_restart.control.checks.path_owners import user_name
from slurm_restart.errors import CsxError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import read_bounded

_MAX_BYTES = 1 << 20
_END = "EOF_OF_SLURM_RESTART"
"""Ends a text in a shell script; no file of this package has such a line."""


class State(Enum):
    """Whether a part is there."""

    PRESENT = "present"
    MISSING = "missing"
    DIFFERS = "differs"
    """Something else is there, or it has another owner or mode."""


@frozen
class Part:
    """A part of an installation.

    Attributes:
        id: the name in the output: `hook`.
        what: what it is for.
        path: where it belongs.
        owner: whose it is; None: this is not of importance.
        mode: its permissions; None: as for `owner`.
        state: whether it is there.
        found: what is there, or is missing, in words.
        commands: lines of a shell script that put it there; empty if it is present.
    """

    id: str
    what: str
    path: Path
    state: State
    found: str
    owner: str | None = None
    mode: int | None = None
    commands: tuple[str, ...] = ()


def directory(what: str, path: Path, *, part: str, owner: str, mode: int) -> Part:
    """Return the part that is a directory with this owner and mode."""
    make = f"install -d -m {mode:o} -o {shlex.quote(owner)} {quote(path)}"
    state, found = _state(path, owner, mode, stat.S_ISDIR, "directory")
    return Part(
        id=part,
        what=what,
        path=path,
        owner=owner,
        mode=mode,
        state=state,
        found=found,
        commands=() if state is State.PRESENT else (make,),
    )


def file_of_root(
    what: str,
    path: Path,
    *,
    part: str,
    mode: int,
    commands: Sequence[str],
    problem: Callable[[str], str | None],
) -> Part:
    """Return the part that is a file of root's.

    Args:
        what: what it is for.
        path: where it belongs.
        part: the name in the output.
        mode: its permissions.
        commands: lines of a shell script that write it.
        problem: returns what is wrong with the text that is there; None: nothing.
    """
    state, found = _state(path, "root", mode, stat.S_ISREG, "file")
    if state is not State.MISSING:
        try:
            wrong = problem(read_bounded(path, _MAX_BYTES).decode(errors="replace"))
        except OSError as error:
            wrong = f"{path} cannot be read: {error.strerror}"
        except CsxError as error:
            wrong = str(error)
        if wrong is not None:
            state, found = State.DIFFERS, wrong
    return Part(
        id=part,
        what=what,
        path=path,
        owner="root",
        mode=mode,
        state=state,
        found=found,
        commands=() if state is State.PRESENT else tuple(commands),
    )


def _state(
    path: Path, owner: str, mode: int, kind: Callable[[int], bool], name: str
) -> tuple[State, str]:
    try:
        there = path.stat()
    except FileNotFoundError:
        return State.MISSING, f"there is no {path}"
    except OSError as error:
        return State.DIFFERS, f"{path}: {error.strerror}"
    bits = stat.S_IMODE(there.st_mode)
    if not kind(there.st_mode):
        return State.DIFFERS, f"{path} is no {name}"
    if user_name(there.st_uid) != owner:
        text = f"{path} belongs to {user_name(there.st_uid)}, expected {owner}"
        return State.DIFFERS, text
    if bits != mode:
        return State.DIFFERS, f"{path} has mode {bits:o}, expected {mode:o}"
    return State.PRESENT, f"{path}, {owner}, {mode:o}"


def quote(value: Path | str) -> str:
    """Return a word of a shell script."""
    return shlex.quote(os.fspath(value))


def write_file(path: Path, text: str, mode: int) -> tuple[str, ...]:
    """Return the lines of a shell script that replace a file at once."""
    new = quote(f"{path}.new")
    return (
        f"install -d -m 755 {quote(path.parent)}",
        f"cat > {new} <<'{_END}'",
        *text.rstrip("\n").split("\n"),
        _END,
        f"chmod {mode:o} {new} && mv {new} {quote(path)}",
    )
