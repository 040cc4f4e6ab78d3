"""Determine which nodes a run can use, and how many of them it gets."""

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace

from slurm_restart.core.compile_sizes import largest_compilable
from slurm_restart.core.job import Job, NodeState, PartitionState
from slurm_restart.core.node_fit import is_large_enough
from slurm_restart.core.restart_limits import Policy
from slurm_restart.frozen import frozen

_SCHEDULING_TIME = 60
"""Seconds after which Slurm has tried every job that could start (sched_interval's default)."""
_SIMPLE_CONSTRAINT = re.compile(r"[\w.:+-]+(?:[&,|][\w.:+-]+)*", re.ASCII)


@frozen
class NodePool:
    """The nodes that Slurm can grant the job together, by name: nodes of one partition.

    Of several partitions, `usable` and `idle` are each those of the partition that has the most.
    """

    usable: frozenset[str]
    """Those that are healthy, large enough and not excluded, busy or not."""
    idle: frozenset[str]
    """Those on which the job could start now, so none that a reservation keeps for others."""
    busy: frozenset[str] = frozenset()
    """Those of `usable` on which the job could not start now."""
    free_since: tuple[int, ...] | None = None
    """When the nodes of `idle` that Slurm keeps for no job became idle, in epoch seconds,
    ascending; None: not known."""


@frozen
class SizeChoice:
    """The size of the next attempt, with the reason; `num_nodes` None: the job has to wait."""

    num_nodes: int | None
    reason: str


def matches(constraint: str | None, features: frozenset[str]) -> bool:
    """Return whether a node's features satisfy a constraint of Slurm's.

    Only `a`, `a&b`, `a,b` and `a|b` are evaluated; brackets, counts and mixtures are left to Slurm
    (True), since a wrong False would shrink a run without need.
    """
    if not constraint or not _SIMPLE_CONSTRAINT.fullmatch(constraint):
        return True
    if "|" in constraint:
        return "&" in constraint or "," in constraint or bool(features & {*constraint.split("|")})
    return features.issuperset(re.split("[&,]", constraint))


def known_nodes(names: Iterable[str], nodes: Sequence[NodeState]) -> tuple[str, ...]:
    """Return the names of nodes that Slurm knows, in their order.

    One name that is no longer in slurm.conf makes Slurm refuse a whole ExcNodeList.

    Args:
        names: the names to check.
        nodes: all nodes that Slurm shows; if it shows none, all names are returned.
    """
    shown = {node.name for node in nodes}
    return tuple(name for name in names if not shown or name in shown)


def count_existing(
    job: Job,
    nodes: Iterable[NodeState],
    excluded: Iterable[str],
    reserved: Sequence[str] | None = None,
    partitions: Iterable[PartitionState] = (),
) -> int:
    """Return how many nodes the job could have if all were healthy; as `build_pool`."""
    whole = [replace(node, state="IDLE", flags=frozenset()) for node in nodes]
    return len(build_pool(job, whole, excluded, reserved, partitions).usable)


def build_pool(
    job: Job,
    nodes: Iterable[NodeState],
    excluded: Iterable[str],
    reserved: Sequence[str] | None = None,
    partitions: Iterable[PartitionState] = (),
) -> NodePool:
    """Return the nodes that the job can have.

    Args:
        job: its partitions, constraint and size of nodes count.
        nodes: all nodes of the cluster.
        excluded: names of nodes that the job avoids.
        reserved: the nodes of the job's reservation; None: it has none.
        partitions: the cluster's partitions; one that is not among them is taken to be up.
    """
    barred = set(excluded)
    fitting = [
        node
        for node in nodes
        if node.healthy
        and node.name not in barred
        and (reserved is None or node.name in reserved)
        and matches(job.features, node.features)
        and is_large_enough(job, node)
    ]
    if not job.partitions:
        return _pool([_Group(fitting)], in_reservation=reserved is not None)
    known = {partition.name: partition for partition in partitions}
    mine = [known.get(name, PartitionState(name=name)) for name in job.partitions]
    # Like a drained node, a partition that is down counts only if there is nothing else.
    up = [partition for partition in mine if partition.starts_jobs]
    groups = [
        _Group(
            [node for node in fitting if partition.name in node.partitions],
            max_nodes=partition.max_nodes,
            starts_jobs=partition.starts_jobs,
        )
        for partition in up or mine
    ]
    return _pool(groups, in_reservation=reserved is not None)


@dataclass(frozen=True)
class _Group:
    """Nodes of one partition."""

    nodes: Sequence[NodeState]
    max_nodes: int | None = None
    starts_jobs: bool = True

    def idle(self, *, in_reservation: bool) -> Sequence[NodeState]:
        """Return the nodes on which a job could start now, the longest idle first."""
        if not self.starts_jobs:
            return ()
        idle = (
            node
            for node in self.nodes
            if node.idle and (in_reservation or "RESERVED" not in node.flags)
        )
        return sorted(idle, key=lambda node: (node.planned, node.last_busy or 0, node.name))


