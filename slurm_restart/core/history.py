"""The state of a run as a replay of its journal gives it, and the restarts since progress."""

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import field, fields, replace

from slurm_restart.core.in_place_ends import NONE_IN_PLACE, InPlaceEnds
from slurm_restart.core.journal_events import (
    CLEARED,
    AppliedEvent,
    EndEvent,
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
from slurm_restart.frozen import frozen

FOR_NO_END = 0
"""SubmitTime in events of a job of which no attempt has ended."""


@frozen
class Exclusion:
    """A node excluded from this run."""

    node: str
    since: int
    until: int
    evidence: str


@frozen
class Intended:
    """Every value that this plugin has ever wanted for the job, so that it knows its own."""

    exc_nodes: frozenset[str] = frozenset()
    """Without nodes that a person has taken off the list since."""
    sizes: frozenset[int] = frozenset()
    starts: frozenset[int] = frozenset()
    """Begin times, epoch seconds."""


@frozen
class History:
    """The state of a run, replayed from its journal."""

    ends: tuple[EndEvent, ...] = ()
    exclusions: tuple[Exclusion, ...] = ()
    intended: Intended = field(default_factory=Intended)
    last_intent: IntendEvent | None = None
    refused: tuple[str, ...] = ()
    """The refusals of the last outcome, which need not be logged again."""
    stale_running: StaleRunningEvent | None = None
    started: StartedEvent | None = None
    final: FinalEvent | None = None
    readmitted: tuple[ReadmitEvent, ...] = ()
    applied: AppliedEvent = field(default_factory=lambda: AppliedEvent(at=0))
    """The latest value of each field; `at` is the time of the latest exclusion list."""
    start_applied_at: int = 0
    """When a begin time was applied last."""
    notes: tuple[NoteEvent, ...] = ()

    def end_of(self, index: int) -> EndEvent | None:
        """Return the latest end of an attempt by Slurm's restart count, or None."""
        return next((end for end in reversed(self.ends) if end.index == index), None)

    def excluded(self, now: float) -> tuple[Exclusion, ...]:
        """Exclusions in force, the oldest first."""
        return tuple(exclusion for exclusion in self.exclusions if exclusion.until > now)

    def readmitted_since(self, at: int) -> set[str]:
        """Nodes whose exclusion has ended since then; they are not blamed again for that end."""
        return {event.node for event in self.readmitted if event.at >= at}

    def noted(self, text: str, since: int = 0) -> bool:
        """Whether the journal holds this note from `since` on."""
        return any(note.text == text and note.at >= since for note in self.notes)

    def count_fall_backs(self) -> int:
        """Return how often the run has gone back to an earlier checkpoint since its progress."""
        count = 0
        for end in reversed(self.ends):
            if end.progress:
                break
            before = end.in_place or NONE_IN_PLACE
            count += end.fall_back + before.fall_backs
            if before.progress:
                break
        return count

    def total_restarts(self) -> int:
        """Restarts by Slurm on record that count against the cap: preemptions and such do not."""
        return sum(end.action.restarts and end.is_capped for end in self.ends)

    def in_place_restarts(self) -> int:
        """Restarts in place on record, of which Slurm does not know; all count against the cap."""
        return sum(end.in_place.restarts for end in self.ends if end.in_place is not None)

    def uncounted_restarts(self) -> int:
        """Restarts on record for reasons that never count."""
        return sum(end.action.restarts and not end.is_capped for end in self.ends)


def replay(events: Iterable[Event], history: History | None = None) -> History:
    """Replay events in the order of the journal, on top of an earlier history."""
    state = _Replay(history or History())
    for event in events:
        state.add(event)
    return state.result()


class _Replay:
    """A history under construction. Collections grow in place: a replay takes linear time."""

    def __init__(self, history: History) -> None:
        self._history = history
        self._ends = {(*end.key, end.index): end for end in history.ends}
        self._exclusions = {exclusion.node: exclusion for exclusion in history.exclusions}
        self._exc_nodes = set(history.intended.exc_nodes)
        self._sizes = set(history.intended.sizes)
        self._starts = set(history.intended.starts)
        self._readmitted = list(history.readmitted)
        self._notes = list(history.notes)
        self._changes: dict[str, object] = {}
        self._applied = {
            entry.name: getattr(history.applied, entry.name) for entry in fields(AppliedEvent)
        }

    def result(self) -> History:
        return replace(
            self._history,
            ends=tuple(self._ends.values()),
            exclusions=tuple(self._exclusions.values()),
            intended=Intended(
                exc_nodes=frozenset(self._exc_nodes),
                sizes=frozenset(self._sizes),
                starts=frozenset(self._starts),
            ),
            readmitted=tuple(self._readmitted),
            notes=tuple(self._notes),
            applied=AppliedEvent(**self._applied),
            **self._changes,  # type: ignore[arg-type]
        )

    def add(self, event: Event) -> None:  # noqa: C901 - a case for each event
        match event:
            case EndEvent():
                name = (*event.key, event.index)
                self._ends.pop(name, None)
                self._ends[name] = event
                # A job whose attempt has ended had been released, by this plugin or a person.
                self._applied["held"] = None
            case ExcludeEvent():
                self._exclusions.pop(event.node, None)
                self._exclusions[event.node] = Exclusion(
                    node=event.node, since=event.at, until=event.until, evidence=event.evidence
                )
            case ReadmitEvent():
                self._readmit(event)
            case IntendEvent():
                self._intend(event)
            case OutcomeEvent():
                self._changes["refused"] = tuple(filter(None, [event.failed]))
            case AppliedEvent():
                self._apply(event)
            case NoteEvent():
                self._notes.append(event)
            case StaleRunningEvent():
                self._changes["stale_running"] = event
            case StartedEvent():
                self._changes["started"] = event
            case FinalEvent():
                self._changes["final"] = event

    def _readmit(self, event: ReadmitEvent) -> None:
        self._exclusions.pop(event.node, None)
        self._readmitted.append(event)
        if event.why == CLEARED:
            self._exc_nodes.discard(event.node)
            applied = self._applied["exc_nodes"] or ()
            self._applied["exc_nodes"] = tuple(name for name in applied if name != event.node)

    def _intend(self, event: IntendEvent) -> None:
        self._changes["last_intent"] = event
        self._exc_nodes.update(event.exc_nodes or ())
        self._sizes.update(() if event.num_nodes is None else (event.num_nodes,))
        self._starts.update(() if event.start_time is None else (event.start_time,))

    def _apply(self, event: AppliedEvent) -> None:
        # Releases up to 0.2 wrote the values here and only the operations before.
        self._exc_nodes.update(event.exc_nodes or ())
        self._sizes.update(() if event.num_nodes is None else (event.num_nodes,))
        if event.start_time is not None:
            self._starts.add(event.start_time)
            self._changes["start_applied_at"] = event.at
        if event.exc_nodes is not None:
            self._applied["at"] = event.at
        for name in ("exc_nodes", "num_nodes", "start_time", "held"):
            value = getattr(event, name)
            if value is not None:
                self._applied[name] = value


def ends_at_step(ends: Sequence[EndEvent], step: int | None) -> Iterator[EndEvent]:
    """Yield the last ends that left the run where the present one does, the latest first.

    The end that made the last progress is among them where its last checkpoint is still the last
    one: the attempts after it came to the same place from there.

    Args:
        ends: those before, in order.
        step: where the present end leaves the run; None: not known, nor is its progress.
    """
    for end in reversed(ends):
        if (end.progress and step is None) or (step is not None and end.step != step):
            return
        yield end
        if end.progress:
            return


@frozen
class Streak:
    """What has happened since the last progress, or since the run began."""

    failures: int
    """Ends that counted and made no progress."""
    restarts: int
    """Restarts that counted, including the restart after the last progress."""


def add_in_place(before: Streak, in_place: InPlaceEnds | None) -> Streak:
    """Return a streak with the ends that follow it in one allocation."""
    if in_place is None:
        return before
    if in_place.progress:
        return Streak(failures=in_place.failures, restarts=in_place.failures + 1)
    return Streak(
        failures=before.failures + in_place.failures, restarts=before.restarts + in_place.restarts
    )


def streak(
    ends: Iterable[EndEvent], *, next_from_step: int | None, prior_failures: int = 0
) -> Streak:
    """The streak up to the last of `ends`.

    Progress not known at the time is derived from the step from which the next attempt started;
    progress that is still unknown uses up no budget.

    Args:
        ends: in order.
        next_from_step: where the attempt after the last of them started, if that is known.
        prior_failures: ends in a row without progress before the first of them.
    """
    listed = list(ends)
    starts = [*(end.from_step for end in listed[1:]), next_from_step] if listed else []
    found = Streak(failures=prior_failures, restarts=prior_failures)
    for end, next_start in zip(listed, starts, strict=True):
        found = add_in_place(found, end.in_place)
        progress = end.progress
        if progress is None and next_start is not None and end.from_step is not None:
            progress = next_start > end.from_step
        if progress:
            found = Streak(failures=0, restarts=int(end.is_capped))
        elif end.is_capped:
            found = Streak(
                failures=found.failures + (progress is False), restarts=found.restarts + 1
            )
    return found
