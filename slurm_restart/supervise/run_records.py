"""The history of a run from the records in its run directory, where no hook keeps a journal.

Each attempt is counted by its own directory and its one end record, so that no crash can count an
end twice, or not at all.
"""

from collections.abc import Iterator, Sequence
from dataclasses import replace
from typing import Any

from slurm_restart.core.attribution import Blame
from slurm_restart.core.category import Nodes
from slurm_restart.core.exclusions import exclude_events
from slurm_restart.core.history import History, replay
from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    EndEvent,
    Event,
    ExcludeEvent,
    IntendEvent,
)
from slurm_restart.core.restart_limits import SitePolicy, policy_for
from slurm_restart.core.run_counters import OwnAttempts
from slurm_restart.frozen import frozen
from slurm_restart.supervise.expected_decision import (
    category_of,
    end_events,
    ended_attempts,
    history_of_started,
    split_decision,
)
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, RequeueRequest
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir

_MAX_EVIDENCE = 200


@frozen
class _Ended:
    number: int
    start: AttemptStart | None
    end: AttemptEnd
    requeue: RequeueRequest | None


def site_policy(plan: RunPlan) -> SitePolicy:
    """Return the site's limits as far as the plan has them, else the defaults."""
    policy = plan.policy
    if policy is None:
        return SitePolicy()
    given: dict[str, Any] = {
        name: cap
        for name in ("max_total_restarts", "max_uncounted_restarts")
        if (cap := getattr(policy, name)) is not None
    }
    if policy.backoff is not None:
        wait = policy.backoff[0]
        given |= {"backoff": policy.backoff, "short_wait": wait, "outside_backoff": wait}
    return SitePolicy(**given)


def history_of(plan: RunPlan, attempts: Sequence[AttemptDir], job_id: int | None) -> History:
    """Return the history of a job's attempts whose end is on record, in their order.

    What an earlier job of the run has left is in the counters of the comment record, and the nodes
    that it avoided are among those that the job excludes.

    Args:
        plan: the phase.
        attempts: of the run.
        job_id: the job.
    """
    known = [
        _Ended(number=entry.number, start=entry.start(), end=end, requeue=entry.requeue())
        for entry in of_job(attempts, job_id)
        if (end := entry.end()) is not None
    ]
    return replay(_events(plan, known))


def own_attempts(plan: RunPlan, attempts: Sequence[AttemptDir], job_id: int | None) -> OwnAttempts:
    """Return what a run directory has of a job's attempts, for its counters.

    Args:
        plan: the phase.
        attempts: of the run.
        job_id: the job.
    """
    own = of_job(attempts, job_id)
    starts = [start for entry in own if (start := entry.start()) is not None]
    newest = starts[-1] if starts else None
    end = own[-1].end() if own else None
    runs = newest is not None and newest.attempt == own[-1].number and end is None
    return OwnAttempts(
        ends=history_of(plan, own, job_id).ends,
        in_place=tuple(start.attempt for start in starts if start.in_place),
        to_exceed=newest.to_exceed if newest is not None and runs else None,
        restarts=None if newest is None else newest.restarts,
        ended=None if end is None else _why_final(end),
    )


def _why_final(end: AttemptEnd) -> str | None:
    """Return why no attempt follows an end, as was decided; None: one does, or it is not known."""
    action, reason = split_decision(end.expected_decision)
    return reason if action in {each.value for each in Action if not each.restarts} else None


def history_before(plan: RunPlan, attempts: Sequence[AttemptDir], start: AttemptStart) -> History:
    """Return the ends before an attempt that count when its own end is judged in the allocation.

    An attempt that has started no program counts where no hook does: the hook, which has no report
    of it, uses up no budget.

    Args:
        plan: the phase.
        attempts: of the run.
        start: start record of the attempt.
    """
    before = [entry for entry in attempts if entry.number < start.attempt]
    if plan.requeues_itself:
        return history_of(plan, before, start.job_id)
    return history_of_started(ended_attempts(before, start.attempt), start.job_id)


