"""The report of a journal, end by end."""

from typing import Any

from slurm_restart.core.category import Category
from slurm_restart.core.end_report import (
    NextAttempt,
    OtherNote,
    end_reports,
    next_attempt,
    other_notes,
)
from slurm_restart.core.history import FOR_NO_END
from slurm_restart.core.journal_events import (
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
from tests.unit.core.facts import SUBMITTED


def test_each_end_has_what_followed_from_it() -> None:
    events: list[Event] = [
        NoteEvent(at=1, text="before any end: see other_notes"),
        facts.ended(Category.HARDWARE_NODE, start_at=SUBMITTED + 5),
        ExcludeEvent(at=1, node="csx2", until=9, evidence="Slurm: DOWN", submit_time=SUBMITTED),
        IntendEvent(at=1, submit_time=SUBMITTED, operations=("requeue",)),
        OutcomeEvent(at=1, submit_time=SUBMITTED, done=("requeue", "odd\tx=1"), failed="no"),
        AppliedEvent(at=1, exc_nodes=("csx2",)),
        ReadmitEvent(at=2, node="csx2", why="it expired"),
        StaleRunningEvent(at=3, submit_time=SUBMITTED),
        facts.ended(Category.COMPLETED, attempt=1, submit_time=9, action=Action.LEAVE, start_at=4),
    ]
    first, second = end_reports(events)
    assert (first.category, first.action, first.restart_at) == (
        "hardware.node",
        "requeue",
        SUBMITTED + 5,
    )
    assert first.excluded == {"csx2": "Slurm: DOWN"}
    assert (first.operations, first.refused) == (["requeue", "odd\tx=1"], ["no"])
    assert first.notes == [
        "csx2 may be used again: it expired",
        "seen RUNNING although its program had ended",
    ]
    assert (second.attempt, second.restart_at, second.operations) == (1, None, [])


def test_what_became_of_the_job_stands_at_its_last_end() -> None:
    first, second = end_reports(
        [
            facts.ended(attempt=0),
            StartedEvent(at=7, restarts=1, submit_time=SUBMITTED),
            StartedEvent(at=8, restarts=1, submit_time=SUBMITTED),
            facts.ended(attempt=1, action=Action.LEAVE),
            FinalEvent(at=9, restarts=1, submit_time=SUBMITTED, state="FAILED"),
        ]
    )
    assert (first.next_started, first.final_state) == (7, None)
    assert (second.next_started, second.final_state) == (None, "FAILED")


WAIT = "csx-restart: failures=1/3 total=1 step=5 nodes=- | restart 1/3, waits: 1 of 2 nodes"


def intent(at: int, *operations: str, submit_time: int = SUBMITTED, **values: Any) -> IntendEvent:
    return IntendEvent(at=at, submit_time=submit_time, operations=operations, **values)


def test_what_the_next_attempt_is_to_be() -> None:
    events: list[Event] = [
        facts.ended(start_at=50),
        intent(11, "requeue", exc_nodes=("csx2",), num_nodes=3, start_time=60),
        # The same once more changes nothing.
        intent(12, "update\tStartTime=60", exc_nodes=("csx2",), start_time=60),
        intent(13, f"update\tStartTime=70\tAdminComment={WAIT}", start_time=70),
    ]
    assert next_attempt(events[:1]) == NextAttempt(since=events[0].at, start_time=50)
    assert next_attempt(events[:3]) == NextAttempt(
        since=11, exc_nodes=("csx2",), num_nodes=3, start_time=60
    )
    assert next_attempt(events) == NextAttempt(
        since=13,
        exc_nodes=("csx2",),
        num_nodes=3,
        start_time=70,
        reason="restart 1/3, waits: 1 of 2 nodes",
    )
    started = StartedEvent(at=14, restarts=1, submit_time=SUBMITTED)
    assert next_attempt([*events, started]) is None
    assert next_attempt([*events, facts.ended(action=Action.LEAVE, attempt=1)]) is None


def test_a_later_phase_waits_without_an_end() -> None:
    waits = intent(5, exc_nodes=("csx1",), submit_time=FOR_NO_END)
    assert next_attempt([waits]) == NextAttempt(since=5, exc_nodes=("csx1",))
    # Operations about an end that is final concern no next attempt.
    assert next_attempt([facts.ended(action=Action.LEAVE), intent(6, "cancel")]) is None
    assert next_attempt([facts.ended(observed=True)]) is None
    assert next_attempt([]) is None


def test_two_attempts_within_one_submit_time_are_two_ends() -> None:
    # A job that waited for a dead node keeps its SubmitTime.
    events = [facts.ended(attempt=0), facts.ended(attempt=1)]
    assert [end.attempt for end in end_reports(events)] == [0, 1]


def test_an_end_that_was_decided_again_is_reported_once() -> None:
    events = [facts.ended(), facts.ended(action=Action.CANCEL)]
    assert [end.action for end in end_reports(events)] == ["cancel"]


def test_an_empty_journal_has_no_ends() -> None:
    assert end_reports([]) == []


def test_what_happened_beside_the_ends() -> None:
    excluded = ExcludeEvent(at=2, node="csx2", until=9, evidence="ECC", submit_time=FOR_NO_END)
    events: list[Event] = [
        NoteEvent(at=1, text="waits"),
        excluded,
        ReadmitEvent(at=3, node="csx2", why="cleared"),
        facts.ended(),
        NoteEvent(at=4, text="a note about the end"),
        NoteEvent(at=5, text="set max_num_restarts=5", who="alice as root"),
    ]
    assert other_notes(events) == [
        OtherNote(at=1, who=None, text="waits"),
        OtherNote(at=2, who=None, text="csx2 is excluded: ECC"),
        OtherNote(at=3, who=None, text="csx2 may be used again: cleared"),
        OtherNote(at=5, who="alice as root", text="set max_num_restarts=5"),
    ]
    [end] = end_reports(events)
    assert end.notes == ["a note about the end"]
