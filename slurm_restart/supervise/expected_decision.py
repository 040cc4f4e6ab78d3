"""Compute the decision that the supervisor expects of the hook, for run.log and `end.json`."""

from collections.abc import Iterable, Iterator

from slurm_restart.core.allocation import Allocation
from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.decision import Decision, decide
from slurm_restart.core.fall_back import MAX_BACK, speaks_against_checkpoint
from slurm_restart.core.history import History, replay
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import Action, EndEvent
from slurm_restart.core.restart_limits import SitePolicy, policy_for
from slurm_restart.core.situation import STOPPED, Progress, Situation
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart, highest_step
from slurm_restart.trainer.rundir import AttemptDir


def expected_decision(
    comment_record: CommentRecord,
    history: History,
    start: AttemptStart,
    attribution: Attribution,
    *,
    step: int | None,
    root: str | None,
    exit_code: int | None,
    now: float,
    site: SitePolicy,
    allocation: Allocation | None = None,
) -> Decision:
    """Return the decision that the hook takes if Slurm adds no facts of its own.

    Args:
        comment_record: policy of the run.
        history: the ends of the earlier attempts of the job.
        start: start record of this attempt.
        attribution: cause of this attempt's end.
        step: the newest complete checkpoint of the run.
        root: fingerprint of the root cause line.
        exit_code: of the job.
        now: epoch seconds.
        site: the site's limits, as far as the supervisor knows them.
        allocation: what is left of it; None: no restart in place is wanted.
    """
    job = None if allocation is None else allocation.job
    made = start.to_exceed is not None and step is not None and step > start.to_exceed
    return decide(
        Situation(
            attribution=Attribution(
                category=attribution.category,
                rule=attribution.rule,
                confidence=attribution.confidence,
                blamed=attribution.blamed,
                reported=attribution.reported,
                root_hash=root,
                put_off=attribution.put_off,
            ),
            progress=Progress(
                made=made,
                attempt=start.attempt,
                from_step=start.to_exceed,
                step=highest_step(start, step),
                unit=start.unit,
            ),
            policy=policy_for(comment_record, site),
            history=history,
            restarts=start.restarts,
            requeueable=job is None or job.requeue,
            allocation=allocation,
            nodes=start.nodes,
            other_nodes=allocation is not None and allocation.other_nodes_are_free,
            stopped=STOPPED if comment_record.is_stopped(start.restarts) else None,
            run_time=int(now - start.at),
            suspects_checkpoint=start.earlier
            and speaks_against_checkpoint(attribution.category, attribution.rule, exit_code),
        )
    )


def history_of_started(
    earlier: Iterable[tuple[AttemptStart, AttemptEnd]], job_id: int | None
) -> History:
    """Return the history of a job's attempts that have started, as far as the hook counts them.

    Those of a job that this one takes up are in the comment record's counters.
    """
    return replay(end_events(entry for entry in earlier if entry[0].job_id == job_id))


def ended_attempts(
    attempts: Iterable[AttemptDir], before: int
) -> tuple[tuple[AttemptStart, AttemptEnd], ...]:
    """Return the records of the attempts before `before` of which both can be read."""
    return tuple(
        (start, end)
        for attempt in attempts
        if attempt.number < before
        and (start := attempt.start()) is not None
        and (end := attempt.end()) is not None
    )


def in_place_events(
    earlier: Iterable[tuple[AttemptStart, AttemptEnd]], attempt: int, restarts: int
) -> tuple[EndEvent, ...]:
    """Return the ends of the attempts before `attempt` that were in its allocation.

    Args:
        earlier: records of the earlier attempts, in their order.
        attempt: number of the attempt.
        restarts: how many restarts in place there were up to it. One whose records cannot be read
            counts as a failure without a known cause.
    """
    known = {event.attempt: event for event in end_events(earlier)}
    numbers = range(attempt - restarts, attempt)
    return tuple(known.get(number) or _unknown_event(number) for number in numbers)


def _unknown_event(attempt: int) -> EndEvent:
    return EndEvent(
        at=0,
        submit_time=attempt,
        restarts=0,
        requeued=False,
        category=Category.UNKNOWN,
        rule="supervisor.no_exit_record",
        action=Action.REQUEUE,
        reason="",
        attempt=attempt,
    )


def end_events(earlier: Iterable[tuple[AttemptStart, AttemptEnd]]) -> Iterator[EndEvent]:
    """Yield the journal's events for end records."""
    fall_backs = 0
    for start, end in earlier:
        exit_code = end.exit_code if end.signal is None else 128 + end.signal
        suspected = start.earlier and speaks_against_checkpoint(
            category_of(end), end.rule, exit_code
        )
        due = suspected and end.progress is False and fall_backs < MAX_BACK
        fall_backs = 0 if end.progress else fall_backs + due
        yield end_event(start, end, fall_back=due)


def end_event(start: AttemptStart, end: AttemptEnd, *, fall_back: bool) -> EndEvent:
    """Return the journal's event for an end record; a later attempt shows that it was requeued."""
    return EndEvent(
        at=int(end.at),
        # It only has to differ between attempts; the real one is not on record.
        submit_time=start.attempt,
        restarts=start.restarts,
        requeued=False,
        category=category_of(end),
        rule=end.rule,
        action=Action.REQUEUE,
        reason=end.reason,
        attempt=start.attempt,
        run_time=max(0, int(end.at - start.at)),
        num_nodes=len(start.nodes) or None,
        nodes=start.nodes,
        exit_code=end.exit_code,
        progress=end.progress,
        from_step=start.to_exceed,
        # As the hook takes it: an attempt that saved nothing leaves the run where it was.
        step=highest_step(start, start.from_step if end.step is None else end.step),
        unit=start.unit,
        root=end.root,
        fall_back=fall_back,
    )


def category_of(end: AttemptEnd) -> Category:
    """Return the category of a record; one that this release does not know counts as unknown."""
    try:
        return Category(end.category)
    except ValueError:
        return Category.UNKNOWN


def format_decision(decision: Decision) -> str:
    """Return the decision in one line."""
    why = "" if decision.not_in_place is None else f"; not in place: {decision.not_in_place}"
    if decision.placement is not None and decision.placement.reason:
        why = f"; {decision.placement.reason}"
    return f"{decision.action.value} ({decision.reason}{why})"


def split_decision(text: str) -> tuple[str, str]:
    """Return the action and the reason of a text of `format_decision`."""
    action, _, reason = text.partition(" ")
    return action, reason.removeprefix("(").removesuffix(")")
