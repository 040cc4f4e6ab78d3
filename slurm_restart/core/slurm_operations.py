"""Translate decisions and job updates into requests to Slurm."""

from collections.abc import Sequence
from enum import Enum

from slurm_restart.core.history import History
from slurm_restart.core.job import Job
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.node_pool import SizeChoice
from slurm_restart.frozen import frozen

START = "StartTime"
"""The field of a job's begin time in `scontrol update`."""
SAFE_START = 2
"""`StartTime=now+2` set while COMPLETING survives; a shorter time is lost (measured)."""
START_SLACK = 5
"""Seconds that a busy machine may take to ask for `now+N` after that time was written down."""
ADMIN_PREFIX = "csx-restart: "
JUDGED_LATER = f"{ADMIN_PREFIX}requeued by csx-epilog, which could not judge the end: judged later"
"""AdminComment of a job that csx-epilog has requeued by itself."""
LATE_BEGIN = 3600
"""Seconds until such a job begins."""
MAX_ADMIN_COMMENT = 1024


class Verb(Enum):
    """One request to Slurm."""

    REQUEUE = "requeue"
    UPDATE = "update"
    HOLD = "hold"
    """In journals of releases up to 0.2 only."""
    RELEASE = "release"
    CANCEL = "cancel"


@frozen
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


@frozen
class JobUpdate:
    """Fields of a job to change; None leaves a field as it is. Times: epoch seconds."""

    exc_nodes: tuple[str, ...] | None = None
    """The whole list, with the nodes that people exclude."""
    own_nodes: tuple[str, ...] = ()
    """Those of `exc_nodes` that this plugin adds."""
    num_nodes: int | None = None
    start_time: int | None = None
    admin_comment: str | None = None
    dependency: str | None = None
    """In Slurm's form, such as `afterok:7`; empty: none any more."""


def update_operations(
    job_update: JobUpdate, hostlist: str, *, start: str | None = None
) -> tuple[Operation, ...]:
    """Return the requests that change the fields of a pending job.

    Exclusions, size and begin time can be requested separately, so that one refused value does not
    take the others with it.

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
        when.append((START, start))
    if job_update.admin_comment is not None:
        when.append(("AdminComment", job_update.admin_comment))
    dependency = job_update.dependency
    depends = () if dependency is None else (("Dependency", dependency),)
    groups = (nodes, size, depends, tuple(when))
    return tuple(Operation(verb=Verb.UPDATE, fields=fields) for fields in groups if fields)


def begin_at(start: str, wanted: int, now: int) -> tuple[str, int]:
    """Return a begin time in Slurm's notation for a request that is made now, and what it gives.

    `now+N` counts from the request, which others before it may have delayed: requests wait for a
    slurmctld that is being restarted.

    Args:
        start: the begin time in Slurm's notation, `now` or `now+N`, when it was planned.
        wanted: the begin time that it meant then, in epoch seconds.
        now: epoch seconds.
    """
    _, _, seconds = start.partition("+")
    if not seconds:
        return start, max(wanted, now)
    left = max(wanted - now, min(int(seconds), SAFE_START))
    return f"now+{left}", now + left


def is_judged_later(job: Job) -> bool:
    """Whether csx-epilog has requeued the job by itself, and no end was judged since."""
    return JUDGED_LATER in job.admin_comment


def was_requeued_by_hook(job: Job, requeue_delay: int) -> bool:
    """Whether csx-epilog has requeued the job by itself, and nobody has since.

    Nobody can change the AdminComment of a job that has ended, so that it may be an old one. But
    another requeue gives the job another begin time.

    Args:
        job: the job, requeued or RUNNING.
        requeue_delay: seconds that Slurm itself delays a requeued job.
    """
    if not is_judged_later(job) or job.eligible_time is None or job.submit_time is None:
        return False
    return job.eligible_time > job.submit_time + requeue_delay + SAFE_START


def start_is_ours(job: Job, history: History, requeue_delay: int, now: float) -> bool:
    """Whether a requeued job's begin time is Slurm's default or one that this plugin set.

    Args:
        job: the job, PENDING or still COMPLETING.
        history: the run's journal.
        requeue_delay: seconds that Slurm itself delays a requeued job.
        now: epoch seconds.
    """
    begin = job.eligible_time
    if begin is None or job.submit_time is None or begin <= job.submit_time + SAFE_START:
        return True
    # The default counts from the second in which the job left COMPLETING; two seconds of slack.
    default = abs(begin - job.submit_time - requeue_delay) <= SAFE_START
    # A COMPLETING job still has the SubmitTime of the attempt that has ended.
    asked = now if job.completing else job.submit_time
    late = is_judged_later(job) and begin <= asked + LATE_BEGIN + SAFE_START
    ours = any(abs(begin - start) <= START_SLACK for start in history.intended.starts)
    return default or late or ours


def size_is_ours(shown: int, history: History, submitted: int) -> bool:
    """Whether a job's size is the one it was submitted with or one that this plugin intended."""
    return shown == submitted or shown in history.intended.sizes


