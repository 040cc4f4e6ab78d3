"""Find the checkpoints of a run by their names, and sort them by epoch and step."""

import os
import re
from collections.abc import Callable, Iterator
from heapq import heappush, heappushpop
from pathlib import Path
from typing import Any, Protocol

from slurm_restart.core.job_comment import MAX_STEP
from slurm_restart.frozen import frozen
from slurm_restart.trainer.checkpoint_forms import FORMS, Kind
from slurm_restart.trainer.checkpoint_names import is_unfinished
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout

MAX_FOUND = 1000
"""Checkpoints that `find` returns of each kind; more unusable ones in a row have another reason."""
Mark = tuple[int, int]
"""Time of the last change in nanoseconds, and size in bytes: differs once a file is rewritten."""


@frozen
class Checkpoint:
    """A file or directory with the name of a checkpoint; complete or not."""

    path: str
    name: str
    """The path below the layout's directory."""
    step: int
    epoch: int = 0
    stamp: str = ""
    """Distinguishes checkpoints of the same step; the later sorts last."""
    mark: Mark

    @property
    def order(self) -> tuple[int, int, int, str, int]:
        """What newer checkpoints have more of; without a stamp, the time of the last change."""
        return self.epoch, self.step, len(self.stamp), self.stamp, self.mark[0]


class Marks(Protocol):
    """Marks of checkpoints by their names."""

    def get(self, name: str, /) -> Mark | None:
        """Return the mark of a name; None: it is not known."""

    def __contains__(self, name: object, /) -> bool: ...


def find(layout: CheckpointLayout, known: Marks | None = None) -> tuple[Checkpoint, ...]:
    """Return the checkpoints in the layout's directory, the newest first; none if it is missing.

    Of very many, the newest `MAX_FOUND` that `known` has, and as many others.

    Raises:
        OSError: the directory cannot be read.
    """
    newest: tuple[list[tuple[Any, ...]], ...] = ([], [])
    for number, checkpoint in enumerate(iterate(layout)):
        is_known = known is not None and known.get(checkpoint.name) == checkpoint.mark
        # The number keeps two of the same order from being compared themselves.
        entry = (checkpoint.order, number, checkpoint)
        heap = newest[is_known]
        if len(heap) < MAX_FOUND:
            heappush(heap, entry)
        else:
            heappushpop(heap, entry)
    return tuple(entry[2] for entry in sorted([*newest[0], *newest[1]], reverse=True))


def iterate(
    layout: CheckpointLayout, skip: Callable[[str], bool] | None = None
) -> Iterator[Checkpoint]:
    """Yield the checkpoints in the layout's directory in any order.

    Args:
        layout: where checkpoints are.
        skip: called with each name; those for which it returns True are left out.

    Below a URL there are none: see `supervise.remote_checkpoints`.

    Raises:
        OSError: the directory cannot be read.
    """
    if layout.format is CheckpointFormat.NONE or layout.is_remote:
        return
    levels = tuple(re.compile(part) for part in layout.pattern.split("/"))
    kind = FORMS[layout.format].kind
    yield from _below(layout.directory, "", levels, {}, kind=kind, skip=skip)


def _below(
    directory: str,
    prefix: str,
    levels: tuple[re.Pattern[str], ...],
    groups: dict[str, str],
    *,
    kind: Kind,
    skip: Callable[[str], bool] | None,
) -> Iterator[Checkpoint]:
    level, deeper = levels[0], levels[1:]
    wanted = Kind.DIRECTORY if deeper else kind
    try:
        with os.scandir(directory) as entries:
            for entry in entries:
                match = level.fullmatch(entry.name)
                if match is None:
                    continue
                name = prefix + entry.name
                if skip is not None and not deeper and skip(name):
                    continue
                if is_unfinished(entry.name, level.pattern) or not _is(entry, wanted):
                    continue
                inner = groups | {key: text for key, text in match.groupdict().items() if text}
                if deeper:
                    yield from _below(entry.path, f"{name}/", deeper, inner, kind=kind, skip=skip)
                elif (checkpoint := _read(entry, name, inner)) is not None:
                    yield checkpoint
    except FileNotFoundError:
        return


