"""The --backend option: read jobs and nodes with Slurm's commands or with pyslurm."""

from collections.abc import Callable
from typing import Any

import click

from slurm_restart.slurm.choose_backend import AUTO, BACKEND_VARIABLE, BACKENDS


def backend_option(command: Callable[..., Any]) -> Callable[..., Any]:
    """Add the option --backend; its parameter is `backend`."""
    return click.option(
        "--backend",
        type=click.Choice(BACKENDS),
        default=AUTO,
        envvar=BACKEND_VARIABLE,
        show_default=f"${BACKEND_VARIABLE}, else {AUTO}",
        help="Read jobs and nodes with Slurm's commands or with pyslurm.",
    )(command)
