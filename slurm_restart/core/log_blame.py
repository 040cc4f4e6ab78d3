"""Find the nodes that a log's evidence names as the culprits of a cause."""

from collections.abc import Mapping, Sequence

from slurm_restart.core.attribution import Blame
from slurm_restart.core.category import Category, Nodes
from slurm_restart.core.finding import Finding, Naming, Role
from slurm_restart.core.root_cause import is_sure

HARDWARE = frozenset({Category.HARDWARE_NODE, Category.HARDWARE_ACCELERATOR})


def blame_nodes(
    category: Category,
    root: Finding | None,
    ordered: Sequence[Finding],
    *,
    job_nodes: Sequence[str],
    down: Sequence[str],
) -> tuple[tuple[Blame, ...], tuple[str, ...]]:
    """Return (blamed nodes with their evidence, other names that the evidence gives).

    Args:
        category: the cause; the evidence has to be of the same one, or of hardware alike.
        root: the line that gives the cause; None: no line does.
        ordered: all findings, sorted.
        job_nodes: the job's nodes; names outside are only reported; empty: not known.
        down: nodes that Slurm shows down.
    """
    if category.nodes is Nodes.NONE:
        return (), ()
    alike = HARDWARE if category in HARDWARE else {category}
    exits = _exits_by_host(ordered)
    confirmed = {*down, *(host for host, line in exits.items() if line.role is Role.ROOT)}
    named = [
        (finding, Blame(node=name, evidence=finding.text))
        for finding in ordered
        if is_sure(finding) and finding.category in alike and _is_culprit(finding, confirmed)
        for name in finding.nodes
    ]
    if not named and category in HARDWARE and root is not None:
        named = _only_host(root, exits)
    blamed: dict[str, Blame] = {}
    reported: dict[str, None] = {}
    for finding, blame in named:
        if finding.naming is Naming.SYSTEM or (job_nodes and blame.node not in job_nodes):
            reported[blame.node] = None
        else:
            blamed.setdefault(blame.node, blame)
    return tuple(blamed.values()), tuple(reported)


def _exits_by_host(ordered: Sequence[Finding]) -> dict[str, Finding]:
    """Return the hosts of processes that ended of themselves, each with its line; deaths first."""
    exits: dict[str, Finding] = {}
    for finding in sorted(ordered, key=lambda finding: finding.role is not Role.ROOT):
        if finding.naming is Naming.HOST:
            for name in finding.nodes:
                exits.setdefault(name, finding)
    return exits


def _only_host(root: Finding, exits: Mapping[str, Finding]) -> list[tuple[Finding, Blame]]:
    """Return the node of a faulty device: the only host on which processes died."""
    if len(exits) != 1:
        return []
    [(name, death)] = exits.items()
    if death is root or death.role is not Role.ROOT:
        return []
    return [(death, Blame(node=name, evidence=f"{root.text}; {death.text}"))]


def _is_culprit(finding: Finding, confirmed: set[str]) -> bool:
    """Return whether a finding's names are at fault; a peer only where another source confirms."""
    if finding.naming is Naming.PEER:
        return any(name in confirmed for name in finding.nodes)
    return finding.naming is not Naming.HOST
