"""The --backend option: how Slurm is asked about jobs and nodes."""

from collections.abc import Callable
from typing import Any

import click

from slurm_restart.slurm.choose_backend import AUTO, BACKEND_VARIABLE, BACKENDS


def backend_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add --backend; the parameter is called `backend`."""
    return click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default=AUTO,
        envvar=BACKEND_VARIABLE,
        show_default=f"${BACKEND_VARIABLE}, else {AUTO}",
        help="Read jobs and nodes with Slurm's commands or with pyslurm.",
    )(command)
