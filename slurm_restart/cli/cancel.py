"""`csx-restart cancel`: cancel a run, repeatedly until Slurm shows that it has ended."""

import re
import time
from collections.abc import Callable, Iterable

import click

from slurm_restart.cli.find_run import TASK, record_of, slurm_here, task_job_id
from slurm_restart.core.job import Job, JobState
from slurm_restart.errors import (
    JobNotFoundError,
    SlurmUnavailableError,
)
from slurm_restart.slurm.interface import Slurm

INTERVAL = 1.0
"""Seconds between two requests to Slurm."""


def _job_id(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if not re.fullmatch(rf"[1-9][0-9]{{0,9}}|{TASK}", text, re.ASCII):
        raise click.BadParameter(f"{text!r}: expected a job id (`120`) or a task (`120_4`)")
    return text


@click.command()
@click.argument("job_id", callback=_job_id)
@click.option(
    "--timeout",
    type=click.IntRange(1),
    default=600,
    show_default=True,
    help="Seconds after which the command gives up.",
)
def command(job_id: str, timeout: int) -> None:
    """Cancel the job JOB_ID and the later phases of its run, and wait until they have ended.

    JOB_ID may be a task of a job array (`120_4`); the id of an array stands for all of its tasks.

    Slurm ignores an scancel of a job that has failed and is COMPLETING, without a message, and
    the job may be restarted nevertheless. This command repeats it until Slurm shows that the job
    has ended.

    Exit codes: 0 ended, 4 refused by Slurm, 5 unknown job, 75 not ended within the timeout.
    """
    slurm = slurm_here()
    whole = job_id.isdecimal()
    job = slurm.job(int(job_id) if whole else task_job_id(job_id))
    jobs = slurm.jobs(uid=job.uid)
    # The id that sbatch printed names a whole array; the array's last task has the same job id.
    tasks = [other for other in jobs if whole and other.array_job_id == int(job_id)]
    cancellation = Cancellation(slurm, until=time.monotonic() + timeout)
    for each in [*(tasks or [job]), *later_phases(job, jobs)]:
        click.echo(_format_end(each.name, cancellation.run(each)))


def later_phases(job: Job, jobs: Iterable[Job]) -> list[Job]:
    """Return the jobs of the later phases of a job's run that have not ended."""
    own = record_of(job)
    if own is None:
        return []
    return [
        other
        for other in jobs
        if other.uid == job.uid
        and (record := record_of(other)) is not None
        and record.run == own.run
        and record.phase > own.phase
        and not (other.state is not None and other.state.is_final)
    ]


class Cancellation:
    """Cancels jobs until they have ended.

    Args:
        slurm: the cluster.
        until: when to give up, on the clock.
        clock: returns seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        slurm: Slurm,
        *,
        until: float,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._slurm = slurm
        self._until = until
        self._clock = clock
        self._sleep = sleep

    def run(self, asked: Job) -> Job | None:
        """Cancel a job until it has ended; return it, None if Slurm no longer knows it.

        Raises:
            SlurmError: Slurm refuses it.
            SlurmUnavailableError: it has not ended in time.
        """
        while True:
            try:
                self._slurm.cancel(asked.name)
                job = self._slurm.job(asked.job_id)
            except JobNotFoundError:
                return None
            if job.over:
                return job
            if self._clock() >= self._until:
                state = job.state.value if job.state is not None else "COMPLETING"
                raise SlurmUnavailableError(
                    f"job {asked.name} has not ended in time: Slurm shows {state}; try again, or "
                    "ask an administrator if a node does not answer"
                )
            self._sleep(INTERVAL)


def _format_end(name: str, job: Job | None) -> str:
    if job is None or job.state is None:
        return f"job {name}: not known to Slurm any more"
    if job.state is JobState.CANCELLED:
        return f"job {name}: CANCELLED"
    note = (
        ""
        if job.state is JobState.COMPLETED
        else (
            ": it had ended before it could be cancelled; if no hook has judged this end, a "
            "sweep of the reconciler may still restart it: see csx-restart status"
        )
    )
    return f"job {name}: {job.state.value}{note}"
