"""What a line of a log says: a finding and its role."""

from dataclasses import dataclass
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
    RECOVERED = "recovered"
    """What had failed works again: findings of its category before it are no cause."""
    START = "start"
    """A new attempt begins: what was found before it belongs to an earlier one."""
    NOISE = "noise"
    """Looks like a failure and is none."""
    PROGRESS = "progress"
    """The program gets on: a step, an epoch, a loss. What failed before has been survived."""


class Naming(Enum):
    """What the names that a line gives are."""

    NODE = "node"
    """A Slurm node that the line says is at fault."""
    SYSTEM = "system"
    """A CS system: told to people, never excluded unless the site maps it to a node."""
    HOST = "host"
    """The node of a process that ended of itself: at fault only where the log shows a fault of the
    hardware besides, the process died, and this is the only such node."""
    PEER = "peer"
    """The other end of a connection: at fault only where another source says so as well."""


@dataclass(frozen=True, kw_only=True)
class Finding:
    """One line that a rule matched.

    `line` counts from 1; `text` has no control characters and at most `MAX_TEXT` characters;
    `nodes` are the names that the line itself gives, and `naming` says what they are.
    """

    rule: str
    category: Category
    role: Role
    line: int
    text: str
    file: str = ""
    nodes: tuple[str, ...] = ()
    naming: Naming = Naming.NODE
    rank: str = ""
    """The labels that say which rank, task or actor printed the line; empty: none."""
    at: float | None = None
    """When it was logged, in seconds since its year began, where the line says so."""
    went_on: int = 0
    """Lines to the last one after it that tells of progress; 0: none does."""
    raised: bool = False
    """It is the exception of a traceback: whatever it says, a program ended there."""
    confidence: Confidence = Confidence.LIKELY
    at_start: Confidence | None = None
    """What it is worth besides, because the program had made little progress before it."""
