"""Checkpoints that an earlier attempt wrote after a later one had taken its fence.

The trainer is unchanged, so that no checkpoint names its writer. What is known is what changed
before the later attempt had started its program, and, once the earlier attempt's supervisor finds
the fence, what changed while its program still ran.
"""

import re
import time
from collections.abc import Iterable, Iterator, Mapping, Sequence
from pathlib import Path

from slurm_restart.frozen import frozen
from slurm_restart.safe_files import read_tail
from slurm_restart.supervise.attempt_fence import may_run
from slurm_restart.supervise.remote_checkpoints import saved_since_fence
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import LateCheckpoint, to_line
from slurm_restart.trainer.checkpoints import Checkpoint, Mark, Marks, find, iterate
from slurm_restart.trainer.known_checkpoints import KnownCheckpoints
from slurm_restart.trainer.run_plan import CheckpointLayout, RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

MAX_OUTPUT = 16 << 20
"""Bytes of the end of an output in which names of checkpoints are looked for."""
_WORD = re.compile(rb"[\w.=+-]+")
Version = tuple[str, Mark]
"""Path and mark of a checkpoint."""


@frozen
class AtFence:
    """The checkpoints at the time at which an attempt took its fence."""

    marks: Marks
    time: int | None
    """Of the fence in nanoseconds, by the clock of the file system that the checkpoints are on;
    None: the fence is on another one, and clocks of two are not compared."""

    def is_late(self, checkpoint: Checkpoint) -> bool:
        """Return whether it was written since: the listing of a network file system may be old."""
        if self.marks.get(checkpoint.name) == checkpoint.mark:
            return False
        return self.time is None or checkpoint.mark[0] >= self.time

    def noting(
        self, found: Iterable[Checkpoint], late: list[LateCheckpoint]
    ) -> Iterator[Checkpoint]:
        """Yield the checkpoints, and append those to `late` that are."""
        for checkpoint in found:
            if self.is_late(checkpoint):
                reason = "an earlier attempt wrote it after this one had begun"
                late.append(_record(checkpoint, reason))
            yield checkpoint


def look_at_fence(
    plan: RunPlan, attempt: AttemptDir, earlier: Sequence[AttemptDir]
) -> AtFence | None:
    """Return what is there as an attempt has just taken its fence; None: nobody else writes.

    Of checkpoints at a URL the fence itself says what was there.

    Raises:
        OSError: the checkpoints cannot be listed.
    """
    if plan.mode.is_evaluation or plan.checkpoint.is_remote or not any(map(may_run, earlier)):
        return None
    return AtFence(
        marks=KnownCheckpoints.of(iterate(plan.checkpoint)),
        time=_fence_time(attempt, plan.checkpoint),
    )


def _fence_time(attempt: AttemptDir, layout: CheckpointLayout) -> int | None:
    fence = attempt.fence_file.stat()
    try:
        same = Path(layout.directory).stat().st_dev == fence.st_dev
    except OSError:
        return None
    return fence.st_mtime_ns if same else None


def recorded(attempts: Iterable[AttemptDir]) -> Mapping[Version, LateCheckpoint]:
    """Return the late checkpoints on record."""
    return {version_of(late): late for attempt in attempts for late in attempt.late()}


def version_of(late: LateCheckpoint) -> Version:
    """Return what names a checkpoint until it is written anew."""
    return late.path, late.mark


def save(attempt: AttemptDir, late: Sequence[LateCheckpoint]) -> None:
    """Put late checkpoints on record.

    Raises:
        OSError: they cannot be written.
    """
    lines = "".join(f"{to_line(checkpoint)}\n" for checkpoint in late)
    write_atomic(attempt.late_file, lines.encode())


def written_since(
    plan: RunPlan, run_dir: RunDir, attempt: AttemptDir
) -> list[LateCheckpoint] | None:
    """Return what an attempt may have written since a later one took its fence; None: not known.

    Its program has just been ended. What the later attempt's output names, and not its own, is left
    out.

    Args:
        plan: the phase.
        run_dir: its directory.
        attempt: the superseded attempt.

    Raises:
        OSError: the records or the checkpoints cannot be read.
    """
    attempts = run_dir.attempts()
    later = [other for other in attempts if other.number > attempt.number]
    fenced = [other for other in later if other.fence() is not None]
    if not fenced:
        return []
    if plan.checkpoint.is_remote:
        return saved_since_fence(plan.checkpoint, attempts, attempt.number)
    fence = _fence_time(fenced[0], plan.checkpoint)
    if fence is None:
        return None
    known = recorded(attempts)
    since = [
        checkpoint
        for checkpoint in find(plan.checkpoint)
        if checkpoint.mark[0] >= fence and (checkpoint.path, checkpoint.mark) not in known
    ]
    if not since:
        return []
    own = _words(attempt.output)
    theirs = {word for other in later for word in _words(other.output)}
    found = []
    for checkpoint in since:
        name = checkpoint.path.rpartition("/")[2].encode("utf-8", "surrogateescape")
        if name in theirs and name not in own:
            continue
        why = f"attempt {attempt.number} wrote it after attempt {fenced[0].number} had begun"
        if name not in own or name in theirs:
            why = (
                f"written while both attempt {attempt.number} and {fenced[0].number} ran, by either"
            )
        found.append(_record(checkpoint, why))
    return found


def _words(output: Path) -> set[bytes]:
    try:
        data = read_tail(output, MAX_OUTPUT, follow=False)
    except OSError:
        return set()
    return {word.rstrip(b".") for word in _WORD.findall(data)}


def _record(checkpoint: Checkpoint, reason: str) -> LateCheckpoint:
    return LateCheckpoint(
        at=time.time(),
        path=checkpoint.path,
        mark=checkpoint.mark,
        step=checkpoint.step,
        reason=reason,
    )
