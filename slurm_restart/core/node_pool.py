"""Determine which nodes a run can use, and how many of them it gets."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.restart_limits import Policy

_SIMPLE_CONSTRAINT = re.compile(r"[\w.:+-]+(?:[&,|][\w.:+-]+)*", re.ASCII)


@dataclass(frozen=True, kw_only=True)
class NodePool:
    """Nodes that fit the job, by name; `usable` are healthy and not excluded, busy or not."""

    usable: frozenset[str]
    idle: frozenset[str]
    """Those on which the job could start now, so none that a reservation keeps for others."""


@dataclass(frozen=True, kw_only=True)
class SizeChoice:
    """The size of the next attempt, with the reason; `num_nodes` None: the job has to wait."""

    num_nodes: int | None
    reason: str


def matches(constraint: str | None, features: frozenset[str]) -> bool:
    """Whether a node's features satisfy a constraint of Slurm's.

    Only `a`, `a&b`, `a,b` and `a|b` are evaluated; brackets, counts and mixtures are left to Slurm
    (True), since a wrong False would shrink a run without need.
    """
    if not constraint or not _SIMPLE_CONSTRAINT.fullmatch(constraint):
        return True
    if "|" in constraint:
        return "&" in constraint or "," in constraint or bool(features & {*constraint.split("|")})
    return features.issuperset(re.split("[&,]", constraint))


def build_pool(
    job: Job,
    nodes: Iterable[NodeState],
    excluded: Iterable[str],
    reserved: Sequence[str] | None = None,
) -> NodePool:
    """The nodes in the job's partitions, reservation and constraint that are not excluded."""
    barred, wanted = set(excluded), set(job.partitions)
    fitting = [
        node
        for node in nodes
        if node.healthy
        and node.name not in barred
        and (not wanted or node.partitions & wanted)
        and (reserved is None or node.name in reserved)
        and matches(job.features, node.features)
    ]
    return NodePool(
        usable=frozenset(node.name for node in fitting),
        idle=frozenset(
            node.name
            for node in fitting
            if node.idle and (reserved is not None or "RESERVED" not in node.flags)
        ),
    )


def choose_size(policy: Policy, pool: NodePool, *, waited: int) -> SizeChoice:
    """How many nodes the next attempt gets.

    Args:
        policy: the run's limits.
        pool: what there is.
        waited: seconds that the job has been ready to start but has not.
    """
    usable, idle, full = len(pool.usable), len(pool.idle), policy.num_nodes
    if usable < policy.min_nodes:
        return SizeChoice(
            num_nodes=None, reason=f"{usable} usable nodes, {policy.min_nodes} are needed at least"
        )
    if usable < full:
        return SizeChoice(num_nodes=usable, reason=f"only {usable} of {full} nodes are usable")
    if waited >= policy.shrink_after and policy.min_nodes <= idle < full:
        return SizeChoice(
            num_nodes=idle, reason=f"{idle} nodes are free after {waited} s of waiting for {full}"
        )
    return SizeChoice(num_nodes=full, reason=f"{usable} nodes are usable for {full}")
