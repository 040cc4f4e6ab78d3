"""Keep the trainer's limit of checkpoints across attempts.

KeepNCheckpoints of the Model Zoo knows only what its own process has saved: of each attempt up to n
files would stay.
"""

import os
import stat
from collections.abc import Callable, Iterator, Sequence
from collections.abc import Set as AbstractSet
from pathlib import Path

from slurm_restart.trainer.attempt_records import Saved
from slurm_restart.trainer.checkpoints import Mark, Marks, name_of, step_of
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir


def superfluous(
    keep: int, earlier: Sequence[Saved], own: Sequence[Saved], kept: AbstractSet[str]
) -> tuple[Saved, ...]:
    """Return the checkpoints of earlier attempts that the limit leaves no place for.

    None before this attempt has `keep` complete ones; those are all newer than what is returned.

    Args:
        keep: the limit, from 1.
        earlier: what earlier attempts of this run wrote.
        own: what this attempt wrote, and is complete and there.
        kept: paths that are never returned.
    """
    newest = sorted({saved.step for saved in own}, reverse=True)[:keep]
    if len(newest) < keep:
        return ()
    left_alone = kept | {saved.path for saved in own}
    # The last record of a path counts: it may have been written by several attempts.
    last = {saved.path: saved for saved in earlier}
    return tuple(
        saved
        for saved in last.values()
        if saved.path not in left_alone and saved.mark is not None and saved.step < newest[-1]
    )


class Retention:
    """Removes checkpoints of earlier attempts; used by the thread that monitors checkpoints.

    Args:
        plan: the phase.
        run_dir: its directory.
        attempt: the attempt that runs.
        before: the checkpoints that existed before the first attempt; they are not removed.
        report: called with a line for each removed file.
    """

    def __init__(
        self,
        plan: RunPlan,
        run_dir: RunDir,
        attempt: AttemptDir,
        *,
        before: Marks,
        report: Callable[[str], None],
    ) -> None:
        self._plan = plan
        self._run_dir = run_dir
        self._attempt = attempt
        self._kept = frozenset(
            () if plan.initial_checkpoint is None else (plan.initial_checkpoint,)
        )
        self._before = before
        self._report = report
        self._earlier: list[Saved] | None = None
        self._own: list[Saved] = []

    def saved(self, checkpoint: Saved) -> None:
        """Take note of a new complete checkpoint, and remove what it makes superfluous."""
        try:
            self._remove_after(checkpoint)
        except OSError as error:
            self._report(f"an old checkpoint cannot be removed: {error}")

    def _remove_after(self, checkpoint: Saved) -> None:
        keep = self._plan.keep_checkpoints
        if keep is None:
            return
        self._own = [saved for saved in (*self._own, checkpoint) if _is_unchanged(saved)]
        if len(self._own) < keep:
            return
        attempts = self._run_dir.attempts()
        if attempts[-1].number != self._attempt.number:
            return  # a later attempt has begun elsewhere, and may have started from any of them
        if self._earlier is None:
            self._earlier = [
                *(saved for attempt in attempts for saved in _loaded(attempt)),
                *(saved for attempt in attempts[:-1] for saved in attempt.saved()),
            ]
        too_late = {late.path for attempt in attempts for late in attempt.late()}
        for old in superfluous(keep, self._earlier, self._own, self._kept | too_late):
            self._earlier = [saved for saved in self._earlier if saved.path != old.path]
            if self._may_be_removed(old):
                Path(old.path).unlink(missing_ok=True)
                self._report(f"removed {old.path}: the config keeps {keep} checkpoints")

    def _may_be_removed(self, old: Saved) -> bool:
        layout = self._plan.checkpoint
        is_in_place = os.path.dirname(old.path) == layout.directory  # noqa: PTH120 - no other form
        is_of_run = name_of(layout, old.path) not in self._before
        return (
            is_in_place
            and is_of_run
            and step_of(layout, old.path) is not None
            and _is_unchanged(old)
        )


def _loaded(attempt: AttemptDir) -> Iterator[Saved]:
    """Yield the checkpoint that an attempt started from, if an earlier attempt wrote it.

    Of a supervisor that was killed before it saw it, there is no other record of it.
    """
    start = attempt.start()
    if start is None or not start.resumed or start.checkpoint is None or start.from_step is None:
        return
    yield Saved(at=start.at, step=start.from_step, path=start.checkpoint, mark=start.mark)


def _is_unchanged(saved: Saved) -> bool:
    """Return whether the file is there as it was when it was found to be complete."""
    try:
        status = os.lstat(saved.path)
    except OSError:
        return False
    mark: Mark = (status.st_mtime_ns, status.st_size)
    return stat.S_ISREG(status.st_mode) and mark == saved.mark
