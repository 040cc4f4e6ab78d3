"""Compute the decision that the supervisor expects of the hook, for run.log and `end.json`."""

from collections.abc import Iterable, Iterator

from slurm_restart.core.attribution import Attribution
from slurm_restart.core.category import Category
from slurm_restart.core.decision import Decision, decide
from slurm_restart.core.fall_back import speaks_against_checkpoint
from slurm_restart.core.history import replay
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import Action, EndEvent
from slurm_restart.core.restart_limits import SitePolicy, policy_for
from slurm_restart.core.situation import Progress, Situation
from slurm_restart.trainer.attempt_records import AttemptEnd, AttemptStart


def expected_decision(
    comment_record: CommentRecord,
    earlier: Iterable[tuple[AttemptStart, AttemptEnd]],
    start: AttemptStart,
    attribution: Attribution,
    *,
    step: int | None,
    root: str | None,
    exit_code: int | None,
    now: float,
) -> Decision:
    """Return the decision that the hook takes if Slurm adds no facts of its own.

    Args:
        comment_record: policy of the run.
        earlier: records of the earlier attempts, in their order.
        start: start record of this attempt.
        attribution: cause of this attempt's end.
        step: the newest complete checkpoint of the run.
        root: fingerprint of the root cause line.
        exit_code: of the job.
        now: epoch seconds.
    """
    history = replay(_end_events(earlier))
    made = start.to_exceed is not None and step is not None and step > start.to_exceed
    return decide(
        Situation(
            attribution=Attribution(
                category=attribution.category,
                rule=attribution.rule,
                confidence=attribution.confidence,
                root_hash=root,
                put_off=attribution.put_off,
            ),
            progress=Progress(
                made=made,
                attempt=start.attempt,
                from_step=start.to_exceed,
                step=_reached(start, step),
                unit=start.unit,
            ),
            policy=policy_for(comment_record, SitePolicy()),
            history=history,
            restarts=start.restarts,
            run_time=int(now - start.at),
            suspects_checkpoint=start.earlier
            and speaks_against_checkpoint(attribution.category, attribution.rule, exit_code),
        )
    )


def _reached(start: AttemptStart, step: int | None) -> int | None:
    return max((known for known in (step, start.beyond) if known is not None), default=None)


def _end_events(earlier: Iterable[tuple[AttemptStart, AttemptEnd]]) -> Iterator[EndEvent]:
    """Yield the journal's events for end records."""
    fallen_back = False
    for start, end in earlier:
        exit_code = end.exit_code if end.signal is None else 128 + end.signal
        suspected = start.earlier and speaks_against_checkpoint(
            category_of(end), end.rule, exit_code
        )
        due = suspected and end.progress is False and not fallen_back
        fallen_back = not end.progress and (fallen_back or due)
        yield _end_event(start, end, fall_back=due)


def _end_event(start: AttemptStart, end: AttemptEnd, *, fall_back: bool) -> EndEvent:
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
        progress=end.progress,
        from_step=start.to_exceed,
        step=_reached(start, end.step),
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
    return f"{decision.action.value} ({decision.reason})"
