"""Refuse an attempt where a person has ended the one before by `scancel --batch`.

That kills the supervisor, which looks like a crash to the controller. slurmstepd tells them apart:
before a KILL or TERM that slurmctld passes on, it writes a line into the job's standard error, and
none before a kill(1) on the node or one by the kernel (measured on 22.05, 24.11 and 26.05).
"""

import re
import time
from collections.abc import Callable
from dataclasses import replace

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.journal_events import Action
from slurm_restart.safe_files import read_tail
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.run_over import RunOverError
from slurm_restart.supervise.run_records import of_job
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import to_json
from slurm_restart.trainer.rundir import RunDir

SLURM_LOG = "/proc/self/fd/2"
"""The job's standard error, to which Slurm appends at each start of the job."""
RULE = "supervisor.batch_cancelled"
_TAIL = 1 << 20
"""Bytes of the end of Slurm's log that are read: what a program leaves behind may still write."""
_CANCELLED = re.compile(
    rb"(?:slurmstepd(?:-\S+)?:|\[[\d:.T-]+\]) error: \*\*\* JOB (\d+) ON \S+ CANCELLED AT "
    rb"(\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d) (?:DUE to SIGNAL (?:Killed|Terminated) )?\*\*\*\s*$",
    re.MULTILINE,
)
"""Other reasons than a person's request are named: DUE TO TIME LIMIT, PREEMPTION and so on. 26.05
names the signal, and begins the line with a time."""


def refuse_cancelled(
    run_dir: RunDir,
    job: JobEnvironment,
    log: Callable[[int, str], None],
    *,
    slurm_log: str = SLURM_LOG,
) -> None:
    """Put the end of the attempt before on record as a cancellation, if it was one.

    Args:
        run_dir: the phase's directory.
        job: the allocation of the attempt that is to begin.
        log: called with the number of an attempt and a line about its end.
        slurm_log: path of the job's standard error.

    Raises:
        RunOverError: a person has ended the run.
        OSError: the records cannot be read or written.
    """
    attempts = of_job(run_dir.attempts(), job.job_id)
    if job.in_place or job.job_id is None or not attempts or attempts[-1].end() is not None:
        return
    newest = attempts[-1]
    start = newest.start()
    if start is None or not (at := cancelled_at(slurm_log, job.job_id, start.at)):
        return
    # Few attempts get here: imported early, it would take memory in all.
    from slurm_restart.supervise.backfill import backfill_earlier, derive_end  # noqa: PLC0415

    backfill_earlier(run_dir, before=newest.number, now=time.time())
    reason = f"a person ended the batch script (scancel --batch) at {at}"
    end = replace(
        derive_end(newest, None, time.time(), found=None),
        category=Category.CANCELLED.value,
        rule=RULE,
        reason=reason,
        confidence=Confidence.CERTAIN.value,
        recoverable=Category.CANCELLED.recoverable,
        expected_decision=f"{Action.LEAVE.value} ({reason})",
    )
    write_atomic(newest.end_file, to_json(end))
    log(newest.number, f"ended as {end.category}: {reason}")
    raise RunOverError(Category.CANCELLED, reason)


def cancelled_at(slurm_log: str, job_id: int, since: float) -> str | None:
    """Return when a person ended the batch script of a job, as Slurm's log tells it.

    Args:
        slurm_log: path of the job's standard error.
        job_id: the job.
        since: epoch seconds; earlier entries are of earlier attempts.

    Returns:
        The local time, to the second. None: nobody did, or the log cannot be read.
    """
    try:
        tail = read_tail(slurm_log, _TAIL)
    except OSError:
        return None
    found = [at.decode() for number, at in _CANCELLED.findall(tail) if int(number) == job_id]
    # Its clock has seconds, that of the record has fractions.
    return found[-1] if found and _epoch(found[-1]) >= int(since) else None


def _epoch(at: str) -> float:
    try:
        return time.mktime(time.strptime(at, "%Y-%m-%dT%H:%M:%S"))
    except (ValueError, OverflowError):
        return 0.0
