"""Report a run's journal end by end, for `explain` and its --json output."""

from collections.abc import Iterable
from dataclasses import dataclass, field

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
from slurm_restart.core.slurm_operations import Operation


@dataclass(kw_only=True)
class EndReport:
    """One end, its attribution and decision, and what was done. Times are epoch seconds."""

    attempt: int | None
    at: int
    found_by: str
    category: str
    rule: str
    action: str
    reason: str
    progress: bool | None
    from_step: int | None
    step: int | None
    failures: int
    total_restarts: int
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
        failures=end.failures,
        total_restarts=end.total,
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
            last.operations += [_format_operation(text) for text in event.done]
            last.refused += [event.failed] if event.failed else []
        case NoteEvent():
            last.notes.append(event.text)
        case StaleRunningEvent():
            last.notes.append("seen RUNNING although its trainer had ended")
        case EndEvent() | IntendEvent() | AppliedEvent() | StartedEvent() | FinalEvent():
            pass


def _format_operation(text: str) -> str:
    try:
        return str(Operation.from_text(text))
    except ValueError:
        return text