class SearchMark(Enum):
    """The last of the counters in an AdminComment, of a run that searches for a faulty node."""

    ON = "on"
    """A failure of the attempt says something: the run is requeued after it."""
    OPEN = "open"
    """So does progress: the supervisor ends the attempt at its first checkpoint beyond those of the
    attempts before."""


def read_search_mark(admin_comment: str) -> SearchMark | None:
    """Return what the AdminComment of a restart says of its attempt."""
    _, prefix, ours = admin_comment.rpartition(ADMIN_PREFIX)
    mark = ours.partition(" | ")[0].rpartition(" ")[2] if prefix else ""
    return next((each for each in SearchMark if mark == f"search={each.value}"), None)


def format_admin_comment(
    end: EndEvent,
    *,
    max_restarts: int,
    size: SizeChoice,
    notes: Sequence[str],
    search: SearchMark | None = None,
) -> str:
    """The AdminComment of a restart: counters for machines, then a sentence for people.

    Args:
        end: the end that is followed by the restart.
        max_restarts: the run's `max_num_restarts`.
        size: of the next attempt.
        notes: further clauses, such as the excluded nodes.
        search: what the search for a faulty node wants of the attempt.
    """
    parts = [_describe_restart(end, max_restarts), *notes]
    if size.num_nodes is None:
        parts.append(f"waits: {size.reason}")
    tail = ": the next failure without progress is final" if end.last_chance else ""
    nodes = "-" if size.num_nodes is None else str(size.num_nodes)
    mark = "" if search is None else f" search={search.value}"
    counters = (
        f"failures={end.failures}/{max_restarts} total={end.total} "
        f"step={'-' if end.step is None else end.step} nodes={nodes}{mark}"
    )
    text = f"{ADMIN_PREFIX}{counters} | {', '.join(parts)}{tail}"
    printable = "".join(char if char.isprintable() else "?" for char in text)
    return printable[:MAX_ADMIN_COMMENT]


def _describe_restart(end: EndEvent, max_restarts: int) -> str:
    """Return which restart it is, and after how much progress.

    The step may be 30 s old, and the run may have no checkpoints at all, so that nothing is said of
    where the next attempt begins.
    """
    reached = end.unit.format(end.step) if end.step else None
    if end.fall_back:
        than = f" than {reached}" if reached else ""
        count = f"{end.failures}/{max_restarts} without progress"
        return f"restart {count}, from an earlier checkpoint{than}"
    after = f"after {reached}" if reached else ""
    if not end.failures:
        return f"restart {after}".rstrip()
    count = f"restart {end.failures}/{max_restarts} without progress"
    return f"{count}, {after}" if after else count


def merge_admin_comment(current: str, ours: str) -> str:
    """An administrator's own text stays in front of ours."""
    theirs = current.partition(ADMIN_PREFIX)[0].rstrip(" |")
    whole = f"{theirs} | {ours}" if theirs else ours
    whole = "".join(char if char.isprintable() else " " for char in whole)
    return whole[:MAX_ADMIN_COMMENT]
