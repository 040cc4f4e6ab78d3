"""Read from the records of a phase which checkpoints its attempts fail from."""

from collections.abc import Container, Sequence

from slurm_restart.core.category import Category
from slurm_restart.core.fall_back import AttemptOutcome, CheckpointVersion, fall_back, note_repeated
from slurm_restart.supervise.checkpoint_selection import Evidence
from slurm_restart.supervise.late_checkpoints import Version, recorded
from slurm_restart.supervise.remote_checkpoints import read_remote
from slurm_restart.supervise.set_aside_names import original_path
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, Saved
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir


def read_evidence(plan: RunPlan, run_dir: RunDir, earlier: Sequence[AttemptDir]) -> Evidence:
    """Return what the records of the attempts before this one say, whatever is missing of them.

    Args:
        plan: the phase.
        run_dir: its directory.
        earlier: they, in order; the one that starts may be among them.

    Raises:
        OSError: checkpoints are at a URL, and an output cannot be read.
    """
    remote = read_remote(plan, run_dir, earlier)
    known = (outcome for attempt in earlier if (outcome := _outcome(plan, attempt)) is not None)
    limit = 0 if plan.policy is None else plan.policy.max_restarts
    outcomes = tuple(note_repeated(known, max_restarts=limit))
    saved = [saved for attempt in earlier for saved in attempt.saved()]
    written = {checkpoint.path: checkpoint.step for checkpoint in saved}
    late = {**remote.late, **recorded(earlier)}
    first_step = next((start.first_step for attempt in earlier if (start := attempt.start())), 0)
    # One that is written before the first step holds no work: it is no other start than scratch.
    return Evidence(
        fall_back=fall_back(outcomes),
        suspects=tuple(
            dict.fromkeys(
                outcome.checkpoint
                for outcome in outcomes
                if outcome.checkpoint is not None and outcome.is_evidence
            )
        ),
        has_written=any(_is_timely(checkpoint, late) for checkpoint in saved),
        only_one=len(written) == 1 and max(written.values()) > first_step,
        remote=remote,
    )


def _is_timely(saved: Saved, late: Container[Version]) -> bool:
    return saved.mark is None or (saved.path, saved.mark) not in late


def _outcome(plan: RunPlan, attempt: AttemptDir) -> AttemptOutcome | None:
    """Return how an attempt ended; None: it has never started a trainer."""
    start, end = attempt.start(), attempt.end()
    if start is None or start.to_exceed is None:
        return None
    step = start.to_exceed
    steps = [saved.step for saved in attempt.saved()]
    return AttemptOutcome(
        attempt=start.attempt,
        checkpoint=_version(plan, start),
        step=step,
        progress=bool(end is not None and end.progress) or max(steps, default=step) > step,
        category=None if end is None else _category(end),
        rule="" if end is None else end.rule,
        exit_code=None if end is None else _exit_code(end),
    )


def _version(plan: RunPlan, start: AttemptStart) -> CheckpointVersion | None:
    if start.checkpoint is None or start.mark is None or start.validation_only:
        return None
    path = original_path(plan.checkpoint, start.checkpoint)
    return CheckpointVersion(path=path, mark=start.mark)


def _category(end: AttemptEnd) -> Category | None:
    try:
        return Category(end.category)
    except ValueError:
        return None  # of another release


def _exit_code(end: AttemptEnd) -> int | None:
    return end.exit_code if end.signal is None else 128 + end.signal