def _is(entry: os.DirEntry[str], kind: Kind) -> bool:
    # Named pipes and devices are no checkpoints. A dangling link is neither.
    if kind is Kind.FILE:
        return entry.is_file()
    return entry.is_dir() or (kind is Kind.EITHER and entry.is_file())


def directory_state(layout: CheckpointLayout) -> int:
    """Return a number that changes when a name is added to the layout's directories, or removed.

    Raises:
        OSError: a directory cannot be read.
    """
    levels = tuple(re.compile(part) for part in layout.pattern.split("/"))
    state = 0
    for directory in _directories(layout.directory, levels[:-1]):
        try:
            state = hash((state, directory, os.stat(directory).st_mtime_ns))  # noqa: PTH116
        except FileNotFoundError:
            state = hash((state, directory))
    return state


def _directories(directory: str, levels: tuple[re.Pattern[str], ...]) -> Iterator[str]:
    yield directory
    if not levels:
        return
    try:
        with os.scandir(directory) as entries:
            names = [
                entry.path
                for entry in entries
                if levels[0].fullmatch(entry.name) and entry.is_dir()
            ]
    except FileNotFoundError:
        return
    for name in sorted(names):
        yield from _directories(name, levels[1:])


def step_of(layout: CheckpointLayout, path: str) -> int | None:
    """Return the step in a checkpoint's name; None if it has none."""
    groups = _groups(layout, path.split("/")[-1 - layout.pattern.count("/") :])
    return None if groups is None else _number(groups.get("step"))


def checkpoint_named(layout: CheckpointLayout, name: str, mark: Mark) -> Checkpoint | None:
    """Return the checkpoint of a name below the layout's directory; None: it is none's name.

    Nothing is read.
    """
    names = name.split("/")
    groups = _groups(layout, names)
    levels = layout.pattern.split("/")
    if groups is None or any(map(is_unfinished, names, levels)):
        return None
    return _checkpoint(f"{layout.directory}/{name}", name, groups, mark)


def _groups(layout: CheckpointLayout, names: list[str]) -> dict[str, str] | None:
    """Return the groups of the pattern in the names of the levels; None: they do not match."""
    levels = layout.pattern.split("/")
    if len(names) != len(levels):
        return None
    groups: dict[str, str] = {}
    for level, name in zip(levels, names, strict=True):
        match = re.fullmatch(level, name)
        if match is None:
            return None
        groups |= {key: text for key, text in match.groupdict().items() if text}
    return groups


def name_of(layout: CheckpointLayout, path: str) -> str:
    """Return the name of a checkpoint that was found: its path below the layout's directory."""
    return path.removeprefix(layout.directory).lstrip("/")


def _number(text: str | None) -> int | None:
    # int() raises ValueError for more than 4300 digits.
    number = int(text) if text and len(text) <= len(str(MAX_STEP)) else MAX_STEP + 1
    return number if number <= MAX_STEP else None


def _read(entry: os.DirEntry[str], name: str, groups: dict[str, str]) -> Checkpoint | None:
    if _number(groups.get("step")) is None:
        return None
    try:
        status = entry.stat()
    except FileNotFoundError:
        # Removed by the trainer, which keeps only the last few.
        return None
    return _checkpoint(entry.path, name, groups, (status.st_mtime_ns, status.st_size))


def _checkpoint(path: str, name: str, groups: dict[str, str], mark: Mark) -> Checkpoint | None:
    step = _number(groups.get("step"))
    if step is None:
        return None
    return Checkpoint(
        path=path,
        name=name,
        step=step,
        epoch=_number(groups.get("epoch")) or 0,
        stamp=groups.get("stamp") or "",
        mark=mark,
    )


def complete_by_name(layout: CheckpointLayout, path: str) -> bool:
    """Return whether the file that marks a checkpoint as complete exists, if the layout has one."""
    return layout.complete is None or Path(layout.complete.replace("{path}", path)).exists()
