"""Write the end records of attempts whose supervisor was killed before it could.

The next attempt does it at its start. If there is none, `csx-restart status` and `explain` do it
for the owner of the run, from Slurm's facts and the job's report.
"""

import errno
import os
import time
from dataclasses import dataclass, replace
from pathlib import Path

from slurm_restart.core import job_comment
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.printable import escape_controls
from slurm_restart.core.slurm_operations import ADMIN_PREFIX
from slurm_restart.core.slurm_state import STATE_CAUSES, Cause, exit_cause
from slurm_restart.errors import CommentRecordError, RecordError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import (
    FileTooLargeError,
    open_below,
    open_directory,
    open_own_directory,
    read_tail,
)
from slurm_restart.supervise.untold_end import NO_EXIT_RECORD, untold_end
from slurm_restart.trainer import runlog, summary
from slurm_restart.trainer.atomic_file import set_aside_in, write_atomic_in
from slurm_restart.trainer.attempt_records import AttemptEnd, load_record, to_json
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import ATTEMPTS, AttemptDir, RunDir

_UNKNOWN = Cause("supervisor.no_exit_record", Category.UNKNOWN, Confidence.GUESS)
_REPORTED = "job.reported"
"""The rule of a cause that the job reported without one."""
_LOG_TAIL = 4 << 20
"""Bytes of the end of run.log in which the final line is searched."""


@frozen
class Backfill:
    """What was written: end records, and the line about the end of the job in run.log."""

    ends: tuple[AttemptEnd, ...] = ()
    job_end: str | None = None
    problems: tuple[str, ...] = ()
    """Records that could not be read or written, and where damaged ones were put."""

    @property
    def changed(self) -> bool:
        """Whether anything was written."""
        return bool(self.ends) or self.job_end is not None


@dataclass(frozen=True, slots=True)
class _Records:
    """A run directory, and the descriptor through which its records are written."""

    run_dir: RunDir
    directory: int

    def log(self, text: str) -> None:
        """Add a line to run.log."""
        runlog.append(self.run_dir.log.name, text, directory=self.directory)


def backfill(run_dir: RunDir, job: Job | None, *, now: float | None = None) -> Backfill:
    """Write missing end records, and the job's final state in run.log.

    Only the owner of the run directory writes, and root never does: all is written through the
    directory that was opened and found to be the caller's own.

    Args:
        run_dir: the phase's directory.
        job: what Slurm shows of the job now; None: not known; the newest attempt is then skipped,
            as it may be running.
        now: epoch seconds; None: the current time.

    Raises:
        StateError: the plan cannot be read.
        PermissionError: the caller is root, or does not own the run directory.
        OSError: the attempts cannot be listed, or the summary cannot be written.
    """
    directory = open_own_directory(run_dir.path)
    try:
        return _backfill(_Records(run_dir, directory), job, time.time() if now is None else now)
    finally:
        os.close(directory)


def _backfill(records: "_Records", job: Job | None, at: float) -> Backfill:
    run_dir = records.run_dir
    plan = RunPlan.load(run_dir.plan)
    attempts = run_dir.attempts()
    own = job if job is not None and _belongs_to(job, plan, attempts) else None
    ended = attempts if own is not None and _has_ended(own) else attempts[:-1]
    done = _record(records, ended, newest=attempts[-1:], job=own, at=at)
    problems = list(done.problems)
    job_end = None
    if own is not None:
        try:
            job_end = _record_job_end(records, own, at)
        except OSError as error:
            problems.append(f"run.log: {error}")
    aside = None
    if done.ends or job_end:
        aside = summary.write(plan, run_dir, at=at, directory=records.directory)
    if aside:
        problems.append(f"{run_dir.summary}: damaged, renamed to {aside.name}, and written anew")
    return replace(done, job_end=job_end, problems=tuple(problems))


def backfill_earlier(run_dir: RunDir, *, before: int, now: float) -> Backfill:
    """Write missing end records of the attempts before the one that has just begun.

    Args:
        run_dir: the phase's directory.
        before: number of the attempt that has begun.
        now: epoch seconds.

    Raises:
        OSError: the attempts cannot be listed.
    """
    earlier = tuple(attempt for attempt in run_dir.attempts() if attempt.number < before)
    directory = open_directory(run_dir.path)
    try:
        return _record(_Records(run_dir, directory), earlier, newest=(), job=None, at=now)
    finally:
        os.close(directory)


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
    records: _Records,
    attempts: tuple[AttemptDir, ...],
    *,
    newest: tuple[AttemptDir, ...],
    job: Job | None,
    at: float,
) -> Backfill:
    """Write the missing end records; a problem with one attempt does not affect the others."""
    ends: list[AttemptEnd] = []
    problems: list[str] = []
    problems += _tell_end(records, attempts[-1:], at)
    by_number = {attempt.number: attempt for attempt in records.run_dir.attempts()}
    for attempt in attempts:
        if attempt.end() is not None:
            continue
        found = _resumed_step(by_number.get(attempt.number + 1))
        messages = [str(problem) for problem in attempt.problems()]
        end = derive_end(attempt, job if attempt in newest else None, at, found=found)
        try:
            aside = _write_end(records, attempt, end, at)
        except OSError as error:
            problems += [*messages, f"attempt {attempt.number}: no end record written: {error}"]
            continue
        ends.append(end)
        if aside is not None:
            messages.append(f"{attempt.end_file}: renamed to {aside}, and written anew")
        problems += [*messages, *_log_end(records, end, messages, at)]
    return Backfill(ends=tuple(ends), problems=tuple(problems))


