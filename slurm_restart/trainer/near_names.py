"""Say that no checkpoint is there, with the names there that come nearest to the pattern."""

import os
import re

from slurm_restart.core.printable import escape_controls
from slurm_restart.trainer.checkpoint_names import is_unfinished
from slurm_restart.trainer.run_plan import CheckpointLayout

SHOWN = 3
MAX_NAMES = 200_000
"""Entries of a directory that are read."""
_MAX_KINDS = 1000
_DIGITS = re.compile(r"\d+")
_FIELD = re.compile(r"\*?\{[^{}]*\}|\*")
_LETTERS = 4
"""Letters at the beginning that make a name alike."""


def describe_absence(layout: CheckpointLayout) -> str:
    """Return where no checkpoint was found, what was expected and which names come nearest.

    Raises:
        OSError: the directory cannot be read.
    """
    if layout.is_remote:
        return f"the output has had no {describe_line(layout)}"
    directory, pattern = _deepest(layout)
    expected = f"{layout.written or layout.pattern!r} ({layout.format.value})"
    try:
        names = _nearest(directory, pattern, alike=False)
    except FileNotFoundError:
        return f"{directory} does not exist; expected in it: {expected}"
    near = f"; the nearest names are {_list(names)}" if names else "; it is empty"
    return f"nothing in {directory} matches {expected}{near}"


def describe_line(layout: CheckpointLayout) -> str:
    """Return which line of output shows a checkpoint below a URL, after "no" or "each"."""
    name = f"{layout.directory}/{layout.written or layout.pattern}"
    if layout.saved is not None:
        return f"line that matches {layout.saved!r} and names {name}"
    return f"line such as 'Saved checkpoint {name}'"


def near_names(layout: CheckpointLayout) -> tuple[str, tuple[str, ...]]:
    """Return the directory and the names in it that look like checkpoints of another pattern.

    They have a number, and the ending or the beginning of the pattern.

    Raises:
        OSError: the directory cannot be read.
    """
    directory, pattern = _deepest(layout)
    try:
        return directory, _nearest(directory, pattern, alike=True)
    except FileNotFoundError:
        return directory, ()


def _list(names: tuple[str, ...]) -> str:
    return ", ".join(escape_controls(name[:100]) for name in names)


def _deepest(layout: CheckpointLayout) -> tuple[str, str]:
    """Return the deepest directory that there is for the pattern, and the pattern of its names."""
    directory = layout.directory
    levels = layout.pattern.split("/")
    written = layout.written.split("/")
    if len(written) != len(levels):
        written = [""] * len(levels)
    # A plan of an earlier release has the regular expression only.
    written[-1] = written[-1] or re.sub(r"\\(.)|[(].*", r"\1", levels[-1])
    for level, shown in zip(levels[:-1], written, strict=False):
        try:
            with os.scandir(directory) as entries:
                matching = [
                    entry.path
                    for entry in entries
                    if re.fullmatch(level, entry.name) and entry.is_dir()
                ]
        except OSError:
            matching = []
        if not matching:
            return directory, shown
        directory = max(matching, key=lambda path: [len(path), path])
    return directory, written[-1]


def _nearest(directory: str, written: str, *, alike: bool) -> tuple[str, ...]:
    """Return the nearest names of different kinds, the nearest first.

    Raises:
        OSError: the directory cannot be read.
    """
    pattern = _FIELD.sub("0", written)
    kinds: dict[str, str] = {}
    with os.scandir(directory) as entries:
        for number, entry in enumerate(entries):
            kind = _DIGITS.sub("0", entry.name)
            if number >= MAX_NAMES or (len(kinds) >= _MAX_KINDS and kind not in kinds):
                break
            if alike and (is_unfinished(entry.name, "") or not _is_alike(kind, pattern)):
                continue
            kinds[kind] = max(kinds.get(kind, ""), entry.name, key=lambda name: (len(name), name))
    nearest = sorted(kinds, key=lambda kind: (-_common(kind, pattern), kind))
    return tuple(kinds[kind] for kind in nearest[:SHOWN])


def _is_alike(kind: str, pattern: str) -> bool:
    ending = pattern.rpartition(".")[2] if "." in pattern else ""
    begins = kind[: _same(kind, pattern)].rstrip("0")
    return "0" in kind and (
        (ending != "" and kind.endswith(f".{ending}")) or len(begins) >= _LETTERS
    )


def _common(kind: str, pattern: str) -> int:
    """Return how many characters at the beginning and at the end are the same, and a number."""
    return _same(kind, pattern) + _same(kind[::-1], pattern[::-1]) + ("0" in kind)


def _same(first: str, other: str) -> int:
    """Return how many characters two texts have in common at their beginning."""
    for number, (one_character, another) in enumerate(zip(first, other, strict=False)):
        if one_character != another:
            return number
    return min(len(first), len(other))
