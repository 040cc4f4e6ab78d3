"""Plan the requeue that a job asks for itself: exclusions, size and begin time of the next attempt.

Nobody looks at the job while it waits, unlike with the hook. So nothing is asked for that somebody
would have to take back: no begin time that is renewed, no exclusion without which too few nodes are
left, no size that Slurm would refuse.
"""

from collections.abc import Iterable
from dataclasses import replace

from slurm_restart.core.compile_sizes import smallest_compilable
from slurm_restart.core.exclusions import exclusion_list, own_exclusions, user_excluded
from slurm_restart.core.fit_pending import Fit, Observation, due_time, fit
from slurm_restart.core.history import History
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.node_pool import count_existing
from slurm_restart.core.slurm_operations import (
    SAFE_START,
    JobUpdate,
    Operation,
    size_is_ours,
    update_operations,
)
from slurm_restart.frozen import frozen


@frozen
class OwnRequeue:
    """What to ask of Slurm."""

    requeued: bool
    """Whether the job is requeued already."""
    job_update: JobUpdate
    start: str
    """The begin time in Slurm's form."""

    def operations(self, hostlist: str) -> tuple[Operation, ...]:
        """Return the updates; `hostlist` is `job_update.exc_nodes` as a hostlist."""
        return update_operations(self.job_update, hostlist, start=self.start)


def plan_own_requeue(
    seen: Observation, history: History, end: EndEvent, *, requeued: bool, held: int
) -> OwnRequeue:
    """Plan the restart after an end.

    Args:
        seen: the job, RUNNING or requeued already, and its cluster.
        history: the run's, with this end and its exclusions.
        end: the end.
        requeued: whether the job is requeued already.
        held: how many nodes it has started on, those that it has lost since included.
    """
    # For a job that is COMPLETING, `fit` takes what it shows as what it had; one that goes on
    # without lost nodes shows fewer, and Slurm itself limits what its owner may ask for.
    held = held or seen.job.num_nodes
    had = replace(seen.job, num_nodes=max(held, seen.job.num_nodes))
    fitted = fit(replace(seen, job=had), history, end, waited=0)
    size = _size(seen, fitted, held)
    own = _affordable(seen, fitted, size)
    wait = max(due_time(end) - seen.time, SAFE_START)
    return OwnRequeue(
        requeued=requeued,
        job_update=JobUpdate(
            exc_nodes=exclusion_list(seen.job, fitted.history, own, seen.names),
            own_nodes=own,
            num_nodes=None if size == held else size,
            start_time=seen.time + wait,
        ),
        start=f"now+{wait}",
    )


def _size(seen: Observation, fitted: Fit, held: int) -> int:
    """Return the size of the next attempt; with too few healthy nodes, Slurm waits for them.

    Args:
        seen: the job and its cluster.
        fitted: what fits.
        held: the nodes that it has had.
    """
    ours = size_is_ours(held, fitted.history, seen.comment_record.job_nodes)
    if fitted.policy.fixed_size or not ours:
        return held
    policy = fitted.policy
    if fitted.new_size is None:
        return smallest_compilable(policy.min_nodes, policy.num_nodes, policy.refused_sizes)
    return fitted.new_size


def _affordable(seen: Observation, fitted: Fit, needed: int) -> tuple[str, ...]:
    """Return the nodes to exclude, without the oldest where too few others exist.

    A job that no set of nodes can satisfy is held by Slurm for good (BadConstraints).
    """
    own = list(fitted.own)
    since = {exclusion.node: exclusion.since for exclusion in fitted.history.exclusions}
    while own and _count_existing(seen, fitted.history, own) < needed:
        own.remove(min(own, key=lambda node: since.get(node, 0)))
    return own_exclusions(seen.job, fitted.history, own, seen.names)


def _count_existing(seen: Observation, history: History, own: Iterable[str]) -> int:
    barred = {*user_excluded(seen.job, history), *own}
    return count_existing(seen.job, seen.nodes, barred, seen.reserved, seen.partitions)