def _pool(groups: Iterable[_Group], *, in_reservation: bool) -> NodePool:
    """Return the largest set of usable nodes, and the largest of idle ones, within MaxNodes."""
    usable: frozenset[str] = frozenset()
    busy: frozenset[str] = frozenset()
    idle: Sequence[NodeState] = ()
    for group in groups:
        names = frozenset(sorted(node.name for node in group.nodes)[: group.max_nodes])
        free = group.idle(in_reservation=in_reservation)
        if len(names) > len(usable):
            usable, busy = names, names.difference(node.name for node in free)
        idle = max(idle, free[: group.max_nodes], key=len)
    return NodePool(
        usable=usable,
        idle=frozenset(node.name for node in idle),
        busy=busy,
        free_since=tuple(node.last_busy or 0 for node in idle if not node.planned),
    )


def choose_size(
    policy: Policy,
    pool: NodePool,
    *,
    waited: int,
    now: int | None = None,
    patience: int | None = None,
) -> SizeChoice:
    """Return how many nodes the next attempt gets; the same facts give the same size.

    Args:
        policy: the run's limits.
        pool: what there is.
        waited: seconds that the job has been ready to start but has not.
        now: epoch seconds; if given, nodes that have just become idle do not shrink the job.
        patience: seconds to wait for busy nodes; None: `shrink_after`.
    """
    patience = policy.shrink_after if patience is None else patience
    usable, idle = len(pool.usable), len(pool.idle)
    full = policy.num_nodes + policy.spares
    wanted = min(usable, full)
    if waited >= min(policy.shrink_after, _SCHEDULING_TIME):
        # A spare is not worth a longer wait than that of a job that can start.
        wanted = min(wanted, max(policy.num_nodes, idle))
    if wanted < policy.min_nodes:
        return SizeChoice(
            num_nodes=None, reason=f"{usable} usable nodes, {policy.min_nodes} are needed at least"
        )
    if waited >= patience and policy.min_nodes <= idle < wanted:
        late = f"{idle} nodes are free after {waited} s of waiting for {wanted}"
        reason = late if patience else f"{idle} of {wanted} nodes are free"
        return SizeChoice(num_nodes=idle, reason=reason)
    smaller = max(policy.min_nodes, wanted - _refusals(policy, pool, wanted, waited, now))
    if smaller < wanted:
        return SizeChoice(
            num_nodes=smaller,
            reason=f"{idle} nodes are free, but Slurm has not started the job on {wanted} of them "
            f"for {waited} s: {smaller} are tried",
        )
    if wanted < full:
        few = f"only {usable} of {full} nodes are usable"
        spare = f"{idle} nodes are free: spares are not waited for"
        return SizeChoice(num_nodes=wanted, reason=few if wanted == usable else spare)
    return SizeChoice(num_nodes=wanted, reason=f"{usable} nodes are usable for {wanted}")


def _refusals(policy: Policy, pool: NodePool, wanted: int, waited: int, now: int | None) -> int:
    """Return how often more than `shrink_after` has passed without a start on idle nodes.

    The count of nodes is wrong then: Slurm knows an obstacle that this plugin does not.
    """
    if len(pool.idle) < wanted:
        return 0
    if pool.free_since is not None:
        if len(pool.free_since) < wanted:
            return 0
        if now is not None:
            waited = min(waited, now - pool.free_since[wanted - 1])
    return max(0, waited - 1) // max(policy.shrink_after, _SCHEDULING_TIME)


def within_limit(
    policy: Policy, choice: SizeChoice, *, limit: int | None, waited: int
) -> SizeChoice:
    """Return the size within what the limits of association and QOS leave.

    For a size that SlurmUser writes or has written: Slurm takes it for an administrator's and does
    not check it. Like Slurm, let the job wait for a limit; after `shrink_after`, take what is left.

    Args:
        policy: the run's limits.
        choice: of `choose_size`.
        limit: how many nodes the limits leave; None: there is no limit.
        waited: seconds since the attempt is due.
    """
    if limit is None or choice.num_nodes is None or choice.num_nodes <= limit:
        return choice
    reason = f"limits of account or QOS leave {limit} nodes for {choice.num_nodes}"
    if waited < policy.shrink_after or limit < policy.min_nodes:
        return SizeChoice(num_nodes=None, reason=reason)
    return SizeChoice(num_nodes=limit, reason=f"{reason}, after {waited} s of waiting")


def compilable(policy: Policy, choice: SizeChoice) -> SizeChoice:
    """Return the size, or the next smaller one that is not known to be refused by the compiler.

    If there is none, the job waits for more nodes.

    Args:
        policy: the run's limits.
        choice: of `choose_size`, within the limits.
    """
    if choice.num_nodes is None:
        return choice
    # Nodes beyond those of a full-size attempt are spares.
    used = min(choice.num_nodes, policy.num_nodes)
    if used not in policy.refused_sizes:
        return choice
    reason = f"{choice.reason}; the model does not compile for {used}"
    size = largest_compilable(used, policy.min_nodes, policy.refused_sizes)
    if size is None:
        reason = f"{reason}, nor for fewer, down to {policy.min_nodes}"
    return SizeChoice(num_nodes=size, reason=reason)
