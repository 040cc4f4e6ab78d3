"""Decisions as requests to Slurm, and whose a value is."""

from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.history import History, replay
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.node_pool import SizeChoice
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.core.slurm_operations import (
    JUDGED_LATER,
    LATE_BEGIN,
    JobUpdate,
    Operation,
    Verb,
    format_admin_comment,
    merge_admin_comment,
    size_is_ours,
    start_is_ours,
    update_operations,
)
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED

PRINTABLE = st.text(st.characters(blacklist_categories=("Cc", "Cs")), max_size=30)
NOW = SUBMITTED + 10
FIELDS = st.lists(
    st.tuples(st.from_regex(r"[A-Za-z]{1,12}", fullmatch=True), PRINTABLE), max_size=4
).map(tuple)


@given(verb=st.sampled_from(Verb), fields=FIELDS)
def test_the_journal_gives_an_operation_back(
    verb: Verb, fields: tuple[tuple[str, str], ...]
) -> None:
    operation = Operation(verb=verb, fields=fields)
    assert Operation.from_text(operation.to_text()) == operation


@given(text=st.text(max_size=40))
def test_another_text_is_no_operation_and_nothing_worse(text: str) -> None:
    try:
        found = Operation.from_text(text)
    except ValueError:
        return
    assert found.verb in Verb


def update_texts(job_update: JobUpdate, hostlist: str = "", start: str | None = None) -> list[str]:
    return [str(operation) for operation in update_operations(job_update, hostlist, start=start)]


@pytest.mark.parametrize(
    ("job_update", "hostlist", "start", "expected"),
    [
        (JobUpdate(), "", None, []),
        (JobUpdate(exc_nodes=("a", "b")), "a,b", None, ["update ExcNodeList=a,b"]),
        (JobUpdate(exc_nodes=()), "", None, ["update ExcNodeList="]),
        # A minimum of nodes alone would leave the maximum; of CPUs only the minimum shrinks.
        (JobUpdate(num_nodes=2), "", None, ["update NumNodes=2-2 NumCPUs=2"]),
        (JobUpdate(start_time=9), "", "now+2", ["update StartTime=now+2"]),
        (JobUpdate(admin_comment="x"), "", "now", ["update StartTime=now AdminComment=x"]),
        # If one value is refused, the others are still applied.
        (
            JobUpdate(exc_nodes=("a",), num_nodes=2, admin_comment="x"),
            "a",
            "now+2",
            [
                "update ExcNodeList=a",
                "update NumNodes=2-2 NumCPUs=2",
                "update StartTime=now+2 AdminComment=x",
            ],
        ),
    ],
)
def test_the_requests_of_a_job_update(
    job_update: JobUpdate, hostlist: str, start: str | None, expected: list[str]
) -> None:
    assert update_texts(job_update, hostlist, start) == expected


@pytest.mark.parametrize(
    ("begin", "written", "ours"),
    [
        (None, None, True),
        (SUBMITTED, None, True),
        (SUBMITTED + 2, None, True),
        (SUBMITTED + 121, None, True),  # Slurm's own delay
        (SUBMITTED + 119, None, True),
        (SUBMITTED + 123, None, True),
        (SUBMITTED + 124, None, False),
        (SUBMITTED + 118, None, False),
        (SUBMITTED + 60, None, False),
        (SUBMITTED + 60, SUBMITTED + 60, True),
        (SUBMITTED + 65, SUBMITTED + 60, True),
        (SUBMITTED + 66, SUBMITTED + 60, False),
        (SUBMITTED + 54, SUBMITTED + 60, False),
        (SUBMITTED + 5000, SUBMITTED + 60, False),
    ],
)
def test_whose_a_begin_time_is(begin: int | None, written: int | None, ours: bool) -> None:
    history = replay([facts.intent(start_time=written)])
    job = facts.pending(eligible_time=begin)
    assert start_is_ours(job, history, 121, NOW) is ours


def test_the_restart_delay_of_the_cluster_is_slurms_own_begin_time() -> None:
    job = facts.pending(eligible_time=SUBMITTED + 31)
    assert start_is_ours(job, History(), 31, NOW)
    assert not start_is_ours(job, History(), 121, NOW)