def of_job(attempts: Sequence[AttemptDir], job_id: int | None) -> Sequence[AttemptDir]:
    """Return the attempts after the last one that another job has started.

    One that has started no program, and so has no start record, counts for the job after it.
    """
    others = [
        place
        for place, entry in enumerate(attempts)
        if (start := entry.start()) is not None and start.job_id != job_id
    ]
    return attempts[others[-1] + 1 :] if others else attempts


def exclude_unhealthy(plan: RunPlan, start: AttemptStart | None) -> tuple[ExcludeEvent, ...]:
    """Return the exclusions of the nodes that an attempt has found unhealthy and has not used.

    Args:
        plan: the phase.
        start: the attempt's start record; None: it started no program.
    """
    if start is None:
        return ()
    return exclude_events(
        (
            Blame(node=node, evidence=f"attempt {start.attempt}: health check: {text}")
            for node, text in start.unhealthy.items()
        ),
        now=int(start.at),
        until=int(start.at) + _exclude_for(plan),
        submit_time=start.attempt,
    )


def _exclude_for(plan: RunPlan) -> int:
    record = plan.comment_record
    return 0 if record is None else policy_for(record, site_policy(plan)).exclude_for


def _events(plan: RunPlan, known: Sequence[_Ended]) -> Iterator[Event]:
    started = end_events((entry.start, entry.end) for entry in known if entry.start is not None)
    restarts = -1
    applied = AppliedEvent(at=0)
    for entry in known:
        event = _not_started(entry, restarts + 1) if entry.start is None else next(started)
        restarts = event.restarts
        yield event
        yield from exclude_unhealthy(plan, entry.start)
        yield from _requests(entry, _exclude_for(plan))
        if entry.requeue is not None:
            applied = _certain(entry.requeue, applied)
            yield applied


def _requests(entry: _Ended, exclude_for: int) -> Iterator[Event]:
    """Yield the exclusions that an end has led to, and what Slurm was asked for then."""
    at, end = int(entry.end.at), entry.end
    if category_of(end).nodes is not Nodes.NONE:
        evidence = f"attempt {entry.number}: {end.category}: {end.reason}"[:_MAX_EVIDENCE]
        own = end.blamed_nodes if entry.start is None else entry.start.nodes
        blamed = (Blame(node=node, evidence=evidence) for node in end.blamed_nodes if node in own)
        yield from exclude_events(blamed, now=at, until=at + exclude_for, submit_time=entry.number)
    if (asked := entry.requeue) is not None:
        yield IntendEvent(
            at=int(asked.at),
            submit_time=entry.number,
            operations=(),
            attempt=entry.number,
            exc_nodes=asked.exc_nodes,
            num_nodes=asked.num_nodes,
            start_time=None if asked.start_time is None else int(asked.start_time),
        )


def _certain(asked: RequeueRequest, before: AppliedEvent) -> AppliedEvent:
    """Return the exclusions that Slurm has for certain after a request.

    If it is not known to be accepted as a whole, Slurm has its list or the one before: nobody has
    cleared a node that only one of them has.

    Args:
        asked: the request.
        before: those before it.
    """
    if asked.done:
        return AppliedEvent(at=int(asked.at), exc_nodes=asked.exc_nodes)
    if before.exc_nodes is None:
        return before
    return replace(
        before, exc_nodes=tuple(name for name in before.exc_nodes if name in asked.exc_nodes)
    )


def _not_started(entry: _Ended, restarts: int) -> EndEvent:
    """Return the event of an attempt that has started no program: it has made no progress."""
    end = entry.end
    return EndEvent(
        at=int(end.at),
        submit_time=entry.number,
        restarts=restarts,
        requeued=False,
        category=category_of(end),
        rule=end.rule,
        action=Action.REQUEUE,
        reason=end.reason,
        attempt=entry.number,
        progress=False,
        root=end.root,
    )
