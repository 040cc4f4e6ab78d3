"""`csx-restart run`: supervise one attempt of a run; the batch script ends in this command."""

import os
from pathlib import Path
from typing import NoReturn

import click

from slurm_restart.supervise import reaper


@click.command()
@click.option(
    "--run-dir",
    type=click.Path(path_type=Path, resolve_path=False),
    required=True,
    help="The run directory that csx-sbatch created.",
)
def command(run_dir: Path) -> NoReturn:
    """Start the trainer from the right checkpoint, monitor it, and record how it ended.

    The batch script calls this command. The exit code is the trainer's, or 128 + N if signal N
    ended it.
    """
    # Forked before any other import, so that the reaper stays small.
    process = reaper.start()
    from slurm_restart.supervise.supervisor import Supervisor  # noqa: PLC0415
    from slurm_restart.supervise.supervisor_context import job_context  # noqa: PLC0415

    code = Supervisor(run_dir.absolute(), process, job_context()).run()
    # A normal exit would wait for threads that hang on a file system or on Slurm.
    os._exit(code)
