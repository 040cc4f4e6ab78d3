"""The names of checkpoints that were set aside, and how such a one is found again.

It is recognised by its mark, which a rename does not change: no record is needed, whenever a
supervisor is killed.
"""

import os
import re
from collections.abc import Collection, Iterable, Iterator
from dataclasses import replace
from itertools import count
from pathlib import Path

from slurm_restart.core.fall_back import CheckpointVersion, Mark
from slurm_restart.trainer.checkpoints import Checkpoint, checkpoint_named, name_of
from slurm_restart.trainer.run_plan import CheckpointLayout

UNUSABLE_SUFFIX = ".unusable"
"""Suffix that a checkpoint is renamed with, so that it is no longer found."""
_SUFFIX = re.compile(r"\.unusable(?:-\d+)?(?=/|$)")


def holder_of(layout: CheckpointLayout, path: str) -> Path:
    """Return what is renamed with a checkpoint: itself, or the directory that is only for it.

    Of `step-{step}/model.pt` that is the directory, which a program may rename into place as a
    whole.
    """
    held = Path(path)
    for level in reversed(layout.pattern.split("/")[1:]):
        if re.escape(re.sub(r"\\(.)", r"\1", level)) != level:
            break
        held = held.parent
    return held


def original_path(layout: CheckpointLayout, path: str) -> str:
    """Return the path that a checkpoint had before it was set aside; else its path."""
    name = name_of(layout, path)
    if layout.is_remote or checkpoint_named(layout, name, (0, 0)) is not None:
        return path
    return path.removesuffix(name) + _SUFFIX.sub("", name)


def unused_name(path: Path) -> Path:
    """Return the name to set a file or directory aside with: the first that is free."""
    return next(name for name in _names(path) if not os.path.lexists(name))


def find_set_aside(
    layout: CheckpointLayout, versions: Iterable[CheckpointVersion], taken: Collection[str]
) -> Iterator[Checkpoint]:
    """Yield those of the checkpoints that were set aside, with their present paths.

    Args:
        layout: where checkpoints are.
        versions: the checkpoints as they were under their own names.
        taken: paths that exist: what was written anew replaces what was set aside.
    """
    for version in versions:
        if layout.is_remote or version.path in taken:
            continue
        path = path_set_aside(layout, version)
        found = checkpoint_named(layout, name_of(layout, version.path), version.mark)
        if path is not None and found is not None:
            yield replace(found, path=path)


def path_set_aside(layout: CheckpointLayout, version: CheckpointVersion) -> str | None:
    """Return where a checkpoint is that was set aside; None: it was not, or cannot be found."""
    holder = holder_of(layout, version.path)
    rest = Path(version.path).relative_to(holder)
    for name in _names(holder):
        if not os.path.lexists(name):
            return None
        if mark_of(name / rest) == version.mark:
            return str(name / rest)
    return None


def mark_of(path: Path | str) -> Mark | None:
    """Return the mark of what a path names now; None: nothing that can be looked at."""
    try:
        status = Path(path).stat()
    except OSError:
        return None
    return status.st_mtime_ns, status.st_size


def _names(path: Path) -> Iterator[Path]:
    yield path.with_name(f"{path.name}{UNUSABLE_SUFFIX}")
    for number in count(2):
        yield path.with_name(f"{path.name}{UNUSABLE_SUFFIX}-{number}")
