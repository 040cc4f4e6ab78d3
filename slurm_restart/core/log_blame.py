"""Find the nodes that a log's evidence names as the culprits of a cause."""

import re
from collections.abc import Mapping, Sequence

from slurm_restart.core.attribution import Blame
from slurm_restart.core.category import Category, Confidence, Nodes
from slurm_restart.core.finding import Finding, Naming, Role, Speaker
from slurm_restart.core.rank_hosts import find_node, is_role_name, short_host
from slurm_restart.core.root_cause import is_sure

HARDWARE = frozenset({Category.HARDWARE_NODE, Category.HARDWARE_ACCELERATOR})
_OF_THE_REPORTER = frozenset({"slurm.own_file"})
"""Rules over what a daemon of Slurm reports of its own node."""
_LAUNCH_FAILED = "slurm.launch_failed_node"
"""The rule for a step that could not start on a node: no fault of that node if others refused it
as well, for another reason."""
_TELL_OF_OTHERS = frozenset({Speaker.LAUNCHER, Speaker.CONTAINER})
"""Speakers that report what happened elsewhere."""
_WORD = r"[A-Za-z0-9][\w.-]*\w|[A-Za-z0-9]"


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
    elsewhere = {finding.host for finding in ordered if finding.rule == "slurm.launch_failed"}
    named = [
        (finding, Blame(node=name, evidence=finding.text))
        for finding in ordered
        if is_sure(finding) and finding.category in alike and _is_culprit(finding, confirmed)
        if finding.rule != _LAUNCH_FAILED or not elsewhere - set(finding.nodes)
        for name in finding.nodes
    ]
    if not named and category in HARDWARE and root is not None:
        named = _device_host(ordered, job_nodes) or _only_host(root, ordered, exits)
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


def _device_host(
    ordered: Sequence[Finding], job_nodes: Sequence[str]
) -> list[tuple[Finding, Blame]]:
    """Return the node of a faulty device: the one host of the processes that report its fault.

    Faults on several hosts have something in common that is not a node. A line that is only likely
    to tell of a fault proves nothing as long as another process of unknown host prints the same.
    """
    hosts: dict[str, tuple[Finding, Blame]] = {}
    for fault in ordered:
        if not _is_own_fault(fault) or _names_another(fault, job_nodes):
            continue
        host = _host_of(fault, job_nodes)
        if host is not None:
            text = fault.text if host in fault.text else f"{fault.text}; printed on {host}"
            hosts.setdefault(short_host(host), (fault, Blame(node=host, evidence=text)))
        elif fault.confidence is not Confidence.CERTAIN:
            return []
    return list(hosts.values()) if len(hosts) == 1 else []


def _is_own_fault(finding: Finding) -> bool:
    """Return whether a line proves a fault of the node on which it was printed."""
    if not is_sure(finding) or finding.nodes or finding.naming is Naming.SYSTEM:
        return False
    if finding.category is Category.HARDWARE_NODE:
        return finding.speaker is Speaker.KERNEL or finding.rule in _OF_THE_REPORTER
    return (
        finding.category is Category.HARDWARE_ACCELERATOR and finding.speaker not in _TELL_OF_OTHERS
    )


def _names_another(fault: Finding, job_nodes: Sequence[str]) -> bool:
    """Return whether a line names a node of the job that is not its own host."""
    own = find_node(fault.host, job_nodes) if fault.host else None
    words = frozenset(re.findall(_WORD, fault.text))
    return any(node in words for node in job_nodes if node != own)


def _host_of(fault: Finding, job_nodes: Sequence[str]) -> str | None:
    """Return the node on which a line was printed, or None."""
    if not fault.host:
        # With a single node, only what proves a fault of the hardware: a program can be wrong about
        # a device that it does not find.
        alone = len(job_nodes) == 1 and fault.confidence is Confidence.CERTAIN
        return job_nodes[0] if alone else None
    if job_nodes:
        return find_node(fault.host, job_nodes)
    return None if is_role_name(fault.host) else fault.host


def _only_host(
    root: Finding, ordered: Sequence[Finding], exits: Mapping[str, Finding]
) -> list[tuple[Finding, Blame]]:
    """Return the node of a faulty device: the only host on which processes ended of themselves.

    A program may end with an exit code also because it lost a peer. So such an end counts only
    where no program or library tells of anything but a proven fault.
    """
    if len(exits) != 1:
        return []
    [(name, death)] = exits.items()
    if death is root:
        return []
    if death.role is not Role.ROOT and not _is_only_report(root, ordered):
        return []
    return [(death, Blame(node=name, evidence=f"{root.text}; {death.text}"))]


def _is_only_report(root: Finding, ordered: Sequence[Finding]) -> bool:
    """Return whether a proven fault, by a process of unknown rank, is all that processes report."""
    if root.confidence is not Confidence.CERTAIN or root.rank or not _is_own_fault(root):
        return False
    return not any(
        finding.speaker in (Speaker.PROGRAM, Speaker.LIBRARY)
        and finding.role in (Role.ROOT, Role.CASCADE)
        and finding.rule != root.rule
        for finding in ordered
    )


def _is_culprit(finding: Finding, confirmed: set[str]) -> bool:
    """Return whether a finding's names are at fault; a peer only where another source confirms."""
    if finding.naming is Naming.PEER:
        return any(name in confirmed for name in finding.nodes)
    return finding.naming is not Naming.HOST
