"""`csx-restart run`: supervise one attempt of a run; the batch script becomes this command."""

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
    help="The run directory that csx-sbatch made.",
)
def command(run_dir: Path) -> NoReturn:
    """Start the trainer from the right checkpoint, watch it, and say what happened.

    It is started by the batch script, and exits with the trainer's exit code (128 + N for signal
    N).
    """
    # Forked before anything else is loaded: it stays small.
    guard = reaper.start()
    from slurm_restart.supervise.supervisor import Supervisor, job_context  # noqa: PLC0415

    code = Supervisor(run_dir.absolute(), guard, job_context()).run()
    # A thread may hang with a file system or Slurm, and would be waited for.
    os._exit(code)
