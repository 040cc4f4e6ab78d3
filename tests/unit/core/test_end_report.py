"""The report of a journal, end by end."""

from slurm_restart.core.category import Category
from slurm_restart.core.end_report import end_reports
from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    Event,
    ExcludeEvent,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
    ReadmitEvent,
    StaleRunningEvent,
)
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED


def test_each_end_has_what_followed_from_it() -> None:
    events: list[Event] = [
        NoteEvent(at=1, text="before any end: not reported"),
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
        "seen RUNNING although its trainer had ended",
    ]
    assert (second.attempt, second.restart_at, second.operations) == (1, None, [])


def test_two_attempts_within_one_submit_time_are_two_ends() -> None:
    # A job that waited for a dead node keeps its SubmitTime.
    events = [facts.ended(attempt=0), facts.ended(attempt=1)]
    assert [end.attempt for end in end_reports(events)] == [0, 1]


def test_an_end_that_was_decided_again_is_reported_once() -> None:
    events = [facts.ended(), facts.ended(action=Action.CANCEL)]
    assert [end.action for end in end_reports(events)] == ["cancel"]


def test_an_empty_journal_has_no_ends() -> None:
    assert end_reports([]) == []
