"""What all runs together tell of each node: attempts, their ends, and exclusions."""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field

from slurm_restart.core.category import Category
from slurm_restart.core.job import NodeState
from slurm_restart.core.run_summary import RUNNING, NodeEnds, NodeExclusion
from slurm_restart.frozen import frozen

_PARTS = re.compile("([0-9]+)")
MAX_EVIDENCE = 5
"""Pieces of evidence that are shown of a node, the latest."""


@frozen
class ExcludingRun:
    """A run that excludes a node now."""

    job_id: int
    until: int
    """Epoch seconds."""
    evidence: str


@frozen
class Evidence:
    """Why a node was excluded, now or earlier. `at` is epoch seconds."""

    at: int
    job_id: int
    text: str


@dataclass(kw_only=True)
class NodeSummary:
    """A node as all runs have seen it. Times are epoch seconds; None: not known."""

    node: str
    state: str | None = None
    """Slurm's, with its flags: `DOWN+DRAIN`; None: Slurm does not know the node."""
    slurm_reason: str | None = None
    """Slurm's own reason, where the node is down or drained."""
    attempts: int = 0
    failed: int = 0
    """Attempts on it that have ended, but not as completed."""
    ends: dict[str, int] = field(default_factory=dict)
    """Attempts by the category of their end; `running` for those that have not ended."""
    last_at: int | None = None
    """The latest end."""
    excluded_by: list[ExcludingRun] = field(default_factory=list)
    times_excluded: int = 0
    evidence: list[Evidence] = field(default_factory=list)


def summarize_nodes(
    ends: Iterable[NodeEnds],
    exclusions: Iterable[tuple[int, NodeExclusion]],
    states: Iterable[NodeState],
    *,
    now: float,
) -> list[NodeSummary]:
    """Return the nodes of the runs, those with most failures first.

    Args:
        ends: attempts by node and category.
        exclusions: each with the job id of its run, the latest first.
        states: what Slurm shows of the nodes.
        now: epoch seconds.
    """
    found: dict[str, NodeSummary] = {}
    for each in ends:
        _add_ends(found.setdefault(each.node, NodeSummary(node=each.node)), each)
    for job_id, exclusion in exclusions:
        summary = found.setdefault(exclusion.node, NodeSummary(node=exclusion.node))
        _add_exclusion(summary, job_id, exclusion, now)
    for state in states:
        if (summary_of := found.get(state.name)) is not None:
            summary_of.state = "+".join((state.state, *sorted(state.flags)))
            summary_of.slurm_reason = state.reason or None
    return sorted(found.values(), key=_order)


def _order(summary: NodeSummary) -> tuple[int, int, int, list[tuple[int, str]]]:
    natural = [(int(part) if part.isdecimal() else 0, part) for part in _PARTS.split(summary.node)]
    return -len(summary.excluded_by), -summary.times_excluded, -summary.failed, natural


def _add_ends(summary: NodeSummary, each: NodeEnds) -> None:
    summary.attempts += each.count
    summary.ends[each.category] = summary.ends.get(each.category, 0) + each.count
    if each.category == RUNNING:
        return
    summary.last_at = max(summary.last_at or 0, each.last_at)
    if each.category != Category.COMPLETED.value:
        summary.failed += each.count


def _add_exclusion(summary: NodeSummary, job_id: int, exclusion: NodeExclusion, now: float) -> None:
    summary.times_excluded += 1
    if exclusion.in_force(now):
        summary.excluded_by.append(
            ExcludingRun(job_id=job_id, until=exclusion.until, evidence=exclusion.evidence)
        )
    if len(summary.evidence) < MAX_EVIDENCE:
        summary.evidence.append(
            Evidence(at=exclusion.since, job_id=job_id, text=exclusion.evidence)
        )
