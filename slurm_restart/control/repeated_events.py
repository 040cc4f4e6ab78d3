"""Leave out events that repeat what the journal says already, such as the same refusal again."""

from collections.abc import Sequence
from dataclasses import fields, replace

from slurm_restart.core.journal_events import (
    AppliedEvent,
    EndEvent,
    Event,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
)


def without_repeats(known: Sequence[Event], new: Sequence[Event]) -> list[Event]:
    """Return the events of `new` that add something to the journal's events `known`.

    Since the last end, these are written once: a note of the same text, unless a person has done
    it; an intent of the operations that were intended last and have not all succeeded; an outcome
    like the one before it with the same refusals. An `applied` event without any value is never
    written. The time of an event does not matter, so that the journal has the time of the first.
    """
    recent = _since_last_end(known)
    added: list[Event] = []
    for event in new:
        if isinstance(event, EndEvent):
            recent.clear()
        elif _repeats(recent, event):
            continue
        recent.append(event)
        added.append(event)
    return added


def _since_last_end(events: Sequence[Event]) -> list[Event]:
    start = len(events)
    while start and not isinstance(events[start - 1], EndEvent):
        start -= 1
    return list(events[start:])


def _repeats(recent: Sequence[Event], event: Event) -> bool:
    match event:
        case NoteEvent():
            notes = (old for old in recent if isinstance(old, NoteEvent))
            return event.who is None and any(old.text == event.text for old in notes)
        case IntendEvent():
            return _repeats_intent(recent, event)
        case OutcomeEvent():
            last = next((old for old in reversed(recent) if _is_step(old)), None)
            return event.failed is not None and last is not None and _same(last, event)
        case AppliedEvent():
            names = (entry.name for entry in fields(event) if entry.name != "at")
            return all(getattr(event, name) is None for name in names)
    return False


def _repeats_intent(recent: Sequence[Event], event: IntendEvent) -> bool:
    """Whether these operations were intended last, and have not all succeeded since."""
    for old in reversed(recent):
        if isinstance(old, OutcomeEvent) and old.failed is None:
            return False
        if isinstance(old, IntendEvent):
            return _same(old, event)
    return False


def _is_step(event: Event) -> bool:
    return isinstance(event, IntendEvent | OutcomeEvent)


def _same(old: Event, new: Event) -> bool:
    return type(old) is type(new) and replace(old, at=new.at) == new
