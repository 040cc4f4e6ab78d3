"""A journal that is written anew has the same history, and a bounded size whatever was added."""

from dataclasses import fields

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_restart.control import compact_journal
from slurm_restart.control.compact_journal import MAX_NOTES, needed_events
from slurm_restart.core.history import History, replay
from slurm_restart.core.journal_events import (
    CLEARED,
    Action,
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
from tests.unit.core import facts

TIMES = st.integers(1, 3)
NODES = st.sampled_from(["csx1", "csx2"])
OPERATIONS = st.sampled_from(
    [
        ("requeue", "update\tExcNodeList=csx1", "update\tNumNodes=2-2\tNumCPUs=2"),
        ("requeue", "update\tNumNodes=3-3", "update\tStartTime=now+2\tAdminComment=a"),
        ("hold",),
        ("release", "update\tStartTime=now+30\tAdminComment=b"),
    ]
)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(facts.ended, submit_time=TIMES, at=TIMES, action=st.sampled_from(Action)),
    st.builds(
        ExcludeEvent, at=TIMES, node=NODES, until=TIMES, evidence=st.just("x"), submit_time=TIMES
    ),
    st.builds(
        ReadmitEvent,
        at=TIMES,
        node=NODES,
        why=st.sampled_from(["it expired", CLEARED]),
    ),
    st.builds(
        IntendEvent,
        at=TIMES,
        submit_time=TIMES,
        operations=OPERATIONS,
        exc_nodes=st.none() | st.tuples(NODES),
        num_nodes=st.none() | TIMES,
        start_time=st.none() | TIMES,
    ),
    st.builds(
        OutcomeEvent,
        at=TIMES,
        submit_time=TIMES,
        done=OPERATIONS,
        failed=st.sampled_from([None, "refused"]),
    ),
    st.builds(
        AppliedEvent,
        at=TIMES,
        exc_nodes=st.none() | st.tuples(NODES),
        num_nodes=st.none() | TIMES,
        start_time=st.none() | TIMES,
        held=st.none() | st.booleans(),
    ),
    st.builds(
        NoteEvent,
        at=TIMES,
        text=st.sampled_from("abcd"),
        who=st.sampled_from([None, "root"]),
    ),
    st.builds(StaleRunningEvent, at=TIMES, submit_time=TIMES),
    st.builds(StartedEvent, at=TIMES, restarts=TIMES, submit_time=TIMES),
    st.builds(FinalEvent, at=TIMES, restarts=TIMES, submit_time=TIMES, state=st.just("FAILED")),
)
TRIMMED = {"notes", "readmitted"}
"""What the history keeps less of: a readmission a node, and each note once."""


def compacted(events: list[Event]) -> list[Event]:
    return [events[index] for index in needed_events(events)]


@settings(max_examples=400)
@given(events=st.lists(EVENTS, max_size=30), details=st.sampled_from([1, 2, 10]))
def test_the_history_stays(events: list[Event], details: int) -> None:
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(compact_journal, "DETAILED_ENDS", details)
        after = compacted(events)
        assert compacted(after) == after
    before, kept = replay(events), replay(after)
    for field in fields(History):
        if field.name not in TRIMMED:
            assert getattr(kept, field.name) == getattr(before, field.name), field.name
    assert {note.text for note in kept.notes} == {note.text for note in before.notes}
    for since in (1, 2, 3):
        assert kept.readmitted_since(since) <= before.readmitted_since(since)
    last = {(event.node, event.why): event for event in before.readmitted}
    assert set(last.values()) <= set(kept.readmitted)


@pytest.mark.parametrize(
    "event",
    [
        NoteEvent(at=1, text="a"),
        IntendEvent(at=1, submit_time=1, operations=("hold",)),
        OutcomeEvent(at=1, submit_time=1, done=(), failed="no"),
        OutcomeEvent(at=1, submit_time=1, done=("hold",)),
        AppliedEvent(at=1, num_nodes=3, start_time=2),
        ExcludeEvent(at=1, node="csx1", until=2, evidence="x", submit_time=1),
        ReadmitEvent(at=1, node="csx1", why="x"),
        StaleRunningEvent(at=1, submit_time=1),
        StartedEvent(at=1, restarts=0, submit_time=1),
        FinalEvent(at=1, restarts=0, submit_time=1, state="FAILED"),
    ],
)
def test_what_repeats_for_ever_takes_no_space(event: Event) -> None:
    assert len(needed_events([event] * 1000)) <= 2


def test_every_end_is_kept_and_the_operations_of_the_last_ones() -> None:
    events: list[Event] = []
    for number in range(100):
        start = f"update\tNumNodes=3-3\tStartTime=now+{number}"
        events += [
            facts.ended(submit_time=number),
            IntendEvent(at=1, submit_time=number, attempt=0, operations=("requeue", start)),
            OutcomeEvent(at=1, submit_time=number, attempt=0, done=("requeue", start)),
        ]
    kept = compacted(events)
    assert sum(type(event) is type(events[0]) for event in kept) == 100
    assert [e.submit_time for e in kept if isinstance(e, IntendEvent)] == list(range(90, 100))
    assert [e.submit_time for e in kept if isinstance(e, OutcomeEvent)] == list(range(90, 100))


def test_values_that_were_once_intended_are_kept() -> None:
    events: list[Event] = [
        IntendEvent(at=1, submit_time=1, operations=(f"update\tNumNodes={number}-{number}",))
        for number in (1, 2, 1, 2, 3)
    ]
    events += [
        IntendEvent(at=1, submit_time=number, operations=("hold",)) for number in range(2, 50)
    ]
    texts = [event.operations[0] for event in compacted(events) if isinstance(event, IntendEvent)]
    assert [text for text in texts if text != "hold"] == [
        f"update\tNumNodes={number}-{number}" for number in (1, 2, 3)
    ]


def test_the_first_intent_of_an_end_is_kept() -> None:
    first = IntendEvent(at=1, submit_time=1, operations=("requeue", "update\tStartTime=now+2"))
    later: list[Event] = [
        IntendEvent(at=2, submit_time=1, operations=(f"update\tStartTime=now+{number}",))
        for number in range(50)
    ]
    assert compacted([first, *later]) == [first, later[-1]]


def test_the_last_notes_are_kept() -> None:
    notes: list[Event] = [NoteEvent(at=1, text=str(number)) for number in range(2 * MAX_NOTES)]
    assert compacted(notes) == notes[-MAX_NOTES:]
