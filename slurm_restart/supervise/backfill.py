"""Put on record how attempts ended whose supervisor had no time to say so.

The next attempt does it at its start, and `csx-restart status` and `explain` do it for the owner,
from Slurm's facts, where there was no next attempt.
"""

import time
from dataclasses import dataclass

from slurm_restart.core import job_comment
from slurm_restart.core.category import TREATMENTS, Category, Restart
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.operations import ADMIN_PREFIX
from slurm_restart.errors import CommentRecordError
from slurm_restart.trainer import runlog, summary
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import AttemptEnd, to_json
from slurm_restart.trainer.plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

RULE = "supervisor.silent"
_SILENT = "ended without a word"
# What a final state says of an attempt whose own supervisor said nothing.
_STATES: dict[JobState, Category] = {
    JobState.COMPLETED: Category.COMPLETED,
    JobState.CANCELLED: Category.CANCELLED,
    JobState.TIMEOUT: Category.TIMEOUT,
    JobState.NODE_FAIL: Category.HARDWARE_NODE,
    JobState.BOOT_FAIL: Category.HARDWARE_NODE,
    JobState.PREEMPTED: Category.PREEMPTION,
    JobState.DEADLINE: Category.DEADLINE,
    JobState.OUT_OF_MEMORY: Category.OOM_HOST,
}


@dataclass(frozen=True, kw_only=True, slots=True)
class Backfill:
    """What was put on record; lines of run.log."""

    ends: tuple[AttemptEnd, ...] = ()
    final: str | None = None

    @property
    def changed(self) -> bool:
        """Whether anything was."""
        return bool(self.ends) or self.final is not None


def backfill(run_dir: RunDir, job: Job | None, *, now: float | None = None) -> Backfill:
    """Record the ends that nobody recorded, and the job's final state in run.log.

    Args:
        run_dir: the phase's directory.
        job: what Slurm shows of its job now; None: not known, and then the newest attempt is left
            alone, as it may be running.
        now: epoch seconds.

    Raises:
        StateError: the plan cannot be read.
        OSError: nothing can be written there (another user's run).
    """
    at = time.time() if now is None else now
    plan = RunPlan.load(run_dir.plan)
    attempts = run_dir.attempts()
    ours = job if job is not None and _is_of(job, plan, attempts) else None
    over = attempts if ours is not None and _is_over(ours) else attempts[:-1]
    ends = _record(run_dir, over, newest=attempts[-1:], job=ours, at=at)
    final = _final(run_dir, ours, at) if ours is not None else None
    if ends or final:
        summary.write(plan, run_dir, at=at)
    return Backfill(ends=ends, final=final)


def backfill_earlier(run_dir: RunDir, *, before: int, now: float) -> tuple[AttemptEnd, ...]:
    """Record the unrecorded ends of the attempts before one that has just begun.

    Raises:
        OSError: it cannot be written.
    """
    earlier = tuple(one for one in run_dir.attempts() if one.number < before)
    return _record(run_dir, earlier, newest=(), job=None, at=now)


def _is_of(job: Job, plan: RunPlan, attempts: tuple[AttemptDir, ...]) -> bool:
    """Whether the job is this run's: ids are reused after a controller has lost its state."""
    starts = [start for one in attempts if (start := one.start()) is not None]
    if starts and starts[-1].job_id != job.job_id:
        return False
    try:
        return job_comment.parse_comment(job.comment).run == plan.run
    except CommentRecordError:
        return plan.policy is None


def _is_over(job: Job) -> bool:
    """Whether the newest attempt has ended: the job is over, or waits to start again."""
    return (
        not job.completing
        and job.state is not None
        and (job.state.is_final or job.state is JobState.PENDING)
    )


def _record(
    run_dir: RunDir,
    attempts: tuple[AttemptDir, ...],
    *,
    newest: tuple[AttemptDir, ...],
    job: Job | None,
    at: float,
) -> tuple[AttemptEnd, ...]:
    ends = []
    by_number = {one.number: one for one in run_dir.attempts()}
    for attempt in attempts:
        if attempt.end() is not None:
            continue
        facts = job if attempt in newest else None
        following = by_number.get(attempt.number + 1)
        end = _end(attempt, facts, at, found=_found(following))
        write_atomic(attempt.end_file, to_json(end))
        ends.append(end)
        name = runlog.run_name(attempt.number)
        line = runlog.line(name, f"{end.reason}; newest step {end.step}", at=at, level="WARNING")
        runlog.append(run_dir.log, line)
    return tuple(ends)


def _found(following: AttemptDir | None) -> int | None:
    """The step of the newest complete checkpoint that the attempt after this one found."""
    start = following.start() if following is not None else None
    return start.from_step if start is not None and start.resumed else None


def _end(attempt: AttemptDir, job: Job | None, at: float, *, found: int | None) -> AttemptEnd:
    """The end of an attempt that had no time to say it; nor to note its last checkpoint."""
    start = attempt.start()
    began = None if start is None else start.from_step
    saved = [one.step for one in attempt.saved()]
    steps = [*saved, *(one for one in (began, found) if one is not None)]
    advanced = began is not None and max(steps) > began
    category, why = _cause(job)
    return AttemptEnd(
        attempt=attempt.number,
        at=(job.end_time if job is not None else None) or _last_sign(attempt) or at,
        category=category.value,
        rule=RULE,
        reason=f"{_SILENT}: {why}",
        confidence="guess" if category is Category.UNKNOWN else "certain",
        exit_code=job.exit_code if job is not None and not job.signal else None,
        signal=job.signal or None if job is not None else None,
        step=max(steps, default=None),
        progress=advanced if advanced or (began is not None and found is not None) else None,
        recoverable=TREATMENTS[category].restart is not Restart.NO,
        settled=True,
    )


def _cause(job: Job | None) -> tuple[Category, str]:
    if job is None or job.state is None or not job.state.is_final:
        told = _announcement(job.admin_comment) if job is not None else None
        return Category.UNKNOWN, told or "the supervisor was killed, or its node was lost"
    category = _STATES.get(job.state, Category.UNKNOWN)
    return category, f"Slurm: {job.state.value}, {job.reason}, {job.exit_code}:{job.signal}"


def _announcement(admin_comment: str) -> str | None:
    """What the hook wrote when it requeued the job."""
    found = admin_comment.rpartition(ADMIN_PREFIX)
    return found[2].strip() if found[1] else None


def _last_sign(attempt: AttemptDir) -> float | None:
    """When the attempt was last heard of: its output's last change."""
    for path in (attempt.output, attempt.start_file, attempt.path):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return None


def _final(run_dir: RunDir, job: Job, at: float) -> str | None:
    """Say in run.log, once, that the run is over."""
    if job.state is None or not job.state.is_final or job.completing:
        return None
    text = f"job {job.job_id} has ended: {job.state.value}, {job.reason}"
    try:
        said = f" {text}" in run_dir.log.read_text(encoding="utf-8", errors="replace")
    except FileNotFoundError:
        said = False
    if said:
        return None
    runlog.append(run_dir.log, runlog.line(runlog.MAIN, text, at=at))
    return text
