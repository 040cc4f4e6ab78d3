"""Rename checkpoints that an attempt passes over, so that its program does not use them either.

Nor are they in the way of what it writes anew: a directory that is renamed into place replaces an
empty one only. Nothing is deleted.
"""

import os
from collections.abc import Collection, Iterable, Iterator, Mapping, Sequence
from dataclasses import field
from pathlib import Path

from slurm_restart.frozen import frozen
from slurm_restart.supervise.attempt_fence import may_run
from slurm_restart.supervise.checkpoint_links import LinkNote, LinkTargets, redirect_links
from slurm_restart.supervise.checkpoint_selection import StartPoint
from slurm_restart.supervise.set_aside_names import (
    holder_of,
    mark_of,
    original_path,
    path_set_aside,
    unused_name,
)
from slurm_restart.trainer.attempt_records import AttemptStart
from slurm_restart.trainer.checkpoint_probe import Soundness
from slurm_restart.trainer.checkpoints import Marks, complete_by_name, name_of
from slurm_restart.trainer.run_plan import CheckpointLayout
from slurm_restart.trainer.rundir import AttemptDir


def still_running(earlier: Sequence[AttemptDir], nodes: Collection[str]) -> list[AttemptStart]:
    """Return the start records of earlier attempts whose programs may still run.

    Args:
        earlier: these attempts.
        nodes: those of the new attempt, on which nothing of an earlier one runs any more.
    """
    starts = [start for attempt in earlier if may_run(attempt) and (start := attempt.start())]
    return [start for start in starts if not start.nodes or not set(start.nodes) <= set(nodes)]


@frozen
class SetAside:
    """What was done about checkpoints that are passed over, for people."""

    notes: Mapping[str, str] = field(default_factory=dict)
    """By the path of the checkpoint; one without is as it was."""
    links: tuple[LinkNote, ...] = ()
    """Links that pointed to them."""


def set_aside(
    layout: CheckpointLayout,
    start: StartPoint,
    before: Marks | None,
    running: Sequence[AttemptStart] = (),
    late: Sequence[str] | None = None,
    *,
    named: str | None = None,
    changed: Collection[Mapping[str, LinkTargets]] = (),
    work_dir: str | None = None,
) -> SetAside:
    """Rename the checkpoints of this phase that are certainly broken; delete none.

    Also those that attempts fail from, or that were never completed while an earlier one is used.
    And all directories that are passed over once an attempt has failed as the name was taken. Links
    to them are changed before, so that at no time they point to nothing.

    Args:
        layout: where checkpoints are.
        start: the selected start with the checkpoints that are passed over.
        before: as in `choose_start`; None: nothing is renamed.
        running: earlier attempts whose programs may still run: what they started from keeps its
            name, and so does what they may be about to complete.
        late: the last attempt failed as the name of a checkpoint was taken: the paths of late ones
            that are passed over; None: it did not.
        named: the checkpoint that the config names, which keeps its name; None: it names none.
        changed: as in `redirect_links`.
        work_dir: as there.
    """
    if layout.is_remote or before is None:
        return SetAside()
    wanted = dict.fromkeys(
        [
            *_rejected(layout, start, before, never=not running, taken=late is not None),
            *_left_out(layout, start, before),
            *(path for path in late or () if start.resumed and holder_of(layout, path).is_dir()),
        ]
    )
    kept = {path: _needed_by(layout, path, running, named) for path in wanted}
    notes = {path: f"not set aside, as {user}" for path, user in kept.items() if user is not None}
    holders = {path: holder_of(layout, path) for path in wanted if path not in notes}
    links = tuple(redirect_links(layout, holders.values(), start.checkpoint, changed, work_dir))
    notes |= {path: _rename(holder) for path, holder in holders.items()}
    for entry in start.left_out:
        path = entry.checkpoint.path
        found = None if path in notes else path_set_aside(layout, entry.checkpoint)
        if found is not None:
            notes[path] = f"set aside as {holder_of(layout, found).name}"
    return SetAside(notes=notes, links=links)


def _needed_by(
    layout: CheckpointLayout, path: str, running: Iterable[AttemptStart], named: str | None
) -> str | None:
    """Return what needs a checkpoint under its name; None: nothing that is known."""
    used = next((attempt for attempt in running if attempt.checkpoint == path), None)
    if used is not None:
        return f"the program of attempt {used.attempt} may still use it"
    holder = os.path.realpath(holder_of(layout, path))
    if named is not None and Path(os.path.realpath(named)).is_relative_to(holder):
        return "the config names it"
    return None


def _rejected(
    layout: CheckpointLayout, start: StartPoint, before: Marks, *, never: bool, taken: bool
) -> Iterator[str]:
    """Yield the checkpoints that are broken, or whose names the attempt needs.

    `never`: nobody completes one that is not yet complete. `taken`: an attempt has failed as a name
    was taken.
    """
    for rejected in start.rejected:
        path = rejected.path
        if name_of(layout, path) in before or original_path(layout, path) != path:
            continue
        needed = never and not complete_by_name(layout, path)
        needed = needed or (taken and holder_of(layout, path).is_dir())
        if rejected.soundness is Soundness.BROKEN or (needed and start.resumed):
            yield path


def _left_out(layout: CheckpointLayout, start: StartPoint, before: Marks) -> Iterator[str]:
    for entry in start.left_out:
        path, mark = entry.checkpoint.path, entry.checkpoint.mark
        if mark_of(path) == mark != before.get(name_of(layout, path)):
            yield path


def _rename(path: Path) -> str:
    target = unused_name(path)
    try:
        path.rename(target)
    except OSError as error:
        return f"it cannot be set aside: {error.strerror}"
    return f"set aside as {target.name}"


def bring_back(layout: CheckpointLayout, path: str) -> str:
    """Return the path of a checkpoint that is to be used, renamed back if it was set aside.

    Where that is not possible, it is used under its new name.
    """
    original = original_path(layout, path)
    if original == path:
        return path
    target = holder_of(layout, original)
    if os.path.lexists(target):
        return path
    try:
        holder_of(layout, path).rename(target)
    except OSError:
        return path
    return original
