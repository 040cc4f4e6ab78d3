"""Findings: log lines that a rule matched, with their category and role."""

from enum import Enum

from slurm_restart.core.category import Category, Confidence
from slurm_restart.frozen import frozen

MAX_TEXT = 1000
"""Characters kept of a line."""


class Role(Enum):
    """The part that a line plays in an end."""

    ROOT = "root"
    """A candidate for the cause."""
    CASCADE = "cascade"
    """A consequence of another process's end: peer closed, ChildFailedError, Terminated."""
    HEADER = "header"
    """Announces that something failed; another line says why. Never the cause of a stop."""
    MESSAGE = "message"
    """Has the words of a failure, and no rule knows the program: shown as the cause where no other
    line is. It stops a run only where its words demand another input of a starting program."""
    KIND = "kind"
    """Words that tell the kind of a failure: looked for only in the messages, and in the roots of
    unknown cause, that are left at the end of a search."""
    TEARDOWN = "teardown"
    """Something that went wrong while the program was ending already."""
    RECOVERED = "recovered"
    """A failed operation works again: earlier findings of this category are no cause."""
    START = "start"
    """A new attempt begins: earlier findings belong to an earlier attempt."""
    NOISE = "noise"
    """Looks like a failure and is none."""
    PROGRESS = "progress"
    """The program makes progress: a step, an epoch, a loss. It survived earlier failures."""
    FINISHED = "finished"
    """What a program prints at its own end; it counts only among the last lines of a log."""


class Naming(Enum):
    """What the names that a line gives are."""

    NODE = "node"
    """A Slurm node that the line states to be at fault."""
    SYSTEM = "system"
    """A CS system: shown to people, never excluded unless the site maps it to a node."""
    HOST = "host"
    """The node of a process that ended of itself: at fault only where the log shows a fault of the
    hardware besides, the process died, and this is the only such node."""
    PEER = "peer"
    """The other end of a connection: at fault only where another source confirms it."""


class Reason(Enum):
    """Where the reason stands that a line announces."""

    BELOW = "below"
    """On the next line with words, as in the messages of simulations under a title."""


class Speaker(Enum):
    """Who printed a line."""

    PROGRAM = "program"
    """The user's program; also every line without a sign of another speaker."""
    LIBRARY = "library"
    """A library in the program that prints lines of its own form: NCCL, UCX, libfabric, XLA."""
    LAUNCHER = "launcher"
    """srun and other commands of the user, torchrun, mpirun, DeepSpeed's launcher."""
    SLURM = "slurm"
    """A daemon of Slurm: slurmstepd, slurmd, slurmctld."""
    CONTAINER = "container"
    """The container runtime: pyxis and enroot, Apptainer, Docker, Podman."""
    SHELL = "shell"
    """The shell of a script, or a small tool that the script calls, such as cp or rm."""
    KERNEL = "kernel"


@frozen
class Finding:
    """One line that a rule matched.

    `line` counts from 1; `text` has no control characters and at most `MAX_TEXT` characters;
    `nodes` are the names that the line itself gives, `naming` is their kind.
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
    """The labels of the rank, task or actor that printed the line; empty: none."""
    at: float | None = None
    """When the line was logged, in seconds since the start of its year; None: not in the line."""
    went_on: int = 0
    """Number of lines up to the last later line of progress; 0: no progress after it."""
    raised: bool = False
    """Whether the line is the exception of a traceback, so that a program ended there."""
    confidence: Confidence = Confidence.LIKELY
    speaker: Speaker = Speaker.PROGRAM
    host: str = ""
    """The one host that the front of the line names as the place of its speaker or task, such as
    `n3` in `slurmstepd-n3: …` and `srun: error: n3: task 9: …`; empty: none or several."""
    progressed: bool = False
    """Whether the program had reported progress before."""
    early: bool = True
    """Whether the program was still starting. By the log alone: little output and next to no
    progress before the line."""
    at_start: Confidence | None = None
    """The confidence it has if nothing explains the end better and the program was starting."""
    followed: int = 0
    """Number of later lines that no rule matched: the log went on."""
    reason: Reason | None = None
    """Where the reason stands that the line announces; None: in the line, or it was not found."""

    @property
    def as_starting(self) -> Confidence | None:
        """The confidence it has, as a failure at the start, if nothing explains the end better."""
        return self.at_start if self.early else None
