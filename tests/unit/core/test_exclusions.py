"""The nodes that a run excludes: whose they are, when they end, and the list that follows."""

import pytest

from slurm_restart.core.attribution import Blame
from slurm_restart.core.exclusions import (
    EXPIRED,
    exclude_events,
    exclusion_list,
    own_exclusions,
    readmit_events,
    user_excluded,
)
from slurm_restart.core.history import History, replay
from slurm_restart.core.journal_events import CLEARED, AppliedEvent, ExcludeEvent
from tests.unit.core import facts
from tests.unit.core.facts import NODES, SUBMITTED

NOW = SUBMITTED + 100


def history(*nodes: str, until: int = NOW + 1, applied_at: int | None = NOW - 10) -> History:
    """A run that excludes these nodes, and whose list Slurm has accepted at that time."""
    events: list[object] = [
        ExcludeEvent(at=SUBMITTED, node=node, until=until, evidence="e", submit_time=SUBMITTED)
        for node in nodes
    ]
    events.append(facts.intent(exc_nodes=nodes))
    if applied_at is not None:
        events.append(AppliedEvent(at=applied_at, exc_nodes=nodes))
    return replay(events)  # type: ignore[arg-type]


def test_evidence_becomes_an_exclusion_with_an_end() -> None:
    blamed = (Blame(node="csx2", evidence="xid"), Blame(node="csx3", evidence="down"))
    found = exclude_events(blamed, now=5, until=9, submit_time=1)
    assert [(e.node, e.evidence, e.at, e.until, e.submit_time) for e in found] == [
        ("csx2", "xid", 5, 9, 1),
        ("csx3", "down", 5, 9, 1),
    ]


@pytest.mark.parametrize(
    ("applied", "shown", "boot_time", "cleared"),
    [
        (("csx2",), ("csx2",), None, ()),
        (("csx2",), (), None, ("csx2",)),
        (("csx2", "csx3"), ("csx3",), None, ("csx2",)),
        (("csx2",), ("csx4",), None, ("csx2",)),
        (("csx2",), (), NOW - 11, ("csx2",)),  # slurmctld has not been restarted since
        (("csx2",), (), NOW - 10, ()),  # it may have been, within the second of the request
        (("csx2",), (), NOW - 9, ()),  # it has, and may have lost the list
    ],
)
def test_what_is_missing_from_the_list_was_cleared_by_a_person(
    applied: tuple[str, ...],
    shown: tuple[str, ...],
    boot_time: int | None,
    cleared: tuple[str, ...],
) -> None:
    job = facts.pending(exc_nodes=shown)
    found = readmit_events(job, history(*applied), NOW, boot_time=boot_time)
    assert [(event.node, event.why) for event in found] == [(node, CLEARED) for node in cleared]


def test_what_slurm_has_never_accepted_was_not_cleared() -> None:
    never = history("csx2", applied_at=None)
    assert readmit_events(facts.pending(), never, NOW, boot_time=None) == ()


@pytest.mark.parametrize(("until", "over"), [(NOW - 1, True), (NOW, True), (NOW + 1, False)])
def test_an_exclusion_expires(until: int, over: bool) -> None:
    job = facts.pending(exc_nodes=("csx2",))
    found = readmit_events(job, history("csx2", until=until), NOW, boot_time=None)
    assert [(event.node, event.why) for event in found] == [("csx2", EXPIRED)] * over


@pytest.mark.parametrize(
    ("shown", "own", "people", "mine", "wanted"),
    [
        # in the list, already intended, people's, this plugin's, the new list (None: unchanged)
        ((), ("csx2",), (), ("csx2",), ("csx2",)),
        (("csx2",), ("csx2",), (), ("csx2",), None),
        (("csx4",), ("csx2",), ("csx4",), ("csx2",), ("csx4", "csx2")),
        (("csx2", "csx4"), ("csx2",), ("csx4",), ("csx2",), None),
        (("csx2",), (), ("csx2",), (), None),  # a person excludes it already
        (("gone", "csx4"), ("csx2",), ("gone", "csx4"), ("csx2",), ("csx4", "csx2")),
        (("gone",), (), ("gone",), (), ()),
    ],
)
def test_the_list_has_peoples_nodes_first(
    shown: tuple[str, ...],
    own: tuple[str, ...],
    people: tuple[str, ...],
    mine: tuple[str, ...],
    wanted: tuple[str, ...] | None,
) -> None:
    job, run = facts.pending(exc_nodes=shown), history(*own)
    assert user_excluded(job, run) == people
    assert own_exclusions(job, run, own or people, NODES) == mine
    assert exclusion_list(job, run, mine, NODES) == wanted


def test_a_node_that_is_over_leaves_the_list_and_peoples_stay() -> None:
    job = facts.pending(exc_nodes=("csx2", "csx4"))
    assert exclusion_list(job, history("csx2"), (), NODES) == ("csx4",)


def test_a_node_that_slurm_does_not_know_is_never_asked_for() -> None:
    """Slurm refuses the whole list for one unknown name."""
    assert own_exclusions(facts.pending(), history("gone"), ("gone", "csx1"), NODES) == ("csx1",)


def test_a_node_that_a_person_has_put_back_is_the_persons() -> None:
    cleared = replay(
        readmit_events(facts.pending(), history("csx2"), NOW, boot_time=None), history("csx2")
    )
    assert user_excluded(facts.pending(exc_nodes=("csx2",)), cleared) == ("csx2",)
