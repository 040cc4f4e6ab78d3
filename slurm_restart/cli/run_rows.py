"""The rows of `csx-restart list`: runs that Slurm shows and runs of the journals, as one list."""

from collections.abc import Iterable
from dataclasses import replace

from slurm_restart.cli.job_record import record_of
from slurm_restart.cli.run_directory import count_restarts
from slurm_restart.cli.table import state_of
from slurm_restart.control.run_index import IndexedRun
from slurm_restart.control.state_dir import user_name
from slurm_restart.core.array_task import run_of_task
from slurm_restart.core.category import Category
from slurm_restart.core.history import Streak, add_in_place
from slurm_restart.core.in_place_ends import NONE_IN_PLACE
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.run_counters import count_now
from slurm_restart.frozen import frozen

Key = tuple[int, int, str]
"""Job id, uid and run id."""


@frozen
class RunRow:
    """A run, one job of it where it has phases. Times are epoch seconds; None: not known."""

    job_id: int
    name: str
    """What names the job to Slurm: `120`, or `120_4` for a task of an array."""
    run: str
    user: str
    uid: int
    partition: str | None
    """None: Slurm does not know the job any more."""
    state: str | None
    """Slurm's, or the last one that the controller has seen."""
    reason: str | None
    """Why it waits, or why the last end was decided as it was."""
    phase: int | None
    attempt: int | None
    """Number of the attempt from 0."""
    restarts: int | None
    """Restarts so far."""
    failures: int | None
    """Ends in a row without progress."""
    max_num_restarts: int | None
    step: int | None
    unit: str
    num_nodes: int | None
    nodes: tuple[str, ...]
    """Those of the present or else the last attempt."""
    category: str | None
    """Of the last end."""
    action: str | None
    began: int | None
    changed: int | None
    restart_at: int | None
    in_slurm: bool


def merge_runs(jobs: Iterable[Job], indexed: Iterable[IndexedRun]) -> list[RunRow]:
    """Return a row for each run, ordered by the names of their jobs.

    Args:
        jobs: as Slurm shows them; those that are not managed are left out.
        indexed: the runs of the journals.
    """
    rows = {(run.job_id, run.uid, run.run): _of_journal(run) for run in indexed}
    for job in jobs:
        record = record_of(job)
        if record is not None:
            key = (job.job_id, job.uid, run_of_task(record.run, job.array_task_id))
            rows[key] = _of_job(job, record, rows.get(key), key)
    return sorted(rows.values(), key=_place)


def _place(row: RunRow) -> tuple[list[int], int]:
    """Return where a run stands in the list: by job id, the tasks of an array in their order."""
    return [int(number) for number in row.name.split("_")], row.changed or 0


def _of_journal(found: IndexedRun) -> RunRow:
    summary = found.summary
    return RunRow(
        job_id=found.job_id,
        name=str(found.job_id),
        run=found.run,
        user=user_name(found.uid),
        uid=found.uid,
        partition=None,
        state=_last_state(found),
        reason=summary.reason,
        phase=None,
        attempt=summary.attempts - 1 if summary.attempts else None,
        restarts=summary.restarts,
        failures=summary.failures,
        max_num_restarts=None,
        step=summary.step,
        unit=summary.unit,
        num_nodes=len(summary.nodes) or None,
        nodes=summary.nodes,
        category=summary.category,
        action=summary.action,
        began=summary.began,
        changed=summary.changed,
        restart_at=summary.restart_at,
        in_slurm=False,
    )


def _last_state(found: IndexedRun) -> str | None:
    summary = found.summary
    if summary.state is not None:
        return summary.state.value
    return JobState.COMPLETED.value if summary.category == Category.COMPLETED.value else None


def _of_job(job: Job, record: CommentRecord, known: RunRow | None, key: Key) -> RunRow:
    waits = job.state is JobState.PENDING
    # Of a job that waits, Slurm shows when it expects or may start it.
    started = None if waits else job.start_time
    row = known or _empty(key)
    restarts, failures = _counters(job, record, row)
    return replace(
        row,
        name=job.name,
        partition=",".join(job.partitions) or None,
        state=state_of(job),
        reason=job.reason if waits or row.reason is None else row.reason,
        phase=record.phase,
        attempt=record.attempt,
        max_num_restarts=record.max_restarts,
        step=row.step if record.step is None else record.step,
        unit=record.unit.value,
        restarts=restarts,
        failures=failures,
        num_nodes=job.num_nodes,
        nodes=job.nodes or row.nodes,
        began=row.began or started or job.submit_time,
        changed=max(filter(None, (row.changed, started, job.submit_time)), default=None),
        restart_at=row.restart_at if waits else None,
        in_slurm=True,
    )


def _counters(job: Job, record: CommentRecord, row: RunRow) -> tuple[int | None, int | None]:
    """Return the restarts of a run, and its ends in a row without progress; None: not known.

    Args:
        job: as Slurm shows it.
        record: its comment record.
        row: what its journal says.
    """
    if row.restarts is None or row.failures is None:
        counters = count_now(job, None, record, None)
        return count_restarts(job, None, counters), None if counters is None else counters.failures
    # What the record says of an allocation that has ended is in the journal with that end.
    present = job.running and record.restarts == job.restarts
    since = record.in_place_ends if present else NONE_IN_PLACE
    before = Streak(failures=row.failures, restarts=0)
    return max(row.restarts, job.restarts) + since.restarts, add_in_place(before, since).failures


def _empty(key: Key) -> RunRow:
    job_id, uid, run = key
    return RunRow(
        job_id=job_id,
        name=str(job_id),
        run=run,
        user=user_name(uid),
        uid=uid,
        partition=None,
        state=None,
        reason=None,
        phase=None,
        attempt=None,
        restarts=None,
        failures=None,
        max_num_restarts=None,
        step=None,
        unit="step",
        num_nodes=None,
        nodes=(),
        category=None,
        action=None,
        began=None,
        changed=None,
        restart_at=None,
        in_slurm=False,
    )
