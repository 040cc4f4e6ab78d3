"""The job's allocation as Slurm describes it in the environment."""

import os
import re
from collections.abc import Container, Mapping, Sequence
from dataclasses import replace

from slurm_restart.core.hostlist import expand
from slurm_restart.core.job_comment import MAX_HOSTLIST
from slurm_restart.core.task_layout import parse_task_counts, task_layout
from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.supervise.reaper import IN_PLACE, IN_PLACE_NODES

RESTART_COUNT = "SLURM_RESTART_COUNT"


@frozen
class JobEnvironment:
    """The allocation. Outside a job, `job_id` and `num_nodes` are None."""

    job_id: int | None
    restarts: int
    nodes: tuple[str, ...]
    """Those of the attempt."""
    num_nodes: int | None
    array_task: int | None = None
    """The task of a job array."""
    node_name: str | None = None
    """Slurm's name of this node."""
    cluster: str | None = None
    """Slurm's name of the cluster."""
    layout: tuple[str, ...] = ()
    """The node of each task of a step that has all tasks of the job; empty: not known."""
    in_place: int = 0
    """Restarts in place in this allocation up to now."""
    held: tuple[str, ...] = ()
    """All nodes that the job started on, in Slurm's order."""
    spares: tuple[str, ...] = ()
    """Nodes of the job that the attempt does not use, and a later one may."""
    step_left: bool = False
    """Whether a step may be left that Slurm never ends, and that holds the nodes' CPUs."""

    @classmethod
    def read(cls, env: Mapping[str, str] = os.environ) -> "JobEnvironment":
        """Read Slurm's variables. An invalid value counts as absent, so that the run can start."""
        held = _nodes(env.get("SLURM_JOB_NODELIST", ""))
        in_place = _number(env.get(IN_PLACE)) or 0
        # Only a supervisor before this one sets them both.
        chosen, _, spares = (env.get(IN_PLACE_NODES, "") if in_place else "").partition(" ")
        nodes = _among(held, _nodes(chosen)) or held
        whole = nodes == held
        return cls(
            job_id=_number(env.get("SLURM_JOB_ID")),
            # Slurm does not set it before the first restart.
            restarts=_number(env.get(RESTART_COUNT)) or 0,
            nodes=nodes,
            num_nodes=(whole and _number(env.get("SLURM_JOB_NUM_NODES"))) or len(nodes) or None,
            array_task=_number(env.get("SLURM_ARRAY_TASK_ID")),
            node_name=env.get("SLURMD_NODENAME") or None,
            cluster=env.get("SLURM_CLUSTER_NAME") or None,
            layout=_layout(nodes, env) if whole else (),
            in_place=in_place,
            held=held,
            spares=_among(held, _nodes(spares)),
        )

    def using(self, count: int) -> "JobEnvironment":
        """Return the allocation with an attempt on the first `count` of its nodes."""
        if count >= len(self.nodes):
            return self
        return self.on(self.nodes[:count], self.nodes[count:])

    def on(self, nodes: tuple[str, ...], spares: tuple[str, ...]) -> "JobEnvironment":
        """Return the allocation with an attempt on these of its nodes."""
        return replace(self, nodes=nodes, num_nodes=len(nodes), spares=spares, layout=())

    def with_spares(self, names: Container[str]) -> "JobEnvironment":
        """Return the allocation with these of its nodes as its only spares."""
        return replace(self, spares=tuple(name for name in self.held if name in names))

    @property
    def unused(self) -> tuple[str, ...]:
        """The job's nodes at its start that the attempt does not use."""
        return tuple(name for name in self.held if name not in self.nodes)


def format_left_out(held: Sequence[str], nodes: Sequence[str], spares: Sequence[str]) -> str | None:
    """Return the nodes of a job that restarts in place no longer use, for the comment record.

    None: there are none, or too many for it.
    """
    hostlist = format_hostlist(set(held) - {*nodes, *spares})
    return hostlist if 0 < len(hostlist) <= MAX_HOSTLIST else None


def _nodes(hostlist: str) -> tuple[str, ...]:
    try:
        return expand(hostlist)
    except SlurmError:
        return ()


def _among(held: tuple[str, ...], names: tuple[str, ...]) -> tuple[str, ...]:
    return tuple(name for name in held if name in set(names))


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
