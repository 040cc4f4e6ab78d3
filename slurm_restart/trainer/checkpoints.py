"""Find the checkpoints of a run by their names, and sort them by step."""

import os
import re
from dataclasses import dataclass

from slurm_restart.core.job_comment import MAX_STEP
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout

Mark = tuple[int, int]
"""Time of the last change in nanoseconds, and size in bytes: differs once a file is rewritten."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A file or directory with the name of a checkpoint; complete or not."""

    path: str
    step: int
    stamp: str
    """Distinguishes checkpoints of the same step; the later sorts last."""
    mark: Mark

    @property
    def name(self) -> str:
        """The name without the directory."""
        return self.path.rpartition("/")[2]


def find(layout: CheckpointLayout) -> tuple[Checkpoint, ...]:
    """Return all checkpoints in the layout's directory, the newest first; none if it is missing.

    Raises:
        OSError: the directory cannot be read.
    """
    if layout.format is CheckpointFormat.NONE:
        return ()
    pattern = re.compile(layout.pattern)
    found = []
    try:
        with os.scandir(layout.directory) as entries:
            for entry in entries:
                match = pattern.fullmatch(entry.name)
                if match is not None and (checkpoint := _read(entry, match)) is not None:
                    found.append(checkpoint)
    except FileNotFoundError:
        return ()
    return tuple(
        sorted(found, key=lambda checkpoint: (checkpoint.step, checkpoint.stamp), reverse=True)
    )


def step_of(layout: CheckpointLayout, path: str) -> int | None:
    """Return the step in a checkpoint's name; None if it has none."""
    match = re.fullmatch(layout.pattern, path.rpartition("/")[2])
    return None if match is None else _step(match)


def _step(match: re.Match[str]) -> int | None:
    text = match["step"]
    # int() raises ValueError for more than 4300 digits.
    step = int(text) if text and len(text) <= len(str(MAX_STEP)) else MAX_STEP + 1
    return step if step <= MAX_STEP else None


def _read(entry: os.DirEntry[str], match: re.Match[str]) -> Checkpoint | None:
    step = _step(match)
    if step is None:
        return None
    try:
        status = entry.stat()
    except FileNotFoundError:
        # Removed by the trainer, which keeps only the last few, or a dangling link.
        return None
    return Checkpoint(
        path=entry.path,
        step=step,
        stamp=match.groupdict().get("stamp") or "",
        mark=(status.st_mtime_ns, status.st_size),
    )


def complete_by_name(layout: CheckpointLayout, path: str) -> bool:
    """Return whether the file that marks a checkpoint as complete exists, if the layout has one."""
    return layout.complete is None or os.path.exists(layout.complete.replace("{path}", path))  # noqa: PTH110
