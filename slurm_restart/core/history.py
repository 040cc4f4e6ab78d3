"""The state of a run as a replay of its journal gives it, and the restarts since progress."""

from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    EndEvent,
    EndKey,
    Event,
    ExcludeEvent,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
    ReadmitEvent,
    StaleRunningEvent,
)


@dataclass(frozen=True, kw_only=True)
class Exclusion:
    """A node excluded from this run."""

    node: str
    since: int
    until: int
    evidence: str


@dataclass(frozen=True, kw_only=True)
class History:
    """The state of a run, replayed from its journal."""

    ends: tuple[EndEvent, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    intended: IntendEvent | None = None
    """Operations whose outcome is not on record, or that Slurm refused."""
    carried_out: EndKey | None = None
    """The last end whose operations all succeeded."""
    stale_running: StaleRunningEvent | None = None
    readmitted: tuple[ReadmitEvent, ...] = ()
    applied: AppliedEvent = field(default_factory=lambda: AppliedEvent(at=0))
    notes: tuple[NoteEvent, ...] = ()

    def end(self, key: EndKey) -> EndEvent | None:
        """Return the event of an end, or None; an unknown attempt matches every attempt."""
        fitting = (
            end
            for end in reversed(self.ends)
            if end.submit_time == key.submit_time
            and (None in (end.attempt, key.attempt) or end.attempt == key.attempt)
        )
        return next(fitting, None)

    def without(self, key: EndKey) -> "History":
        """Return this history without the event of an end."""
        return replace(self, ends=tuple(end for end in self.ends if end.key != key))

    def known_restarts(self) -> int:
        """Slurm's restart count of the attempt after the last end on record."""
        if not self.ends:
            return 0
        last = self.ends[-1]
        return last.restarts + (last.action is Action.REQUEUE and not last.requeued)

    def excluded(self, now: int) -> tuple[Exclusion, ...]:
        """Exclusions in force, the oldest first."""
        return tuple(exclusion for exclusion in self.exclusions if exclusion.until > now)

    def readmitted_since(self, at: int) -> set[str]:
        """Nodes whose exclusion has ended since then; they are not blamed again for that end."""
        return {event.node for event in self.readmitted if event.at >= at}

    def total_restarts(self) -> int:
        """Restarts on record that count against the cap: preemptions and the like do not."""
        return sum(end.action.restarts and end.category.counts for end in self.ends)

    def uncounted_restarts(self) -> int:
        """Restarts on record for reasons that never count."""
        return sum(end.action.restarts and not end.category.counts for end in self.ends)


def replay(events: Iterable[Event], history: History | None = None) -> History:
    """Replay events in the order of the journal, on top of an earlier history."""
    history = history or History()
    for event in events:
        history = _apply_event(history, event)
    return history


def _apply_event(history: History, event: Event) -> History:  # noqa: PLR0911 - a return per event
    match event:
        case EndEvent():
            # A job whose attempt has ended had been released, by this plugin or a person.
            ends = (*history.without(event.key).ends, event)
            return replace(history, ends=ends, applied=replace(history.applied, held=None))
        case ExcludeEvent():
            return replace(history, exclusions=_add_exclusion(history.exclusions, event))
        case ReadmitEvent():
            left = tuple(
                exclusion for exclusion in history.exclusions if exclusion.node != event.node
            )
            readmitted = (*history.readmitted, event)
            return replace(history, exclusions=left, readmitted=readmitted)
        case IntendEvent():
            return replace(history, intended=event)
        case OutcomeEvent():
            if event.failed:
                return history
            return replace(history, intended=None, carried_out=event.key)
        case AppliedEvent():
            return replace(history, applied=_merge_applied(history.applied, event))
        case NoteEvent():
            return replace(history, notes=(*history.notes, event))
        case StaleRunningEvent():
            return replace(history, stale_running=event)


def _add_exclusion(exclusions: tuple[Exclusion, ...], event: ExcludeEvent) -> tuple[Exclusion, ...]:
    others = tuple(exclusion for exclusion in exclusions if exclusion.node != event.node)
    return (
        *others,
        Exclusion(node=event.node, since=event.at, until=event.until, evidence=event.evidence),
    )


def _merge_applied(old: AppliedEvent, new: AppliedEvent) -> AppliedEvent:
    def newer(name: str) -> object:
        value = getattr(new, name)
        return getattr(old, name) if value is None else value

    names = ("exc_nodes", "num_nodes", "start_time", "held")
    return AppliedEvent(at=new.at, **{name: newer(name) for name in names})  # type: ignore[arg-type]


@dataclass(frozen=True, kw_only=True)
class Streak:
    """What has happened since the last progress, or since the run began."""

    failures: int
    """Ends that counted and made no progress."""
    restarts: int
    """Restarts that counted, including the restart after the last progress."""


def streak(ends: Iterable[EndEvent], *, next_from_step: int | None) -> Streak:
    """The streak up to the last of `ends`.

    Progress not known at the time is derived from the step from which the next attempt started;
    progress that is still unknown uses up no budget.

    Args:
        ends: in order.
        next_from_step: where the attempt after the last of them started, if that is known.
    """
    listed = list(ends)
    starts = [*(end.from_step for end in listed[1:]), next_from_step] if listed else []
    failures = restarts = 0
    for end, next_start in zip(listed, starts, strict=True):
        progress = end.progress
        if progress is None and next_start is not None and end.from_step is not None:
            progress = next_start > end.from_step
        counts = end.category.counts
        if progress:
            failures, restarts = 0, int(counts)
        elif counts:
            failures, restarts = failures + (progress is False), restarts + 1
    return Streak(failures=failures, restarts=restarts)
