"""What is left of a job's allocation, and why no attempt can start in it whatever its nodes are."""

from collections.abc import Callable

from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.node_pool import build_pool
from slurm_restart.frozen import frozen

_MIN_TIME = 600
_MIN_SHARE = 10


@frozen
class Allocation:
    """What the supervisor knows of its job's allocation when its trainer has ended."""

    restarts: int
    """Slurm's restart count when the job started."""
    names: tuple[str, ...]
    """The nodes of the attempt."""
    spares: tuple[str, ...] = ()
    """Further nodes of the job that could take the place of these."""
    held: tuple[str, ...] = ()
    """All nodes that the job started on, in Slurm's order; empty: `names` and `spares`."""
    min_nodes: int | None = None
    """Fewest nodes of an attempt; None: as many as this one had."""
    refused_sizes: frozenset[int] = frozenset()
    """Numbers of nodes for which the model is known not to compile."""
    batch_host: str | None = None
    """The node that the supervisor itself runs on."""
    job: Job | None
    """What Slurm shows of the job now; None: no answer in time."""
    nodes: tuple[NodeState, ...] = ()
    """What Slurm shows of the cluster's nodes now."""
    others_wait: bool = False
    """Whether other jobs wait for nodes of the job's partitions."""
    is_own_run: bool = True
    """Whether the job's Comment still holds the record of this run."""
    reserve: int = 0
    """Seconds before the time limit that no trainer can use: the warning comes then."""
    min_time: int | None = None
    """Fewest seconds that have to be left for a restart in place; None: `default_min_time`."""
    doubt: str | None = None
    """Why the supervisor itself cannot start another attempt; None: it can."""
    requeues: bool = True
    """Whether the run may be requeued too. If not, its job has been submitted with --no-requeue, so
    that its Requeue flag says nothing about restarts in place."""

    @property
    def may_shrink(self) -> bool:
        """Whether an attempt could do with fewer nodes."""
        return self.min_nodes is not None and self.min_nodes < len(self.names)

    @property
    def other_nodes_are_free(self) -> bool:
        """Whether the job could start at once on a node that it does not hold."""
        if self.job is None or self.others_wait:
            return False
        own = {*self.names, *self.spares, *self.held}
        return bool(build_pool(self.job, self.nodes, own).idle)


def default_min_time(time_limit: int) -> int:
    """Return how many seconds a restart in place has to have left where nobody has set it.

    A requeue starts with the whole time limit again, which makes up for its wait only near the end
    of it: a tenth of it, and of long limits no more than an attempt needs to get on.
    """
    return min(_MIN_TIME, time_limit // _MIN_SHARE)


def _no_answer(allocation: Allocation) -> str | None:
    return "Slurm did not answer in time" if allocation.job is None else None


def _not_running(allocation: Allocation) -> str | None:
    job = allocation.job
    if job is None or job.running:
        return None if job is None or job.restarts == allocation.restarts else "Slurm requeued it"
    shown = "+".join(sorted(flag.value for flag in job.flags))
    return f"Slurm shows the job {job.state.value if job.state else shown}"


def _preempted(allocation: Allocation) -> str | None:
    job = allocation.job
    if job is None or job.preempt_time is None or job.preempt_time < (job.start_time or 0):
        return None
    return "a job of higher priority takes the nodes"


def _person(allocation: Allocation) -> str | None:
    job = allocation.job
    if job is not None and job.priority == 0:
        return "the job is held"
    return None if allocation.is_own_run else "the job's Comment holds no record of this run"


def _time_left(allocation: Allocation) -> str | None:
    job = allocation.job
    if job is None or job.time_limit is None:
        return None
    left = job.time_limit - (job.run_time or 0) - allocation.reserve
    least = allocation.min_time
    if least is None:
        least = default_min_time(job.time_limit)
    if left >= least:
        return None
    return f"{max(left, 0)} s are left of the time limit, less than {least} s"


_REASONS: tuple[Callable[[Allocation], str | None], ...] = (
    lambda allocation: allocation.doubt,
    _no_answer,
    _not_running,
    _preempted,
    _person,
    _time_left,
)


def why_unusable(allocation: Allocation) -> str | None:
    """Return why no attempt can start in an allocation, whatever its nodes are; None: one can."""
    reasons = (reason(allocation) for reason in _REASONS)
    return next((reason for reason in reasons if reason is not None), None)
