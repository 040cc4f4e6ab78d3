"""Checkpoints of a run: found by their names, put in order, and told apart from older ones."""

import os
import re
from dataclasses import dataclass

from slurm_restart.core.job_comment import MAX_STEP
from slurm_restart.trainer.plan import CheckpointLayout

Mark = tuple[int, int]
"""Time of the last change in nanoseconds, and size: a file that is written anew has another one."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Checkpoint:
    """A file or directory that bears the name of a checkpoint; complete or not."""

    path: str
    step: int
    stamp: str
    """Tells two savings of one step apart; the later one sorts last."""
    mark: Mark

    @property
    def name(self) -> str:
        """The name without the directory."""
        return self.path.rpartition("/")[2]


def find(rule: CheckpointLayout) -> tuple[Checkpoint, ...]:
    """All checkpoints in the rule's directory, the newest first; none where there is no directory.

    Raises:
        OSError: the directory cannot be read.
    """
    pattern = re.compile(rule.pattern)
    found = []
    try:
        with os.scandir(rule.directory) as entries:
            for entry in entries:
                match = pattern.fullmatch(entry.name)
                if match is not None and (checkpoint := _read(entry, match)) is not None:
                    found.append(checkpoint)
    except FileNotFoundError:
        return ()
    return tuple(
        sorted(found, key=lambda checkpoint: (checkpoint.step, checkpoint.stamp), reverse=True)
    )


def step_of(rule: CheckpointLayout, path: str) -> int | None:
    """The step that a checkpoint's name tells; None: it tells none."""
    match = re.fullmatch(rule.pattern, path.rpartition("/")[2])
    return None if match is None else _step(match)


def _step(match: re.Match[str]) -> int | None:
    text = match["step"]
    # No trainer writes so many digits, and int() refuses even more of them.
    step = int(text) if text and len(text) <= len(str(MAX_STEP)) else MAX_STEP + 1
    return step if step <= MAX_STEP else None


def _read(entry: os.DirEntry[str], match: re.Match[str]) -> Checkpoint | None:
    step = _step(match)
    if step is None:
        return None
    try:
        status = entry.stat()
    except FileNotFoundError:
        # Removed by the trainer, which keeps the last few only, or a link to nothing.
        return None
    return Checkpoint(
        path=entry.path,
        step=step,
        stamp=match.groupdict().get("stamp") or "",
        mark=(status.st_mtime_ns, status.st_size),
    )


def complete_by_name(rule: CheckpointLayout, path: str) -> bool:
    """Whether a checkpoint is complete as far as names tell."""
    return rule.complete is None or os.path.exists(rule.complete.replace("{path}", path))  # noqa: PTH110
