"""What the journal of a run amounts to, for lists of runs and of nodes."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from typing import TypeVar

from slurm_restart.core.history import streak
from slurm_restart.core.job import JobState
from slurm_restart.core.journal_events import (
    EndEvent,
    Event,
    ExcludeEvent,
    FinalEvent,
    ReadmitEvent,
    StartedEvent,
)
from slurm_restart.frozen import frozen

_E = TypeVar("_E", StartedEvent, FinalEvent)
RUNNING = "running"
"""Stands for the category of an attempt that has not ended."""


@frozen
class NodeEnds:
    """The attempts of a run on a node that ended alike."""

    node: str
    category: str
    """Value of a `Category`; `RUNNING`: an attempt that has not ended."""
    count: int
    last_at: int
    """Epoch seconds of the latest of these ends, or when the attempt was seen running."""


@frozen
class NodeExclusion:
    """An exclusion of a node from a run, in force or over. Times are epoch seconds."""

    node: str
    since: int
    until: int
    evidence: str
    over_at: int | None = None
    """When it ended before `until`, by a person or as Slurm had no other node."""
    why_over: str | None = None

    def in_force(self, now: float) -> bool:
        """Return whether the node is excluded now."""
        return self.over_at is None and self.until > now


@frozen
class RunSummary:
    """The state of a run as its journal tells it. Times are epoch seconds, None: not known."""

    began: int
    """When the journal begins: at the first end, or when an attempt was seen running."""
    changed: int
    attempts: int
    """Attempts that have ended, those restarted in place too."""
    failures: int
    """Ends in a row without progress that counted."""
    restarts: int
    step: int | None
    unit: str
    category: str | None
    action: str | None
    reason: str | None
    """Why this was decided about the last end."""
    observed: bool
    restart_at: int | None
    """When the next attempt is to start, while it has not been seen."""
    state: JobState | None
    """Slurm's final state after the last end."""
    nodes: tuple[str, ...]
    """The nodes of the present or else the last attempt."""
    node_ends: tuple[NodeEnds, ...]
    exclusions: tuple[NodeExclusion, ...]


def summarize(events: Sequence[Event]) -> RunSummary | None:
    """Return the summary of a run; None: its journal is empty."""
    if not events:
        return None
    ends = [event for event in events if isinstance(event, EndEvent)]
    last = ends[-1] if ends else None
    started = _latest(events, StartedEvent, since=last)
    final = _latest(events, FinalEvent, since=last)
    waits = last is not None and last.action.restarts and not started and not final
    in_place = [end.in_place.restarts for end in ends if end.in_place is not None]
    return RunSummary(
        began=events[0].at,
        changed=max(event.at for event in events),
        attempts=len(ends) + sum(in_place),
        failures=streak(ends, next_from_step=None).failures,
        restarts=sum(end.action.restarts for end in ends) + sum(in_place),
        step=None if last is None else last.step,
        unit="step" if last is None else last.unit.value,
        category=None if last is None else last.category.value,
        action=None if last is None else last.action.value,
        reason=None if last is None else last.reason,
        observed=last is not None and last.observed,
        restart_at=last.start_at if waits and last is not None else None,
        state=_state(final),
        nodes=started.nodes if started else last.nodes if last else (),
        node_ends=_node_ends(ends, started if final is None else None),
        exclusions=_exclusions(events),
    )


def _latest(events: Sequence[Event], kind: type[_E], *, since: EndEvent | None) -> _E | None:
    """Return the latest event of a kind after the last end; None: there is none."""
    for event in reversed(events):
        if event is since:
            return None
        if isinstance(event, kind):
            return event
    return None


def _state(final: FinalEvent | None) -> JobState | None:
    try:
        return None if final is None else JobState(final.state)
    except ValueError:
        return None


def _node_ends(ends: Iterable[EndEvent], started: StartedEvent | None) -> tuple[NodeEnds, ...]:
    found: dict[tuple[str, str], NodeEnds] = {}
    each = [(node, end.category.value, end.at) for end in ends for node in end.nodes]
    each += [] if started is None else [(node, RUNNING, started.at) for node in started.nodes]
    for node, category, at in each:
        known = found.get((node, category))
        count = 1 if known is None else known.count + 1
        found[node, category] = NodeEnds(node=node, category=category, count=count, last_at=at)
    return tuple(found.values())


def _exclusions(events: Iterable[Event]) -> tuple[NodeExclusion, ...]:
    over: list[NodeExclusion] = []
    present: dict[str, NodeExclusion] = {}
    for event in events:
        match event:
            case ExcludeEvent():
                if event.node in present:
                    former = present.pop(event.node)
                    over.append(replace(former, over_at=event.at, why_over="renewed"))
                present[event.node] = NodeExclusion(
                    node=event.node, since=event.at, until=event.until, evidence=event.evidence
                )
            case ReadmitEvent() if event.node in present:
                ended = present.pop(event.node)
                at = min(event.at, ended.until)
                over.append(replace(ended, over_at=at, why_over=event.why))
            case _:
                pass
    return (*over, *present.values())
