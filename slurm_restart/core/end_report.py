"""Report a run's journal end by end, for `explain` and its --json output."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from slurm_restart.core.history import FOR_NO_END
from slurm_restart.core.journal_events import (
    AppliedEvent,
    EndEvent,
    EndKey,
    Event,
    ExcludeEvent,
    FinalEvent,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
    ReadmitEvent,
    StaleRunningEvent,
    StartedEvent,
)
from slurm_restart.core.slurm_operations import ADMIN_PREFIX, Operation
from slurm_restart.frozen import frozen


@dataclass(kw_only=True)
class EndReport:
    """One end, its attribution and decision, and what was done. Times are epoch seconds."""

    attempt: int | None
    at: int
    found_by: str
    """`supervisor`: no journal has this end, as the run was restarted in place after it, or as the
    journal cannot be read; `action` is then what the supervisor has done, or expects."""
    category: str
    rule: str
    action: str | None
    reason: str
    progress: bool | None
    from_step: int | None
    step: int | None
    unit: str
    """What the steps count: the value of a `ProgressUnit`."""
    failures: int | None
    """None: counted with the next end that the journal has."""
    total_restarts: int | None
    in_place: int
    """Restarts in place before, in the same allocation."""
    nodes: tuple[str, ...]
    run_time: int | None
    restart_at: int | None
    excluded: dict[str, str] = field(default_factory=dict)
    """Node: the evidence."""
    operations: list[str] = field(default_factory=list)
    observed: bool = False
    """Decided in observe mode: nothing was done."""
    refused: list[str] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    asked_at: int | None = None
    """When Slurm had done what it was asked for first."""
    next_started: int | None = None
    """When the next attempt was seen running."""
    final_state: str | None = None
    """Slurm's state of the job, if no attempt followed."""


@frozen
class OtherNote:
    """What happened beside the ends, or before the first."""

    at: int
    """Epoch seconds."""
    who: str | None
    """The administrator who has done it; None: this plugin."""
    text: str


@frozen
class NextAttempt:
    """What this plugin wants of a job that waits. None: unchanged. Times are epoch seconds."""

    since: int
    """When one of these values was last changed."""
    exc_nodes: tuple[str, ...] | None = None
    num_nodes: int | None = None
    start_time: int | None = None
    reason: str | None = None
    """Why it waits, or under which conditions it starts: the text of AdminComment."""


def _report(end: EndEvent) -> EndReport:
    return EndReport(
        attempt=end.attempt,
        at=end.at,
        found_by=end.source,
        category=end.category.value,
        rule=end.rule,
        action=end.action.value,
        reason=end.reason,
        progress=end.progress,
        from_step=end.from_step,
        step=end.step,
        unit=end.unit.value,
        failures=end.failures,
        total_restarts=end.total,
        in_place=0 if end.in_place is None else end.in_place.restarts,
        nodes=end.nodes,
        run_time=end.run_time,
        observed=end.observed,
        restart_at=end.start_at if end.action.restarts else None,
    )


def end_reports(events: Iterable[Event]) -> list[EndReport]:
    """Return the ends of a journal in order, each with the events that followed."""
    reports: dict[EndKey, EndReport] = {}
    last: EndReport | None = None
    for event in events:
        if isinstance(event, EndEvent):
            last = reports[event.key] = _report(event)
        elif last is not None:
            _add(last, event)
    return list(reports.values())


def _add(last: EndReport, event: Event) -> None:
    match event:
        case ExcludeEvent():
            last.excluded[event.node] = event.evidence
        case ReadmitEvent():
            last.notes.append(f"{event.node} may be used again: {event.why}")
        case OutcomeEvent():
            last.asked_at = last.asked_at or event.at
            last.operations += [_format_operation(text) for text in event.done]
            last.refused += [event.failed] if event.failed else []
        case NoteEvent():
            last.notes += [event.text] if event.who is None else []  # see `other_notes`
        case StaleRunningEvent():
            last.notes.append("seen RUNNING although its program had ended")
        case StartedEvent():
            last.next_started = last.next_started or event.at
        case FinalEvent():
            last.final_state = event.state
        case EndEvent() | IntendEvent() | AppliedEvent():
            pass


def other_notes(events: Iterable[Event]) -> list[OtherNote]:
    """Return what administrators have done, and what this plugin has noted before the first end."""
    found: list[OtherNote] = []
    ended = False
    for event in events:
        match event:
            case EndEvent():
                ended = True
            case NoteEvent() if event.who is not None or not ended:
                found.append(OtherNote(at=event.at, who=event.who, text=event.text))
            case ExcludeEvent() if not ended:
                text = f"{event.node} is excluded: {event.evidence}"
                found.append(OtherNote(at=event.at, who=None, text=text))
            case ReadmitEvent() if not ended:
                text = f"{event.node} may be used again: {event.why}"
                found.append(OtherNote(at=event.at, who=None, text=text))
            case _:
                pass
    return found


def next_attempt(events: Iterable[Event]) -> NextAttempt | None:
    """Return what the journal wants of the job's next attempt; None: it has started, or none is.

    A job without an end waits too: a later phase that is to avoid the run's excluded nodes.
    """
    wanted: NextAttempt | None = None
    for event in events:
        match event:
            case EndEvent():
                waits = event.action.restarts and not event.observed
                wanted = NextAttempt(since=event.at, start_time=event.start_at) if waits else None
            case StartedEvent() | FinalEvent():
                wanted = None
            case IntendEvent():
                if wanted is not None or event.submit_time == FOR_NO_END:
                    wanted = _merge(wanted, event)
            case _:
                pass
    return wanted


def _merge(wanted: NextAttempt | None, event: IntendEvent) -> NextAttempt:
    before = wanted or NextAttempt(since=event.at)
    reason = _announcement(event.operations)
    after = NextAttempt(
        since=before.since,
        exc_nodes=before.exc_nodes if event.exc_nodes is None else event.exc_nodes,
        num_nodes=before.num_nodes if event.num_nodes is None else event.num_nodes,
        start_time=before.start_time if event.start_time is None else event.start_time,
        reason=before.reason if reason is None else reason,
    )
    return after if after == before else replace(after, since=event.at)


def _announcement(operations: Iterable[str]) -> str | None:
    """Return the text for people of the last AdminComment that operations write."""
    found = None
    for text in operations:
        try:
            fields = dict(Operation.from_text(text).fields)
        except ValueError:
            continue
        comment = fields.get("AdminComment", "").rpartition(ADMIN_PREFIX)[2]
        found = comment.rpartition(" | ")[2].strip() or found
    return found


def _format_operation(text: str) -> str:
    try:
        return str(Operation.from_text(text))
    except ValueError:
        return text
