"""The job's allocation as Slurm describes it in the environment."""

import os
import re
from collections.abc import Mapping
from dataclasses import dataclass

from slurm_restart.core.hostlist import expand
from slurm_restart.errors import SlurmError


@dataclass(frozen=True, kw_only=True, slots=True)
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
        )


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) else None
