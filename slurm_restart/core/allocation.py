"""Whether the next attempt can start in the allocation of the one that has ended."""

from collections.abc import Callable

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.frozen import frozen


@frozen
class Allocation:
    """What the supervisor knows of its job's allocation when its trainer has ended."""

    restarts: int
    """Slurm's restart count when the job started."""
    names: tuple[str, ...]
    """The nodes that it started on."""
    job: Job | None
    """What Slurm shows of the job now; None: no answer in time."""
    nodes: tuple[NodeState, ...] = ()
    """What Slurm shows of the cluster's nodes now."""
    is_own_run: bool = True
    """Whether the job's Comment still holds the record of this run."""
    reserve: int = 0
    """Seconds before the time limit that no trainer can use: the warning comes then."""
    min_time: int = 0
    """Fewest seconds that have to be left for a restart in place."""
    doubt: str | None = None
    """Why the supervisor itself cannot start another attempt; None: it can."""
    requeues: bool = True
    """Whether the run may be requeued too. If not, its job has been submitted with --no-requeue, so
    that its Requeue flag says nothing about restarts in place."""


_IN_PLACE = frozenset(
    {
        Category.NETWORK_RENDEZVOUS,
        Category.STORAGE_IO,
        Category.DEPENDENCY_SERVICE,
        Category.SOFTWARE_CRASH,
        Category.DATA_CORRUPT,
        Category.NUMERIC_NAN,
        Category.HANG,
        Category.CHECKPOINT_CORRUPT,
        Category.UNKNOWN,
    }
)
"""Causes that are not tied to a node.

After `oom_host` Slurm shows OUT_OF_MEMORY at the job's end whatever the attempts after it did.
"""


def _cause(attribution: Attribution, _: Allocation) -> str | None:
    if attribution.category in _IN_PLACE:
        return None
    return f"{attribution.category.value} is no cause for it"


def _blamed(attribution: Attribution, _: Allocation) -> str | None:
    return f"the log names {', '.join(attribution.names)}" if attribution.names else None


def _no_answer(_: Attribution, allocation: Allocation) -> str | None:
    return "Slurm did not answer in time" if allocation.job is None else None


def _not_running(_: Attribution, allocation: Allocation) -> str | None:
    job = allocation.job
    if job is None or (job.state is JobState.RUNNING and not job.completing):
        return None if job is None or job.restarts == allocation.restarts else "Slurm requeued it"
    shown = "+".join(sorted(flag.value for flag in job.flags))
    return f"Slurm shows the job {job.state.value if job.state else shown}"


def _preempted(_: Attribution, allocation: Allocation) -> str | None:
    job = allocation.job
    if job is None or job.preempt_time is None or job.preempt_time < (job.start_time or 0):
        return None
    return "a job of higher priority takes the nodes"


def _person(_: Attribution, allocation: Allocation) -> str | None:
    job = allocation.job
    if job is not None and job.priority == 0:
        return "the job is held"
    return None if allocation.is_own_run else "the job's Comment holds no record of this run"


def _nodes(_: Attribution, allocation: Allocation) -> str | None:
    states = {node.name: node for node in allocation.nodes}
    if allocation.job is not None and set(allocation.job.nodes) != set(allocation.names):
        return "the job has other nodes than at its start"
    if not allocation.names:
        return "the job's nodes are not known"
    for name in allocation.names:
        node = states.get(name)
        if node is None or not node.healthy:
            shown = "not known" if node is None else "+".join((node.state, *sorted(node.flags)))
            return f"{name} is {shown}"
    return None


def _time_left(_: Attribution, allocation: Allocation) -> str | None:
    job = allocation.job
    if job is None or job.time_limit is None:
        return None
    left = job.time_limit - (job.run_time or 0) - allocation.reserve
    if left >= allocation.min_time:
        return None
    return f"{max(left, 0)} s are left of the time limit, less than {allocation.min_time} s"


_REASONS: tuple[Callable[[Attribution, Allocation], str | None], ...] = (
    _cause,
    _blamed,
    lambda _, allocation: allocation.doubt,
    _no_answer,
    _not_running,
    _preempted,
    _person,
    _nodes,
    _time_left,
)


def why_not_in_place(attribution: Attribution, allocation: Allocation) -> str | None:
    """Return why a restart cannot be in place; None: it can.

    Args:
        attribution: why the attempt ended.
        allocation: what is known of the job's allocation now.
    """
    reasons = (reason(attribution, allocation) for reason in _REASONS)
    return next((reason for reason in reasons if reason is not None), None)
