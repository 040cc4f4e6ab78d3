"""Write the end records of attempts whose supervisor was killed before it could.

The next attempt does it at its start. If there is none, `csx-restart status` and `explain` do it
for the owner of the run, from Slurm's facts.
"""

import time
from dataclasses import dataclass

from slurm_restart.core import job_comment
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.operations import ADMIN_PREFIX
from slurm_restart.core.slurm_state import STATE_CAUSES, Cause, exit_cause
from slurm_restart.errors import CommentRecordError
from slurm_restart.safe_files import read_tail
from slurm_restart.trainer import runlog, summary
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import AttemptEnd, to_json
from slurm_restart.trainer.plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

_UNKNOWN = Cause("supervisor.no_exit_record", Category.UNKNOWN, Confidence.GUESS)
_NO_EXIT_RECORD = "no exit record was written"


_LOG_TAIL = 4 << 20
"""Bytes of the end of run.log in which the final line is searched."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Backfill:
    """What was written: end records, and the line about the end of the job in run.log."""

    ends: tuple[AttemptEnd, ...] = ()
    job_end: str | None = None

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.ends) or self.job_end is not None


def backfill(run_dir: RunDir, job: Job | None, *, now: float | None = None) -> Backfill:
    """Write missing end records, and the job's final state in run.log.

    Args:
        run_dir: the phase's directory.
        job: what Slurm shows of the job now; None: not known; the newest attempt is then skipped,
            as it may be running.
        now: epoch seconds; None: the current time.

    Raises:
        StateError: the plan cannot be read.
        OSError: the directory cannot be written (another user's run).
    """
    at = time.time() if now is None else now
    plan = RunPlan.load(run_dir.plan)
    attempts = run_dir.attempts()
    own = job if job is not None and _belongs_to(job, plan, attempts) else None
    ended = attempts if own is not None and _has_ended(own) else attempts[:-1]
    ends = _record(run_dir, ended, newest=attempts[-1:], job=own, at=at)
    job_end = _record_job_end(run_dir, own, at) if own is not None else None
    if ends or job_end:
        summary.write(plan, run_dir, at=at)
    return Backfill(ends=ends, job_end=job_end)


def backfill_earlier(run_dir: RunDir, *, before: int, now: float) -> tuple[AttemptEnd, ...]:
    """Write missing end records of the attempts before the one that has just begun.

    Args:
        run_dir: the phase's directory.
        before: number of the attempt that has begun.
        now: epoch seconds.

    Raises:
        OSError: a record cannot be written.
    """
    earlier = tuple(attempt for attempt in run_dir.attempts() if attempt.number < before)
    return _record(run_dir, earlier, newest=(), job=None, at=now)


def _belongs_to(job: Job, plan: RunPlan, attempts: tuple[AttemptDir, ...]) -> bool:
    """Return whether the job is this run's: slurmctld reuses job ids after a loss of state."""
    starts = [start for attempt in attempts if (start := attempt.start()) is not None]
    if starts and starts[-1].job_id != job.job_id:
        return False
    try:
        return job_comment.parse_comment(job.comment).run == plan.run
    except CommentRecordError:
        return plan.policy is None


def _has_ended(job: Job) -> bool:
    """Return whether the newest attempt has ended: the job is final or pending again."""
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
    by_number = {attempt.number: attempt for attempt in run_dir.attempts()}
    for attempt in attempts:
        if attempt.end() is not None:
            continue
        facts = job if attempt in newest else None
        following = by_number.get(attempt.number + 1)
        end = _derive_end(attempt, facts, at, found=_resumed_step(following))
        write_atomic(attempt.end_file, to_json(end))
        ends.append(end)
        name = runlog.run_name(attempt.number)
        line = runlog.line(name, f"{end.reason}; newest step {end.step}", at=at, level="WARNING")
        runlog.append(run_dir.log, line)
    return tuple(ends)


def _resumed_step(following: AttemptDir | None) -> int | None:
    """Return the step from which the next attempt resumed."""
    start = following.start() if following is not None else None
    return start.from_step if start is not None and start.resumed else None


def _derive_end(
    attempt: AttemptDir, job: Job | None, at: float, *, found: int | None
) -> AttemptEnd:
    """Return the end record of an attempt, whose newest checkpoint may not be on record either."""
    start = attempt.start()
    began = None if start is None else start.from_step
    saved = [checkpoint.step for checkpoint in attempt.saved()]
    steps = [*saved, *(step for step in (began, found) if step is not None)]
    advanced = began is not None and max(steps) > began
    cause, reason = _derive_cause(job)
    return AttemptEnd(
        attempt=attempt.number,
        at=(job.end_time if job is not None else None) or _last_activity(attempt) or at,
        category=cause.category.value,
        rule=cause.rule,
        reason=f"{_NO_EXIT_RECORD}: {reason}",
        confidence=cause.confidence.value,
        exit_code=job.exit_code if job is not None and not job.signal else None,
        signal=job.signal or None if job is not None else None,
        step=max(steps, default=None),
        progress=advanced if advanced or (began is not None and found is not None) else None,
        recoverable=cause.category.recoverable,
        backfilled=True,
    )


def _derive_cause(job: Job | None) -> tuple[Cause, str]:
    if job is None or job.state is None or not job.state.is_final:
        hook_reason = _hook_reason(job.admin_comment) if job is not None else None
        return _UNKNOWN, hook_reason or "the supervisor was killed, or its node was lost"
    cause = STATE_CAUSES.get(job.state) or exit_cause(job.exit_code, job.signal) or _UNKNOWN
    return cause, f"Slurm: {job.state.value}, {job.reason}, {job.exit_code}:{job.signal}"


def _hook_reason(admin_comment: str) -> str | None:
    """Return the text that the hook wrote to AdminComment when it requeued the job."""
    _, prefix, text = admin_comment.rpartition(ADMIN_PREFIX)
    return text.strip() if prefix else None


def _last_activity(attempt: AttemptDir) -> float | None:
    """Return when the output, else the start record or directory, was changed (epoch seconds)."""
    for path in (attempt.output, attempt.start_file, attempt.path):
        try:
            return path.stat().st_mtime
        except OSError:
            continue
    return None


def _record_job_end(run_dir: RunDir, job: Job, at: float) -> str | None:
    """Add a line about the job's end to run.log, unless it is already there; return its text."""
    if job.state is None or not job.state.is_final or job.completing:
        return None
    text = f"job {job.job_id} has ended: {job.state.value}, {job.reason}"
    try:
        recorded = f" {text}" in read_tail(run_dir.log, _LOG_TAIL, follow=False).decode(
            errors="replace"
        )
    except FileNotFoundError:
        recorded = False
    if recorded:
        return None
    runlog.append(run_dir.log, runlog.line(runlog.MAIN, text, at=at))
    return text
