"""The attribution of an end: its cause, the blamed nodes, and the log line that gives the cause."""

from slurm_restart.core.category import Category, Confidence, Restart
from slurm_restart.core.finding import Finding
from slurm_restart.frozen import frozen


@frozen
class Blame:
    """A node that evidence names, with that evidence."""

    node: str
    evidence: str


@frozen
class RootCause:
    """The log line that gives the cause; `line` counts from 1."""

    line: int
    text: str
    file: str | None = None


@frozen
class Attribution:
    """The cause of one end, with the evidence for it."""

    category: Category
    rule: str
    confidence: Confidence
    blamed: tuple[Blame, ...] = ()
    reported: tuple[str, ...] = ()
    """Names that the evidence gives but that are no nodes of this job: shown, never excluded."""
    root_cause: RootCause | None = None
    root_hash: str | None = None
    put_off: bool = False
    """The log's cause would stop the run, and is not sure enough: one restart first."""
    of_one_node: bool = False
    """The log's cause would stop the run, but the processes of one node alone have found it."""
    secondary: tuple[Finding, ...] = ()
    requeued: bool = False
    """Slurm, or a person, has requeued the job already."""
    lost: bool = False
    """slurmctld has lost the end, and shows the job RUNNING, or PENDING before that attempt."""

    @property
    def names(self) -> tuple[str, ...]:
        """All names that the evidence gives."""
        return (*(blame.node for blame in self.blamed), *self.reported)

    @property
    def restart(self) -> Restart:
        """Whether a restart can help; a stop that was put off takes effect if it repeats."""
        return Restart.UNTIL_REPEATED if self.put_off else self.category.restart

    @property
    def recoverable(self) -> bool:
        """Whether a restart can help at all."""
        return self.category.recoverable

    @property
    def counts(self) -> bool:
        """Whether a restart uses up the budget if the attempt made no progress."""
        return self.category.counts