@pytest.mark.parametrize(
    ("begin", "comment", "ours"),
    [
        (LATE_BEGIN, JUDGED_LATER, True),
        (LATE_BEGIN - 30, JUDGED_LATER, True),
        (2 * LATE_BEGIN, JUDGED_LATER, False),
        (LATE_BEGIN, "", False),
    ],
)
def test_the_begin_time_of_csx_epilog_counts_from_now_while_completing(
    begin: int, comment: str, ours: bool
) -> None:
    now = SUBMITTED + 86_400  # the attempt has run for a day
    flags = frozenset({facts.COMPLETING})
    job = facts.pending(eligible_time=now + begin, admin_comment=comment, flags=flags)
    assert start_is_ours(job, History(), 121, now) is ours


@pytest.mark.parametrize(
    ("shown", "written", "ours"),
    [(4, None, True), (3, None, False), (3, 3, True), (2, 3, False), (4, 3, True)],
)
def test_whose_a_size_is(shown: int, written: int | None, ours: bool) -> None:
    history = replay([facts.intent(num_nodes=written)])
    assert size_is_ours(shown, history, submitted=4) is ours


GOOD = SizeChoice(num_nodes=3, reason="")
BLAMED = ["excluded csx3 (node failure)"]


def ended(**changes: Any) -> EndEvent:
    return facts.ended(**{"failures": 0, "total": 1} | changes)


@pytest.mark.parametrize(
    ("end", "size", "notes", "expected"),
    [
        (
            ended(step=1200),
            GOOD,
            [],
            "csx-restart: failures=0/3 total=1 step=1200 nodes=3 | restart after step 1200",
        ),
        (
            ended(step=None),
            GOOD,
            [],
            "csx-restart: failures=0/3 total=1 step=- nodes=3 | restart",
        ),
        (
            ended(failures=3, total=7, last_chance=True, step=1200),
            GOOD,
            BLAMED,
            (
                "csx-restart: failures=3/3 total=7 step=1200 nodes=3 | "
                "restart 3/3 without progress, after step 1200, excluded csx3 (node failure): "
                "the next failure without progress is final"
            ),
        ),
        (
            ended(failures=1, step=0),
            SizeChoice(num_nodes=None, reason="1 usable nodes"),
            [],
            (
                "csx-restart: failures=1/3 total=1 step=0 nodes=- | "
                "restart 1/3 without progress, waits: 1 usable nodes"
            ),
        ),
        (
            ended(step=3600, unit=ProgressUnit.SECOND),
            GOOD,
            BLAMED,
            (
                "csx-restart: failures=0/3 total=1 step=3600 nodes=3 | "
                "restart after 3600 s, excluded csx3 (node failure)"
            ),
        ),
        (
            ended(step=30, fall_back=True, failures=2),
            GOOD,
            [],
            (
                "csx-restart: failures=2/3 total=1 step=30 nodes=3 | "
                "restart 2/3 without progress, from an earlier checkpoint than step 30"
            ),
        ),
        (
            ended(step=None, fall_back=True, failures=1),
            GOOD,
            [],
            (
                "csx-restart: failures=1/3 total=1 step=- nodes=3 | "
                "restart 1/3 without progress, from an earlier checkpoint"
            ),
        ),
    ],
)
def test_the_announcement(end: EndEvent, size: SizeChoice, notes: list[str], expected: str) -> None:
    assert format_admin_comment(end, max_restarts=3, size=size, notes=notes) == expected


@pytest.mark.parametrize(
    ("current", "expected"),
    [
        ("", "csx-restart: b"),
        ("csx-restart: a", "csx-restart: b"),
        ("ticket 12", "ticket 12 | csx-restart: b"),
        ("ticket 12 | csx-restart: a", "ticket 12 | csx-restart: b"),
        ("two\nlines", "two lines | csx-restart: b"),
    ],
)
def test_an_administrators_text_stays(current: str, expected: str) -> None:
    assert merge_admin_comment(current, "csx-restart: b") == expected


@given(current=st.text(max_size=1500), reason=st.text(max_size=1500))
def test_an_admin_comment_is_one_short_printable_line(current: str, reason: str) -> None:
    ours = format_admin_comment(ended(step=1), max_restarts=3, size=GOOD, notes=[reason])
    for text in (ours, merge_admin_comment(current, ours)):
        assert len(text) <= 1024
        assert text.isprintable()
