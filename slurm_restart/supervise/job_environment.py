"""What Slurm tells a job in its environment, as far as the supervisor needs it."""

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

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> "JobEnvironment":
        """Read the variables; what is odd counts as absent, as a run must not fail of it."""
        try:
            nodes = expand(env.get("SLURM_JOB_NODELIST", ""))
        except SlurmError:
            nodes = ()
        return cls(
            job_id=_number(env.get("SLURM_JOB_ID")),
            # Unset in the first run.
            restarts=_number(env.get("SLURM_RESTART_COUNT")) or 0,
            nodes=nodes,
            num_nodes=_number(env.get("SLURM_JOB_NUM_NODES")) or len(nodes) or None,
        )


def _number(text: str | None) -> int | None:
    return int(text) if text and re.fullmatch(r"[0-9]{1,12}", text, re.ASCII) else None
