"""`csx-restart run`: supervise one attempt of a run; the batch script ends in this command."""

import os
import sys
from pathlib import Path
from typing import NoReturn

import click

from slurm_restart.errors import UsageError
from slurm_restart.supervise import reaper


@click.command()
@click.option(
    "--run-dir",
    required=True,
    help="The run directory that csx-sbatch created.",
)
@click.option(
    "--array",
    is_flag=True,
    help="The run directory is that of a job array; that of this task is made in it.",
)
@click.option(
    "--settle",
    type=click.IntRange(0, 255),
    help="Only do what a supervisor that has ended with this exit code has left to do.",
)
def command(run_dir: str, array: bool, settle: int | None) -> NoReturn:  # noqa: FBT001 - a flag
    """Start the trainer from the right checkpoint, monitor it, and record how it ended.

    The batch script calls this command. The exit code is the trainer's, or 128 + N if signal N
    ended it.
    """
    if settle is not None:
        _settle(Path(run_dir).absolute(), settle, array=array)
    # Forked before any other import, so that the reaper stays small.
    process = reaper.start()
    from slurm_restart.supervise.supervisor import Supervisor  # noqa: PLC0415
    from slurm_restart.supervise.supervisor_context import job_context  # noqa: PLC0415
    from slurm_restart.trainer.rundir import RunDir  # noqa: PLC0415

    # Not click.Path: it would look at the directory, which may hang, and refuse an unreadable one
    # before anything can be reported.
    context, place = job_context(), Path(run_dir).absolute()
    if array and context.job.array_task is None:
        raise UsageError("--array: expected SLURM_ARRAY_TASK_ID in the environment, got nothing")
    if array and context.job.array_task is not None:
        path = RunDir(place).task(context.job.array_task).path
        supervisor = Supervisor(path, process, context, array_dir=place)
    else:
        supervisor = Supervisor(place, process, context)
    code = supervisor.run()
    # A normal exit would wait for threads that hang on a file system or on Slurm.
    os._exit(code)


def _settle(run_dir: Path, exit_code: int, *, array: bool) -> NoReturn:
    """Do what a supervisor that was killed has left to do, and exit with the job's code."""
    from slurm_restart.supervise.settle_run import Settlement, settle  # noqa: PLC0415
    from slurm_restart.supervise.supervisor_context import job_context  # noqa: PLC0415
    from slurm_restart.trainer.rundir import RunDir  # noqa: PLC0415

    context, place = job_context(), RunDir(run_dir)
    if array and context.job.array_task is not None:
        place = place.task(context.job.array_task)
    settlement = Settlement(
        run_dir=place,
        job=context.job,
        slurm=context.slurm,
        tell=lambda text: click.echo(text, err=True),
        exit_code=exit_code,
    )
    sys.exit(settle(settlement))
