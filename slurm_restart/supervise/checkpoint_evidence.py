"""Read from the records of a phase which checkpoints its attempts fail from."""

from collections.abc import Container, Sequence

from slurm_restart.core.category import Category
from slurm_restart.core.fall_back import AttemptOutcome, CheckpointVersion, fall_back
from slurm_restart.supervise.checkpoint_selection import Evidence
from slurm_restart.supervise.late_checkpoints import Version, recorded
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, Saved
from slurm_restart.trainer.rundir import AttemptDir


def read_evidence(earlier: Sequence[AttemptDir]) -> Evidence:
    """Return what the records of the attempts before this one say, whatever is missing of them.

    Args:
        earlier: they, in order.
    """
    outcomes = [outcome for attempt in earlier if (outcome := _outcome(attempt)) is not None]
    saved = [saved for attempt in earlier for saved in attempt.saved()]
    written = {checkpoint.path: checkpoint.step for checkpoint in saved}
    late = recorded(earlier)
    first_step = next((start.first_step for attempt in earlier if (start := attempt.start())), 0)
    # One that is written before the first step holds no work: it is no other start than scratch.
    return Evidence(
        fall_back=fall_back(outcomes),
        has_written=any(_is_timely(checkpoint, late) for checkpoint in saved),
        only_one=len(written) == 1 and max(written.values()) > first_step,
    )


def _is_timely(saved: Saved, late: Container[Version]) -> bool:
    return saved.mark is None or (saved.path, saved.mark) not in late


def _outcome(attempt: AttemptDir) -> AttemptOutcome | None:
    """Return how an attempt ended; None: it has never started a trainer."""
    start, end = attempt.start(), attempt.end()
    if start is None or start.to_exceed is None:
        return None
    step = start.to_exceed
    steps = [saved.step for saved in attempt.saved()]
    return AttemptOutcome(
        attempt=start.attempt,
        checkpoint=_version(start),
        step=step,
        progress=bool(end is not None and end.progress) or max(steps, default=step) > step,
        category=None if end is None else _category(end),
        rule="" if end is None else end.rule,
        exit_code=None if end is None else _exit_code(end),
    )


def _version(start: AttemptStart) -> CheckpointVersion | None:
    known = start.resumed and not start.validation_only
    if start.checkpoint is None or start.mark is None or not known:
        return None
    return CheckpointVersion(path=start.checkpoint, mark=start.mark)


def _category(end: AttemptEnd) -> Category | None:
    try:
        return Category(end.category)
    except ValueError:
        return None  # of another release


def _exit_code(end: AttemptEnd) -> int | None:
    return end.exit_code if end.signal is None else 128 + end.signal
