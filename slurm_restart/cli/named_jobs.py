"""The jobs that the argument of a command names, and the later phases of their runs."""

import re
from collections.abc import Iterable

from slurm_restart.cli.find_run import TASK, task_job_id
from slurm_restart.cli.job_record import record_of
from slurm_restart.core.job import Job
from slurm_restart.slurm.interface import Slurm

_JOB_ID = re.compile(rf"[1-9][0-9]{{0,9}}|{TASK}", re.ASCII)


def is_job_id(text: str) -> bool:
    """Return whether a text is a job id (`120`) or the name of a task (`120_4`)."""
    return _JOB_ID.fullmatch(text) is not None


def named_jobs(slurm: Slurm, text: str) -> tuple[tuple[Job, ...], tuple[Job, ...]]:
    """Return the job of an id or of a task, or all tasks of an array; and all jobs of its owner.

    Args:
        slurm: the cluster.
        text: what `is_job_id` accepts.

    Raises:
        JobNotFoundError: Slurm does not know such a job (any more).
    """
    whole = text.isdecimal()
    job = slurm.job(int(text) if whole else task_job_id(text))
    jobs = slurm.jobs(uid=job.uid)
    # The id that sbatch printed names a whole array; the array's last task has the same job id.
    tasks = tuple(other for other in jobs if whole and other.array_job_id == int(text))
    return tasks or (job,), jobs


def later_phases(job: Job, jobs: Iterable[Job]) -> tuple[Job, ...]:
    """Return the jobs of the later phases of a job's run that have not ended."""
    own = record_of(job)
    if own is None:
        return ()
    return tuple(
        other
        for other in jobs
        if other.uid == job.uid
        and (record := record_of(other)) is not None
        and record.run == own.run
        and record.phase > own.phase
        and not (other.state is not None and other.state.is_final)
    )
