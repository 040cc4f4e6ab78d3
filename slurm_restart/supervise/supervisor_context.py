"""What the supervisor works with: the job and the cluster."""

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

from slurm_restart.frozen import frozen
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.reaper import IN_PLACE, IN_PLACE_NODES
from slurm_restart.trainer.run_plan import RunPlan


@frozen
class SupervisorContext:
    """The job and the cluster that the supervisor works with."""

    job: JobEnvironment
    slurm: Callable[[RunPlan | None], Slurm]
    """Returns the cluster; the plan holds how it was reached at submission."""


class LazySlurm:
    """A cluster that is looked up when it is first asked, in the thread that asks.

    PATH may name directories that do not answer.

    Args:
        choose: returns the cluster.
    """

    def __init__(self, choose: Callable[[], Slurm]) -> None:
        self._choose = choose
        self._chosen: Slurm | None = None

    def __getattr__(self, name: str) -> Any:
        if self._chosen is None:
            self._chosen = self._choose()
        return getattr(self._chosen, name)


def job_context() -> SupervisorContext:
    """Return the context of the job that this process runs in."""
    job = JobEnvironment.read()
    for name in (IN_PLACE, IN_PLACE_NODES):
        os.environ.pop(name, None)
    return SupervisorContext(job=job, slurm=cluster_of)


def cluster_of(plan: RunPlan | None) -> Slurm:
    """Return the cluster of a plan; None: of this process's environment."""
    if plan is None or _is_in_path("scontrol"):
        return Commands()
    conf = None if "SLURM_CONF" in os.environ else plan.slurm.conf
    return Commands(bin_dir=plan.slurm.bin_dir, slurm_conf=conf)


def _is_in_path(program: str) -> bool:
    # Not shutil.which: the import costs each supervisor 1 MB on Python 3.14.
    places = (Path(directory, program) for directory in os.get_exec_path())
    return any(os.access(place, os.X_OK) and place.is_file() for place in places)
