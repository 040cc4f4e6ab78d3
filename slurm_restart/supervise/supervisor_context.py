"""What the supervisor works with: the job, the cluster and Slurm's log."""

import os
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path

from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.trainer.run_plan import RunPlan


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisorContext:
    """The job and the cluster that the supervisor works with."""

    job: JobEnvironment
    slurm: Callable[[RunPlan | None], Slurm]
    """Returns the cluster; the plan holds how it was reached at submission."""


def job_context() -> SupervisorContext:
    """Return the context of the job that this process runs in."""
    return SupervisorContext(job=JobEnvironment.read(), slurm=_slurm)


def _slurm(plan: RunPlan | None) -> Slurm:
    if plan is None or _is_in_path("scontrol"):
        return Commands()
    conf = None if "SLURM_CONF" in os.environ else plan.slurm.conf
    return Commands(bin_dir=plan.slurm.bin_dir, slurm_conf=conf)


def _is_in_path(program: str) -> bool:
    # Not shutil.which: the import costs each supervisor 1 MB on Python 3.14.
    places = (Path(directory, program) for directory in os.get_exec_path())
    return any(os.access(place, os.X_OK) and place.is_file() for place in places)


def log_to_slurm(message: str) -> None:
    """Write a line to Slurm's log with one system call."""
    with suppress(OSError):
        os.write(2, f"csx-restart: {message}\n".encode("utf-8", "replace"))
