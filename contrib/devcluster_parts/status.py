"""`devcluster status`: which daemons and steps of a cluster are alive."""

from __future__ import annotations

import contextlib
from typing import TYPE_CHECKING, Any

from contrib.devcluster_parts.errors import DevclusterError

if TYPE_CHECKING:
    from contrib.devcluster_parts.cluster import Cluster
    from contrib.devcluster_parts.processes import Process


def cluster_status(cluster: Cluster) -> dict[str, Any]:
    """All that `status --json` prints."""
    controller = cluster.recorded("slurmctld")
    states: dict[str, str] = {}
    if controller and controller.state != "T":
        with contextlib.suppress(DevclusterError):
            states = cluster.node_states(timeout=5)
    steps = cluster.steps()
    return {
        "directory": str(cluster.directory),
        "name": cluster.name,
        "release": cluster.release,
        "keeper": shown(cluster.recorded("keeper")),
        "munged": shown(cluster.recorded("munged")),
        **{name: shown(cluster.recorded(name)) for name in databases(cluster)},
        "slurmctld": shown(controller),
        "nodes": [
            {
                "name": node,
                "slurmd": shown(cluster.recorded(f"slurmd-{node}")),
                "slurm_state": states.get(node),
                "steps": [
                    {"job": step.job, "step": step.step, "pid": step.pid}
                    for step in steps
                    if step.node == node
                ],
            }
            for node in cluster.node_names
        ],
    }


def databases(cluster: Cluster) -> tuple[str, ...]:
    """The daemons that only a cluster with accounting has."""
    return ("mariadbd", "slurmdbd") if cluster.accounting else ()


def shown(process: Process | None) -> dict[str, Any]:
    """A daemon's pid and whether it is alive, frozen (SIGSTOP) or dead."""
    if process is None:
        return {"pid": None, "state": "dead"}
    return {"pid": process.pid, "state": "frozen" if process.state == "T" else "alive"}


def status_lines(status: dict[str, Any]) -> list[str]:
    """The same for people."""
    lines = [f"{status['name']}: Slurm {status['release']} in {status['directory']}"]
    names = ("keeper", "munged", "mariadbd", "slurmdbd", "slurmctld")
    daemons = {name: status[name] for name in names if name in status}
    lines += [
        f"{name:10} {daemon['state']:7} {daemon['pid'] or '-':>8}"
        for name, daemon in daemons.items()
    ]
    for node in status["nodes"]:
        steps = " ".join(f"{step['job']}.{step['step']}" for step in node["steps"])
        slurmd = f"{node['slurmd']['state']:7} {node['slurmd']['pid'] or '-':>8}"
        lines.append(
            f"{node['name']:10} {slurmd}  {node['slurm_state'] or '?':10} {steps}".rstrip()
        )
    return lines
