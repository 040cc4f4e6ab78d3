"""What a log says: findings with their roles, and which of them is the root cause."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from enum import Enum

from slurm_restart.core.category import Category, Confidence

MAX_TEXT = 1000
"""Characters kept of a line."""


class Role(Enum):
    """The part that a line plays in an end."""

    ROOT = "root"
    """A candidate for the cause."""
    CASCADE = "cascade"
    """A consequence of another process's end: peer closed, ChildFailedError, Terminated."""
    TEARDOWN = "teardown"
    """Something that went wrong while the program was ending already."""
    NOISE = "noise"
    """Looks like a failure and is none."""
    PROGRESS = "progress"
    """The program gets on: a step, an epoch, a loss. What failed before has been survived."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line that a rule matched.

    `line` counts from 1; `text` has no control characters and at most `MAX_TEXT` characters;
    `nodes` are the culprits that the line itself names.
    """

    rule: str
    category: Category
    role: Role
    line: int
    text: str
    nodes: tuple[str, ...] = ()
    rank: str = ""
    """The labels that say which rank, task or actor printed the line; empty: none."""
    at: float | None = None
    """When it was logged, in seconds since the epoch, where the line or one shortly before says."""
    went_on: int = 0
    """Lines to the last one after it that tells of progress; 0: none does."""
    confidence: Confidence = Confidence.LIKELY


# A process or a node died: the others, who lose it, may well print their complaint first.
_DEATHS = frozenset(
    {
        Category.SOFTWARE_CRASH,
        Category.OOM_HOST,
        Category.HARDWARE_NODE,
        Category.HARDWARE_ACCELERATOR,
    }
)
_COMPLAINTS = frozenset({Category.NETWORK_FABRIC, Category.NETWORK_RENDEZVOUS, Category.HANG})


def choose(findings: Iterable[Finding]) -> Finding | None:
    """The root cause among findings in their order of time, or None.

    The first root candidate wins, one that is no guess before a guess, and the death of a process
    before its peers' complaints wherever it was printed. A consequence is only ever a guess, and
    only where there is no candidate at all.
    """
    known = tuple(findings)
    roots = [finding for finding in known if finding.role is Role.ROOT]
    sure = [finding for finding in roots if finding.confidence is not Confidence.GUESS]
    if root := next(iter(sure or roots), None):
        if root.category in _COMPLAINTS:
            return next((other for other in sure if other.category in _DEATHS), root)
        return root
    cascade = next((finding for finding in known if finding.role is Role.CASCADE), None)
    return None if cascade is None else replace(cascade, confidence=Confidence.GUESS)
