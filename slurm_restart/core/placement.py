"""On which nodes of its allocation a run goes on: on all, with a spare for one, or on fewer."""

from slurm_restart.core.allocation import Allocation, why_unusable
from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.category import Category
from slurm_restart.core.compile_sizes import largest_compilable
from slurm_restart.core.job import NodeState
from slurm_restart.core.journal_events import Action
from slurm_restart.frozen import frozen


@frozen
class Placement:
    """The nodes of the next attempt in the allocation of the one that has ended."""

    action: Action
    """RELAUNCH, RELAUNCH_SMALLER or SWAP."""
    nodes: tuple[str, ...]
    spares: tuple[str, ...] = ()
    """Nodes that could take the place of these later."""
    reason: str = ""
    """For people: which nodes are left out, why, and what takes their place; empty: none is."""


_IN_PLACE = frozenset(
    {
        Category.NETWORK_FABRIC,
        Category.NETWORK_RENDEZVOUS,
        Category.STORAGE_IO,
        Category.DEPENDENCY_SERVICE,
        Category.SOFTWARE_CRASH,
        Category.DATA_CORRUPT,
        Category.NUMERIC_NAN,
        Category.HANG,
        Category.CHECKPOINT_CORRUPT,
        Category.UNKNOWN,
    }
)
"""Causes that are not tied to a node, as far as none is named.

Of a process that dies its peers often say only that a connection was closed (`network.fabric`).
After `oom_host` Slurm shows OUT_OF_MEMORY at the job's end whatever the attempts after it did.
"""
_FOUND_BEFORE_START = frozenset({Category.HEALTH_CHECK, Category.NODE_DRAINED})
"""What is found on nodes before the program is started: nothing has failed yet, and a requeue could
wait for hours, so that fewer nodes do."""
_TIED_TO_NODE = _FOUND_BEFORE_START | {
    Category.HARDWARE_ACCELERATOR,
    Category.HARDWARE_NODE,
    Category.NETWORK_FABRIC,
}
"""Causes that pass if the nodes to blame are left out."""


def lost_nodes(allocation: Allocation) -> dict[str, str]:
    """Return those of the attempt's nodes that Slurm has lost, with what it shows of them.

    A job keeps RUNNING without them only if it was submitted with --no-kill. One that is ending
    gives up its healthy nodes too.
    """
    job = allocation.job
    if job is None or not job.nodes:
        return {}
    states = {node.name: node for node in allocation.nodes}
    return {
        name: _shown(states.get(name))
        for name in allocation.names
        if (job.running and name not in job.nodes)
        or ((node := states.get(name)) is not None and node.down)
    }


def place(attribution: Attribution, allocation: Allocation) -> Placement | str:
    """Return the nodes of the next attempt, or why it cannot start in this allocation.

    A node that is lost, unhealthy or blamed is left out. A spare takes its place. Without one the
    run goes on with fewer nodes only if a node is lost or found unhealthy before the program is
    started, or if it is never requeued: a requeue could find a node in place of a blamed one.

    Args:
        attribution: why the attempt ended, or cannot start as it is.
        allocation: what is known of the job's allocation now.
    """
    out = _left_out(attribution, allocation)
    if attribution.category not in _IN_PLACE | (_TIED_TO_NODE if out else frozenset()):
        return f"{attribution.category.value} is no cause for it"
    if attribution.names and not out:
        return f"the log names {', '.join(attribution.names)}"
    if (reason := why_unusable(allocation)) is not None:
        return reason
    if not allocation.names:
        return "the job's nodes are not known"
    held = allocation.held or (*allocation.names, *allocation.spares)
    if allocation.job is not None and not set(allocation.job.nodes) <= set(held):
        return "the job has other nodes than at its start"
    return _without(out, allocation, attribution, held)


def why_not_in_place(attribution: Attribution, allocation: Allocation) -> str | None:
    """Return why a restart cannot be in place; None: it can."""
    placement = place(attribution, allocation)
    return placement if isinstance(placement, str) else None


def _left_out(attribution: Attribution, allocation: Allocation) -> dict[str, str]:
    """Return the attempt's nodes that cannot be used again, with the reason as a clause."""
    states = {node.name: node for node in allocation.nodes}
    lost, blamed = lost_nodes(allocation), {blame.node: blame for blame in attribution.blamed}
    out = {}
    for name in allocation.names:
        node = states.get(name)
        if name in lost:
            out[name] = f"{name} is lost ({lost[name]})"
        elif name in blamed:
            out[name] = _format_blame(blamed[name], attribution.category)
        elif allocation.job is not None and (node is None or not node.healthy):
            out[name] = f"{name} is {_shown(node)}"
    return out


def _without(
    out: dict[str, str], allocation: Allocation, attribution: Attribution, held: tuple[str, ...]
) -> Placement | str:
    good = [name for name in allocation.names if name not in out]
    spares = _usable_spares(allocation, attribution)
    count = len(allocation.names)
    nodes = sorted((*good, *spares)[:count], key=held.index)
    why = "; ".join(out.values())
    if allocation.batch_host in out:
        return f"{why}; it is the batch host"
    if len(nodes) < count:
        may_shrink = attribution.category in _FOUND_BEFORE_START or lost_nodes(allocation)
        if not may_shrink and allocation.requeues:
            return why
        least = count if allocation.min_nodes is None else allocation.min_nodes
        if len(nodes) < least:
            return f"{why}; {len(nodes)} nodes are left, at least {least} are needed"
        size = largest_compilable(len(nodes), least, allocation.refused_sizes)
        if size is None:
            return f"{why}; {len(nodes)} nodes are left, for which the model does not compile"
        # The last ones stay with the job: each may take the place of another later.
        spares += [name for name in nodes[size:] if name not in spares]
        nodes = nodes[:size]
    taken = [name for name in nodes if name not in good]
    return Placement(
        action=_action(len(nodes) < count, bool(out)),
        nodes=tuple(nodes),
        spares=tuple(name for name in spares if name not in taken),
        reason=_format(why, taken, len(nodes), count) if out else "",
    )


def _usable_spares(allocation: Allocation, attribution: Attribution) -> list[str]:
    healthy = {node.name for node in allocation.nodes if node.healthy}
    held = () if allocation.job is None else allocation.job.nodes
    usable = healthy & set(held) - {blame.node for blame in attribution.blamed}
    return [name for name in allocation.spares if name in usable]


def _action(is_smaller: bool, is_changed: bool) -> Action:  # noqa: FBT001 - private
    if is_smaller:
        return Action.RELAUNCH_SMALLER
    return Action.SWAP if is_changed else Action.RELAUNCH


def _format(why: str, taken: list[str], left: int, before: int) -> str:
    spare = f"; in its place: {', '.join(taken)}" if taken else ""
    fewer = f"; {left} of {before} nodes are left" if left < before else ""
    return f"{why}{spare}{fewer}"


def _format_blame(blame: Blame, category: Category) -> str:
    match category:
        case Category.HEALTH_CHECK:
            return f"{blame.node} fails the health check: {blame.evidence}"
        case Category.NODE_DRAINED:
            return f"{blame.node} is {blame.evidence}"
        case _:
            return f"the log names {blame.node}"


def _shown(node: NodeState | None) -> str:
    return "not known" if node is None else "+".join((node.state, *sorted(node.flags)))
