"""`csx-restart release`: release a run that is held, by a person or by Slurm."""

from pathlib import Path

import click

from slurm_restart.cli.find_run import slurm_here
from slurm_restart.cli.options import json_option
from slurm_restart.cli.run_note import record_wish
from slurm_restart.cli.site import site_option
from slurm_restart.cli.steer import Outcome, find, outcome, show
from slurm_restart.cli.table import state_of
from slurm_restart.core.job import Job
from slurm_restart.errors import UsageError
from slurm_restart.slurm.interface import Slurm


@click.command()
@click.argument("run")
@site_option
@json_option
def command(run: str, site_path: Path, as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Release RUN (a job id, a task such as 120_4, or a run directory), which is held.

    Slurm holds a job by itself after a node's prolog has failed, or after too many failures of its
    start; a person does with `scontrol hold`. A hold of an administrator only an administrator can
    end. A job that waits for other reasons is left alone, with the reason.

    Exit codes: 0 released; 2 the job is not held; 4 refused by Slurm; 5 unknown job; 75 no answer.
    """
    slurm = slurm_here()
    steered = find(slurm, run)
    shown = [slurm.job(job.job_id) for job in steered.jobs]
    held = [job for job in shown if job.held]
    if not held:
        raise UsageError("; ".join(f"job {job.name} is not held: {_why(job)}" for job in shown))
    outcomes = [_release(slurm, job) for job in held]
    show(outcomes, as_json=as_json)
    record_wish(steered.run_dir, held, "release", site_path=site_path)


def _why(job: Job) -> str:
    reason = f" ({job.reason})" if job.reason not in ("", "None") else ""
    return f"it is {state_of(job)}{reason}"


def _release(slurm: Slurm, job: Job) -> Outcome:
    slurm.release_job(job.name)
    return outcome(job.name, slurm.job(job.job_id), "released", f"released; it was {job.reason}")
