"""Find what `csx-restart resume` takes up: the phases, the checkpoint, the counters, the nodes."""

import os
import time
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slurm_restart.control.find_journal import Found
from slurm_restart.control.state_dir import user_name
from slurm_restart.core.category import Category
from slurm_restart.core.history import replay, streak
from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.errors import StateError, UsageError
from slurm_restart.supervise.expected_decision import end_event, ended_attempts
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

POLICY = (
    "max_restarts",
    "min_nodes",
    "stop_on_repeat",
    "shrink_after",
    "give_up_after",
    "exclude_for",
)
"""Fields of the comment record that `csx-restart set` may have changed."""


@dataclass(frozen=True, kw_only=True)
class Kept:
    """What the new job keeps of the former ones."""

    failures: int = 0
    """Ends in a row without progress that counted."""
    total: int = 0
    """Restarts in all that counted."""
    nodes: tuple[str, ...] = ()
    """Excluded now."""
    cleared: int | None = None
    """Exclusions before this time, epoch seconds, no longer hold for the run."""


def require_owner(run_dir: Path) -> None:
    """Raise UsageError unless the caller owns the run directory and is not root."""
    owner, user = run_dir.stat().st_uid, os.geteuid()
    if owner != user or user == 0:
        name = user_name(owner)
        raise UsageError(
            f"{run_dir}: expected its owner {name}, got {user_name(user)}: the new job belongs to "
            f"who submits it (as root: runuser -u {name} -- csx-restart resume …)"
        )


def load_plan(run_dir: Path) -> RunPlan:
    """Return the plan of a phase that can be resumed.

    Raises:
        UsageError: it is a task of a job array, or it does not restart.
        StateError: it cannot be read.
    """
    plan = RunPlan.load(RunDir(run_dir).plan)
    if plan.array is not None or plan.array_task is not None:
        raise UsageError(
            f"{run_dir}: expected a single job, got a job array: submit the tasks that are left "
            "again (csx-sbatch --array=…)"
        )
    if plan.policy is None:
        raise UsageError(f"{run_dir}: expected a run that restarts, got one without autorestart")
    return plan


def has_completed(run_dir: Path) -> bool:
    """Whether the last attempt of a phase ended as a success."""
    attempts = RunDir(run_dir).attempts()
    end = attempts[-1].end() if attempts else None
    return end is not None and end.category == Category.COMPLETED.value


def former_job_id(attempts: Iterable[AttemptDir]) -> int | None:
    """Return the id of the job of the last attempt; None: none has started."""
    starts = [start for each in attempts if (start := each.start()) is not None]
    return starts[-1].job_id if starts else None


def kept(
    attempts: Sequence[AttemptDir],
    former: Job | None,
    found: Found | None,
    record: CommentRecord,
    *,
    now: float,
) -> Kept:
    """Return the counters and the exclusions of the run until now.

    The controller's journal has both. Where it cannot be read, the counters are those of the run
    directory, and the nodes those that Slurm still shows for the former job, else those to blame in
    the run directory.

    Args:
        attempts: all of the phase.
        former: the former job, if Slurm still knows it.
        found: its journal, if it can be read.
        record: the comment record that the new job gets.
        now: epoch seconds.
    """
    if found is not None:
        history = replay(found.events)
        last = history.ends[-1] if history.ends else None
        return Kept(
            failures=0 if last is None else last.failures,
            total=0 if last is None else last.total,
            nodes=tuple(exclusion.node for exclusion in history.excluded(now)),
        )
    ended = ended_attempts(attempts, len(attempts) and attempts[-1].number + 1)
    events = [end_event(start, end, fall_back=False) for start, end in ended]
    total = sum(event.category.counts for event in events)
    failures = streak(events, next_from_step=None).failures
    if former is not None:
        return Kept(failures=failures, total=total, nodes=former.exc_nodes)
    lasts = SitePolicy().exclude_for if record.exclude_for is None else record.exclude_for
    blamed = {name for _, end in ended if end.at + lasts > now for name in end.blamed_nodes}
    return Kept(failures=failures, total=total, nodes=tuple(sorted(blamed)))


def new_record(plan: RunPlan, former: CommentRecord | None, keep: Kept) -> CommentRecord:
    """Return the comment record of the new job, with the settings that people have changed.

    Raises:
        StateError: the plan has no policy.
    """
    record = plan.comment_record
    if record is None:
        raise StateError("the phase has no restart policy")
    if former is not None:
        record = replace(record, **{name: getattr(former, name) for name in POLICY})
    return replace(
        record,
        prior_failures=keep.failures,
        prior_total=keep.total,
        cleared=keep.cleared,
    )


def sbatch_arguments(
    arguments: Iterable[str], comment: str, *, excluded: Collection[str], after: str | None
) -> list[str]:
    """Return the arguments of the first submission with those that are other now.

    Args:
        arguments: those of the first submission.
        comment: the whole Comment.
        excluded: nodes to exclude beside those that the user excludes.
        after: the job id of the phase before; None: it has completed.
    """
    listed = list(arguments)
    given = [word.partition("=")[2] for word in listed if word.startswith("--exclude=")]
    again = ("--comment=", "--dependency=", "--begin=", "--exclude=", "--hold", "--deadline=")
    # Earlier releases passed --quiet on: sbatch then prints no job id.
    dropped = (*again, "--quiet")
    kept_words = [word for word in listed if not word.startswith(dropped)]
    nodes = [*given, *sorted(excluded)]
    return [
        *kept_words,
        f"--comment={comment}",
        *([f"--exclude={','.join(nodes)}"] if nodes else []),
        *([f"--dependency=afterok:{after}"] if after else []),
    ]


def now_cleared() -> int:
    """Return the time for `Kept.cleared`: exclusions of this very second do not hold either."""
    return int(time.time()) + 1
