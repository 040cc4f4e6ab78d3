"""Tell the fault of one node from a mistake of the user, in what Slurm's daemons report.

slurmstepd prints the same words about a program that does not exist and about one that a node
cannot see because it has lost a file system. The user's mistake shows on all nodes.
"""

import re
from collections.abc import Iterable, Sequence
from dataclasses import replace

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Naming, Role, Speaker

_OF_THE_USER = frozenset({Category.CONFIG, Category.AUTH, Category.STORAGE_FULL})
_MANY = 8
"""So many nodes have no fault of their own; of one rule not many more findings are kept."""
_TASK = re.compile(r": tasks? (\d{1,9})")


def assign_node_faults(findings: Iterable[Finding]) -> tuple[Finding, ...]:
    """Return findings, those of Slurm's daemons on few of the nodes as faults of these nodes."""
    found = tuple(findings)
    return tuple(
        replace(
            finding,
            category=Category.HARDWARE_NODE,
            confidence=Confidence.LIKELY,
            nodes=(finding.host,),
            naming=Naming.NODE,
        )
        if _is_report(finding) and _is_of_few_nodes(finding, found)
        else finding
        for finding in found
    )


def _is_report(finding: Finding) -> bool:
    about_user = finding.role is Role.ROOT and finding.category in _OF_THE_USER
    return about_user and finding.speaker is Speaker.SLURM and finding.host != ""


def _is_of_few_nodes(report: Finding, found: Sequence[Finding]) -> bool:
    """Return whether the program ran, or could run, on most other nodes."""
    hosts = {finding.host for finding in found if finding.rule == report.rule} - {""}
    ended = [finding for finding in found if finding.naming is Naming.HOST]
    seen = {finding.host for finding in found} | {name for end in ended for name in end.nodes}
    if len(seen - {""}) > 1:
        return len(hosts) < _MANY and 2 * len(hosts) <= len(seen - {""})
    tasks = [task for end in ended if (task := _TASK.search(end.text))]
    return report.progressed or min((int(task[1]) for task in tasks), default=0) > 0
