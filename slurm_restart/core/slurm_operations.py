"""Translate decisions and job updates into requests to Slurm."""

from collections.abc import Sequence
from dataclasses import dataclass
from enum import Enum

from slurm_restart.core.decision import Decision
from slurm_restart.core.history import Exclusion
from slurm_restart.core.job import Job
from slurm_restart.core.journal_events import Action, AppliedEvent
from slurm_restart.core.node_pool import SizeChoice

REQUEUE_DELAY = 121
"""Seconds after which Slurm itself would start a requeued job (cred_expire + 1, measured)."""
SAFE_START = 2
"""`StartTime=now+2` set while COMPLETING survives; a shorter time is lost (measured)."""
ADMIN_PREFIX = "csx-restart: "
MAX_ADMIN_COMMENT = 1024


class Verb(Enum):
    """One request to Slurm."""

    REQUEUE = "requeue"
    UPDATE = "update"
    HOLD = "hold"
    RELEASE = "release"
    CANCEL = "cancel"


@dataclass(frozen=True, kw_only=True)
class Operation:
    """A request with its fields, in Slurm's spelling. Absolute times are epoch seconds."""

    verb: Verb
    fields: tuple[tuple[str, str], ...] = ()

    def __str__(self) -> str:
        """Return the text for `explain` and the log."""
        return " ".join([self.verb.value, *(f"{name}={value}" for name, value in self.fields)])

    def to_text(self) -> str:
        """Return the text for the journal."""
        return "\t".join([self.verb.value, *(f"{name}={value}" for name, value in self.fields)])

    @classmethod
    def from_text(cls, text: str) -> "Operation":
        """Parse a text of `to_text`.

        Raises:
            ValueError: no text of `to_text`.
        """
        verb, *pairs = text.split("\t")
        fields = tuple((name, value) for name, _, value in (pair.partition("=") for pair in pairs))
        return cls(verb=Verb(verb), fields=fields)


@dataclass(frozen=True, kw_only=True)
class JobUpdate:
    """Fields of a job to change; None leaves a field as it is. Times: epoch seconds."""

    exc_nodes: tuple[str, ...] | None = None
    """The whole list, with the nodes that people exclude."""
    own_nodes: tuple[str, ...] = ()
    """Those of `exc_nodes` that this plugin adds."""
    num_nodes: int | None = None
    start_time: int | None = None
    admin_comment: str | None = None
    held: bool | None = None


def update_operations(
    job_update: JobUpdate, hostlist: str, *, start: str | None = None
) -> tuple[Operation, ...]:
    """Return the requests that change the fields of a pending job.

    Exclusions, size and begin time go separately, so that one refused value does not take the
    others with it.

    Args:
        job_update: the fields to change.
        hostlist: `job_update.exc_nodes` as a hostlist.
        start: the begin time in Slurm's notation.
    """
    nodes = () if job_update.exc_nodes is None else (("ExcNodeList", hostlist),)
    size: tuple[tuple[str, str], ...] = ()
    if job_update.num_nodes is not None:
        # A minimum of nodes alone would leave the maximum. The CPUs have to shrink with the nodes,
        # but only their minimum: a maximum ends in BadConstraints where nodes have more CPUs than
        # one (measured with 1, 2 and 4 CPUs a node on 22.05 and 25.11).
        count = job_update.num_nodes
        size = (("NumNodes", f"{count}-{count}"), ("NumCPUs", str(count)))
    when: list[tuple[str, str]] = []
    if start is not None:
        when.append(("StartTime", start))
    if job_update.admin_comment is not None:
        when.append(("AdminComment", job_update.admin_comment))
    groups = (nodes, size, tuple(when))
    return tuple(Operation(verb=Verb.UPDATE, fields=fields) for fields in groups if fields)


def user_excluded(current: Sequence[str], applied: AppliedEvent) -> tuple[str, ...]:
    """The nodes that people exclude: the job's list without the nodes that this plugin added."""
    ours = set(applied.exc_nodes or ())
    return tuple(name for name in current if name not in ours)


def cleared_by_person(
    current: Sequence[str], applied: AppliedEvent, exclusions: Sequence[Exclusion]
) -> tuple[str, ...]:
    """Nodes that this plugin excluded and a person has taken off the job's list."""
    written, shown = set(applied.exc_nodes or ()), set(current)
    return tuple(
        exclusion.node
        for exclusion in exclusions
        if exclusion.node in written and exclusion.node not in shown
    )


def start_is_ours(job: Job, applied: AppliedEvent) -> bool:
    """Whether a pending job's begin time is Slurm's default or the time applied last."""
    begin = job.eligible_time
    if begin is None or job.submit_time is None or begin <= job.submit_time + SAFE_START:
        return True
    # The default counts from the second in which the job left COMPLETING; two seconds of slack.
    default = abs(begin - job.submit_time - REQUEUE_DELAY) <= SAFE_START
    return default or (applied.start_time is not None and abs(begin - applied.start_time) <= 1)


def size_is_ours(shown: int, applied: AppliedEvent, submitted: int) -> bool:
    """Whether a job's size is the one it was submitted with or the size applied last."""
    return shown in (submitted, applied.num_nodes)


def format_admin_comment(
    decision: Decision,
    *,
    max_restarts: int,
    step: int | None,
    size: SizeChoice,
    excluded: Sequence[Exclusion],
) -> str:
    """The AdminComment of a restart: counters for machines, then a sentence for people."""
    where = "from the start" if not step else f"from step {step}"
    without = f"restart {decision.failures}/{max_restarts} without progress {where}"
    parts = [without if decision.failures else f"restart {where}"]
    parts += [f"excluded {exclusion.node} ({exclusion.evidence})" for exclusion in excluded]
    if size.num_nodes is None:
        parts.append(f"waits: {size.reason}")
    tail = ": the next failure without progress is final" if decision.last_chance else ""
    nodes = "-" if size.num_nodes is None else str(size.num_nodes)
    counters = (
        f"failures={decision.failures}/{max_restarts} total={decision.total} "
        f"step={'-' if step is None else step} nodes={nodes}"
    )
    text = f"{ADMIN_PREFIX}{counters} | {', '.join(parts)}{tail}"
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable[:MAX_ADMIN_COMMENT]


def merge_admin_comment(current: str, ours: str) -> str:
    """An administrator's own text stays in front of ours."""
    theirs = current.partition(ADMIN_PREFIX)[0].rstrip(" |")
    whole = f"{theirs} | {ours}" if theirs else ours
    whole = "".join(char if char.isprintable() else " " for char in whole)
    return whole[:MAX_ADMIN_COMMENT]


def operations_before_update(action: Action) -> tuple[Operation, ...]:
    """Return the requests that come before the updates of a job."""
    return (Operation(verb=Verb.REQUEUE),) if action is Action.REQUEUE else ()


def operations_after_update(
    action: Action, size: SizeChoice, job_update: JobUpdate
) -> tuple[Operation, ...]:
    """Return the requests that come after the updates of a job."""
    if action is Action.CANCEL:
        return (Operation(verb=Verb.CANCEL),)
    if action is Action.RELEASE and size.num_nodes is not None:
        return (Operation(verb=Verb.RELEASE),)
    return (Operation(verb=Verb.HOLD),) if job_update.held else ()
