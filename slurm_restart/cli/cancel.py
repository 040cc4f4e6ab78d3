"""`csx-restart cancel`: cancel a run, repeatedly until Slurm shows that it has ended."""

import click

from slurm_restart.cli.deadline import Deadline
from slurm_restart.cli.find_run import slurm_here
from slurm_restart.cli.named_jobs import is_job_id, later_phases, named_jobs
from slurm_restart.cli.options import timeout_option
from slurm_restart.cli.stop_advice import after_the_end
from slurm_restart.core.job import Job, JobState
from slurm_restart.errors import JobNotFoundError
from slurm_restart.slurm.interface import Slurm

INTERVAL = 1.0
"""Seconds between two requests to Slurm."""


def _job_id(_context: click.Context, _parameter: click.Parameter, text: str) -> str:
    if not is_job_id(text):
        raise click.BadParameter(f"{text!r}: expected a job id (`120`) or a task (`120_4`)")
    return text


@click.command()
@click.argument("job_id", callback=_job_id)
@timeout_option(600, "Seconds after which the command gives up.")
def command(job_id: str, timeout: int) -> None:
    """Cancel the job JOB_ID and the later phases of its run, and wait until they have ended.

    JOB_ID may be a task of a job array (`120_4`); the id of an array stands for all of its tasks.

    Slurm ignores an scancel of a job that has failed and is COMPLETING, without a message, and
    the job may be restarted nevertheless. This command repeats it until Slurm shows that the job
    has ended.

    Exit codes: 0 ended, 4 refused by Slurm, 5 unknown job, 75 not ended within the timeout.
    """
    slurm, deadline = slurm_here(), Deadline(timeout)
    named, jobs = named_jobs(slurm, job_id)
    for each in (*named, *later_phases(named[0], jobs)):
        click.echo(_format_end(slurm, each.name, cancel_until_ended(slurm, each, deadline)))


def cancel_until_ended(slurm: Slurm, asked: Job, deadline: Deadline) -> Job | None:
    """Cancel a job until it has ended; return it, None if Slurm no longer knows it.

    Raises:
        SlurmError: Slurm refuses it.
        SlurmUnavailableError: it has not ended in time.
    """
    while True:
        try:
            slurm.cancel(asked.name)
            job = slurm.job(asked.job_id)
        except JobNotFoundError:
            return None
        if job.over:
            return job
        state = job.state.value if job.state is not None else "COMPLETING"
        deadline.pause(
            INTERVAL,
            f"job {asked.name} has not ended in time: Slurm shows {state}; try again, or ask an "
            "administrator if a node does not answer",
        )


def _format_end(slurm: Slurm, name: str, job: Job | None) -> str:
    if job is None or job.state is None:
        return f"job {name}: not known to Slurm any more"
    if job.state in (JobState.CANCELLED, JobState.COMPLETED):
        return f"job {name}: {job.state.value}"
    note = f"it had ended before it could be cancelled{after_the_end(job, slurm)}"
    return f"job {name}: {job.state.value}: {note}"