def _tell_end(records: _Records, newest: tuple[AttemptDir, ...], at: float) -> list[str]:
    """Add the end of the newest of the attempts to run.log if it is on record only.

    Returns:
        Why that failed.
    """
    try:
        for attempt in newest:
            if (text := untold_end(records.run_dir, attempt)) is not None:
                records.log(runlog.line(runlog.run_name(attempt.number), text, at=at))
    except OSError as error:
        return [f"run.log: {error}"]
    return []


def _write_end(records: _Records, attempt: AttemptDir, end: AttemptEnd, at: float) -> str | None:
    """Write an end record; return the name to which a damaged one was renamed.

    No directory below the run directory is opened through a symbolic link: another user who may
    write there could let it point anywhere.

    Raises:
        OSError: it cannot be written, or there is one that cannot be read.
    """
    names = (ATTEMPTS, attempt.path.name)
    directory = open_below(records.directory, *names, shown=records.run_dir.path)
    try:
        aside = None
        if _is_damaged(attempt.end_file):
            aside = set_aside_in(directory, attempt.end_file.name, at)
        write_atomic_in(directory, attempt.end_file.name, to_json(end))
    finally:
        os.close(directory)
    return aside


def _is_damaged(path: Path) -> bool:
    """Return whether there is an end record that is not of the right form.

    Raises:
        OSError: it cannot be read, or is no regular file: not known whether it is damaged.
    """
    try:
        load_record(AttemptEnd, path)
    except FileNotFoundError:
        return False
    except (FileTooLargeError, RecordError):
        return True
    raise FileExistsError(errno.EEXIST, "written by another process meanwhile", str(path))


def _log_end(records: _Records, end: AttemptEnd, problems: list[str], at: float) -> list[str]:
    """Add the end and the problems with its records to run.log; return why that failed."""
    name = runlog.run_name(end.attempt)
    try:
        for message in (*problems, f"{end.reason}; newest step {end.step}"):
            records.log(runlog.line(name, message, at=at, level="WARNING"))
    except OSError as error:
        return [f"run.log: {error}"]
    return []


def _resumed_step(following: AttemptDir | None) -> int | None:
    """Return the step from which the next attempt resumed."""
    start = following.start() if following is not None else None
    known = start is not None and (start.resumed or start.measured)
    return start.from_step if start is not None and known else None


def derive_end(attempt: AttemptDir, job: Job | None, at: float, *, found: int | None) -> AttemptEnd:
    """Return the end record of an attempt, whose newest checkpoint may not be on record either."""
    start = attempt.start()
    began = None if start is None else start.to_exceed
    steps = [step for step in (attempt.reached(), began, found) if step is not None]
    advanced = began is not None and max(steps) > began
    cause, reason = _derive_cause(job, attempt.number)
    return AttemptEnd(
        attempt=attempt.number,
        at=(job.end_time if job is not None else None) or _last_activity(attempt) or at,
        category=cause.category.value,
        rule=cause.rule,
        reason=f"{NO_EXIT_RECORD}: {reason}",
        confidence=cause.confidence.value,
        exit_code=job.exit_code if job is not None and not job.signal else None,
        signal=job.signal or None if job is not None else None,
        step=max(steps, default=None),
        progress=advanced if advanced or (began is not None and found is not None) else None,
        recoverable=cause.category.recoverable,
        backfilled=True,
    )


def _derive_cause(job: Job | None, attempt: int) -> tuple[Cause, str]:
    reported = None if job is None else _reported_cause(job.comment, attempt)
    if job is None or job.state is None or not job.state.is_final:
        hook_reason = _hook_reason(job.admin_comment) if job is not None else None
        reason = hook_reason or "the supervisor was killed, or its node was lost"
        return reported or _UNKNOWN, reason
    stated = STATE_CAUSES.get(job.state) or reported
    cause = stated or exit_cause(job.exit_code, job.signal) or _UNKNOWN
    return cause, f"Slurm: {job.state.value}, {job.reason}, {job.exit_code}:{job.signal}"


def _reported_cause(comment: str, attempt: int) -> Cause | None:
    """Return the cause in the job's Comment, which a supervisor writes even if its disk is full."""
    try:
        record = job_comment.parse_comment(comment)
    except CommentRecordError:
        return None
    if record.attempt != attempt or not record.ended or record.cause is None:
        return None
    return Cause(record.rule or _REPORTED, record.cause, Confidence.LIKELY)


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


def _record_job_end(records: _Records, job: Job, at: float) -> str | None:
    """Add a line about the job's end to run.log, unless it is already there; return its text."""
    if job.state is None or not job.state.is_final or job.completing:
        return None
    reason = f", {job.reason}" if job.reason not in ("", "None") else ""
    text = escape_controls(f"job {job.job_id} has ended: {job.state.value}{reason}")
    try:
        tail = read_tail(records.run_dir.log, _LOG_TAIL, follow=False)
        recorded = f" {text}" in tail.decode(errors="replace")
    except FileNotFoundError:
        recorded = False
    if recorded:
        return None
    records.log(runlog.line(runlog.MAIN, text, at=at))
    return text
