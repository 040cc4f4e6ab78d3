"""The job's allocation as Slurm describes it in the environment."""

import os
import re
from collections.abc import Mapping

from slurm_restart.core.hostlist import expand
from slurm_restart.core.task_layout import parse_task_counts, task_layout
from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.supervise.reaper import IN_PLACE


@frozen
class JobEnvironment:
    """The allocation. Outside a job, `job_id` and `num_nodes` are None."""

    job_id: int | None
    restarts: int
    nodes: tuple[str, ...]
    num_nodes: int | None
    array_task: int | None = None
    """The task of a job array."""
    node_name: str | None = None
    """Slurm's name of this node."""
    layout: tuple[str, ...] = ()
    """The node of each task of a step that has all tasks of the job; empty: not known."""
    in_place: int = 0
    """Restarts in place in this allocation up to now."""

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> "JobEnvironment":
        """Read Slurm's variables. An invalid value counts as absent, so that the run can start."""
        try:
            nodes = expand(env.get("SLURM_JOB_NODELIST", ""))
        except SlurmError:
            nodes = ()
        return cls(
            job_id=_number(env.get("SLURM_JOB_ID")),
            # Slurm does not set it before the first restart.
            restarts=_number(env.get("SLURM_RESTART_COUNT")) or 0,
            nodes=nodes,
            num_nodes=_number(env.get("SLURM_JOB_NUM_NODES")) or len(nodes) or None,
            array_task=_number(env.get("SLURM_ARRAY_TASK_ID")),
            node_name=env.get("SLURMD_NODENAME") or None,
            layout=_layout(nodes, env),
            in_place=_number(env.get(IN_PLACE)) or 0,
        )


def _layout(nodes: tuple[str, ...], env: Mapping[str, str]) -> tuple[str, ...]:
    """Return where the tasks of a step run that is started without options of its own."""
    counts = parse_task_counts(env.get("SLURM_TASKS_PER_NODE", ""))
    # Without a number of tasks srun starts one a node, and the variable tells the CPUs.
    if sum(counts) != _number(env.get("SLURM_NTASKS")) or "SLURM_HET_SIZE" in env:
        return ()
    # srun's manual page, --distribution: the default is block.
    return task_layout(nodes, counts, env.get("SLURM_DISTRIBUTION") or "block")


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) else None
