"""The tasks of a job array, from Slurm and from their run directories, for `csx-restart status`."""

import re
from pathlib import Path
from typing import Any

from slurm_restart.cli.find_run import slurm_here
from slurm_restart.cli.job_record import record_of
from slurm_restart.cli.resume_plan import former_job_id
from slurm_restart.cli.run_directory import count_restarts
from slurm_restart.cli.table import Column, dash, fit_table, position, state_of
from slurm_restart.cli.terminal import output_width
from slurm_restart.core.job import Job
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.core.run_counters import OwnAttempts, count_now
from slurm_restart.errors import JobNotFoundError, SlurmError, StateError
from slurm_restart.supervise.run_records import own_attempts
from slurm_restart.trainer.attempt_records import AttemptEnd
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

_ID = re.compile(r"[0-9]{1,10}", re.ASCII)
_COLUMNS = (
    Column(head="TASK"),
    Column(head="JOBID", rank=3),
    Column(head="STATE"),
    Column(head="ATTEMPT", rank=1),
    Column(head="STEP", rank=1),
    Column(head="RESTARTS", rank=2),
    Column(head="LAST END", rank=1, is_text=True),
)


def array_tasks(text: str) -> list[dict[str, Any]]:
    """Return a row for each task of a job array, in order; empty: the text names no array.

    Tasks that have never started are one row, whose `task` is None.

    Args:
        text: the job id that sbatch printed, or the run directory of the array.
    """
    array, jobs = _by_id(int(text)) if _ID.fullmatch(text) else _by_directory(Path(text))
    by_task = {job.array_task_id: job for job in jobs if job.array_task_id is not None}
    numbers = sorted(_numbers(array) | set(by_task))
    rows = [_row(number, by_task.get(number), array) for number in numbers]
    return rows + [_row(None, job, None) for job in jobs if job.is_waiting_array]


def task_table(rows: list[dict[str, Any]]) -> str:
    """Return the rows as a table for the width of the terminal."""
    return fit_table(
        _COLUMNS,
        [
            (
                "others" if row["task"] is None else str(row["task"]),
                dash(row["job_id"]),
                dash(row["state"]),
                dash(row["attempt"]),
                position(row["step"], row["unit"]),
                dash(row["restarts"]),
                dash(row["last_end"]),
            )
            for row in rows
        ],
        width=output_width(),
    )


def _by_id(job_id: int) -> tuple[RunDir | None, tuple[Job, ...]]:
    slurm = slurm_here()
    try:
        try:
            job = slurm.job(job_id)
        except JobNotFoundError:
            uid = None  # Slurm may have forgotten the task that has the job id of the array
        else:
            uid = job.uid
            if job.array_job_id != job_id:
                return None, ()
        jobs = tuple(job for job in slurm.jobs(uid=uid) if job.array_job_id == job_id)
        script = slurm.script(jobs[0].job_id) if jobs else None
    except SlurmError:
        return None, ()
    return None if script is None else RunDir(script.parent), jobs


def _by_directory(path: Path) -> tuple[RunDir | None, tuple[Job, ...]]:
    array = RunDir(path.absolute())
    if not _numbers(array):
        return None, ()
    try:
        run = RunPlan.load(array.plan).run
        jobs = slurm_here().jobs(uid=array.path.stat().st_uid)
    except (OSError, StateError, SlurmError):
        return array, ()
    return array, tuple(job for job in jobs if (found := record_of(job)) and found.run == run)


def _numbers(array: RunDir | None) -> set[int]:
    """Return the tasks that have a run directory."""
    try:
        names = [] if array is None else [path.name for path in array.tasks.iterdir()]
    except OSError:
        return set()
    return {int(name) for name in names if _ID.fullmatch(name)}


def _row(number: int | None, job: Job | None, array: RunDir | None) -> dict[str, Any]:
    run_dir = None if array is None or number is None else array.task(number)
    attempts = () if run_dir is None else _attempts(run_dir)
    record = None if job is None or number is None else record_of(job)
    if record is not None:
        attempt, step, unit = record.attempt, record.step, record.unit
    else:
        attempt, step, unit = _from_records(attempts)
    own = None if run_dir is None else _own(run_dir, attempts, job)
    end = next(
        (end for attempt_dir in reversed(attempts) if (end := attempt_dir.end()) is not None), None
    )
    return {
        "task": number,
        "job_id": None if job is None else job.job_id,
        "state": None if job is None else state_of(job),
        "reason": None if job is None else job.reason,
        "attempt": attempt,
        "step": step,
        "unit": unit.value,
        "restarts": 0
        if number is None
        else count_restarts(job, own, count_now(job, None, record, own)),
        "max_num_restarts": None if record is None else record.max_restarts,
        "last_end": None if end is None else _format_end(end, attempt),
        "run_dir": None if run_dir is None or not attempts else str(run_dir.path),
    }


def _attempts(run_dir: RunDir) -> tuple[AttemptDir, ...]:
    try:
        return tuple(run_dir.attempts())
    except (OSError, StateError):
        return ()


def _own(run_dir: RunDir, attempts: tuple[AttemptDir, ...], job: Job | None) -> OwnAttempts | None:
    job_id = former_job_id(attempts) if job is None else job.job_id
    try:
        return own_attempts(RunPlan.load(run_dir.plan), attempts, job_id)
    except StateError:
        return None


def _from_records(attempts: tuple[AttemptDir, ...]) -> tuple[int | None, int | None, ProgressUnit]:
    """Return attempt, step and its unit of a task that Slurm does not show any more."""
    if not attempts:
        return None, None, ProgressUnit.STEP
    start, end = attempts[-1].start(), attempts[-1].end()
    from_step = None if start is None else start.from_step
    step = from_step if end is None or end.step is None else end.step
    return attempts[-1].number, step, ProgressUnit.STEP if start is None else start.unit


def _format_end(end: AttemptEnd, attempt: int | None) -> str:
    """Format the last end, with its attempt unless that is the present one."""
    earlier = "" if end.attempt == attempt else f"attempt {end.attempt}: "
    return f"{earlier}{end.reason or end.category}"
