"""Select the events that a journal needs, so that a large one can be written anew, smaller."""

from collections.abc import Callable, Hashable, Iterator, Sequence
from dataclasses import fields

from slurm_restart.core.journal_events import (
    AppliedEvent,
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

MAX_NOTES = 500
MAX_STARTS = 50
"""Begin times that are kept; a job shows one of the last ones."""
DETAILED_ENDS = 10
"""The last ends, whose operations and outcomes are kept for `explain`."""
_VARIABLE = frozenset({"AdminComment", "StartTime"})
"""Fields with another value at every restart."""


def needed_events(events: Sequence[Event]) -> list[int]:
    """Return the indexes of the events that the state of the run or a person needs, in order.

    Kept are every end; the last exclusion of each node, and its last readmission for each reason;
    the events that set an applied value last; the last `MAX_NOTES` notes, each text once; of the
    last ends the first and the last intent and outcome; and, as values that this plugin once
    intended stay its own, the last event with each excluded node, each size, and each of the last
    `MAX_STARTS` begin times. Kinds without a rule are kept.
    """
    details = _detailed_ends(events)
    left: dict[Hashable, int] = {"note": MAX_NOTES, "start": MAX_STARTS}
    kept: set[int] = set()
    seen: set[Hashable] = set()
    for index in range(len(events) - 1, -1, -1):
        event = events[index]
        for mark in _RULES.get(type(event), _always)(event, details):
            if mark not in seen and left.get(mark[0], 1) > 0:
                kept.add(index)
                if mark[0] in left:
                    left[mark[0]] -= 1
                if mark != _ALWAYS:
                    seen.add(mark)
    kept.update(_first_intents(events, details))
    return sorted(kept)


def _detailed_ends(events: Sequence[Event]) -> set[Hashable]:
    """Return the keys of the last ends for which something was asked of Slurm."""
    found: dict[Hashable, None] = {}
    for event in reversed(events):
        if isinstance(event, IntendEvent | OutcomeEvent):
            found.setdefault(event.key)
            if len(found) == DETAILED_ENDS:
                break
    return set(found)


def _first_intents(events: Sequence[Event], details: set[Hashable]) -> Iterator[int]:
    """Yield the indexes of the first intent of each detailed end, which is what is repeated."""
    seen: set[Hashable] = set()
    for index, event in enumerate(events):
        if isinstance(event, IntendEvent) and event.key in details and event.key not in seen:
            seen.add(event.key)
            yield index


Marks = Iterator[tuple[Hashable, ...]]
"""What an event tells; it is kept if a mark of it is on no later event."""
_ALWAYS = ("always",)


def _always(_event: Event, _details: set[Hashable]) -> Marks:
    yield _ALWAYS


def _intend(event: IntendEvent, details: set[Hashable]) -> Marks:
    yield ("intend",)
    yield from _own_values(event)
    for text in event.operations:
        for name, value in Operation.from_text(text).fields:
            if name not in _VARIABLE:
                yield ("field", name, value)
    if event.key in details:
        yield ("intend", event.key)


def _own_values(event: Event) -> Marks:
    """Yield marks for the values that this plugin wants or has set."""
    for node in getattr(event, "exc_nodes", None) or ():
        yield ("node", node)
    for kind, name in (("size", "num_nodes"), ("start", "start_time")):
        value = getattr(event, name, None)
        if value is not None:
            yield (kind, value)


def _outcome(event: OutcomeEvent, details: set[Hashable]) -> Marks:
    succeeded = event.failed is None
    yield ("outcome", succeeded)
    if event.key in details:
        yield ("outcome", succeeded, event.key)


def _applied(event: AppliedEvent, _details: set[Hashable]) -> Marks:
    yield ("applied",)
    yield from _own_values(event)
    for entry in fields(event):
        if entry.name != "at" and getattr(event, entry.name) is not None:
            yield ("applied", entry.name)


_RULES: dict[type, Callable[..., Marks]] = {
    ExcludeEvent: lambda event, _details: iter((("exclude", event.node),)),
    ReadmitEvent: lambda event, _details: iter((("readmit", event.node, event.why),)),
    IntendEvent: _intend,
    OutcomeEvent: _outcome,
    AppliedEvent: _applied,
    NoteEvent: lambda event, _details: iter((("note", event.text, event.who and event.at),)),
    StaleRunningEvent: lambda _event, _details: iter((("stale_running",),)),
    StartedEvent: lambda _event, _details: iter((("started",),)),
    FinalEvent: lambda _event, _details: iter((("final",),)),
}
"""What must survive of each kind. A new kind of event that grows with time needs a row."""
