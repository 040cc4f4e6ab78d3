"""On which nodes of its allocation a run goes on."""

from dataclasses import replace
from typing import Any

import pytest

from slurm_restart.core.allocation import Allocation
from slurm_restart.core.attribution import Blame
from slurm_restart.core.category import Category
from slurm_restart.core.decision import decide
from slurm_restart.core.history import History
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.journal_events import Action
from slurm_restart.core.placement import lost_nodes, place
from tests.unit.core import facts
from tests.unit.core.facts import attribution, situation

HELD = ("csx1", "csx2", "csx3", "csx4")
"""Three nodes of the attempt, and one spare."""


def allocation(
    *, left: tuple[str, ...] = HELD, states: dict[str, str] | None = None, **changes: Any
) -> Allocation:
    """Three nodes and one spare, of which the job still has `left`."""
    values: dict[str, Any] = {
        "restarts": 0,
        "names": HELD[:3],
        "spares": HELD[3:],
        "held": HELD,
        "min_nodes": 2,
        "batch_host": "csx1",
        "job": facts.job(state=JobState.RUNNING, nodes=left, time_limit=3600, run_time=600),
        "nodes": facts.nodes(**states or {}),
    }
    return Allocation(**values | changes)


def without(*names: str) -> tuple[str, ...]:
    """The job's nodes but these."""
    return tuple(name for name in HELD if name not in names)


def blaming(*names: str, category: Category = Category.HARDWARE_NODE) -> Any:
    """A cause that names nodes."""
    return attribution(
        category, blamed=tuple(Blame(node=name, evidence="Xid 79") for name in names)
    )


@pytest.mark.parametrize(
    ("category", "changes", "run_time", "made", "in_place"),
    [
        (Category.UNKNOWN, {}, 5, False, False),
        (Category.SOFTWARE_CRASH, {}, 59, False, False),
        # Other nodes would not help, or there are none.
        (Category.NETWORK_RENDEZVOUS, {}, 5, False, True),
        (Category.UNKNOWN, {}, 60, False, True),
        (Category.UNKNOWN, {}, 5, True, True),
        (Category.UNKNOWN, {"others_wait": True}, 5, False, True),
        (Category.UNKNOWN, {"states": {"csx4": "ALLOCATED"}}, 5, False, True),
        (Category.UNKNOWN, {"states": {"csx4": "IDLE+DRAIN"}}, 5, False, True),
        (Category.UNKNOWN, {"requeues": False}, 5, False, True),
    ],
)
def test_a_failure_at_once_without_a_cause_moves_to_nodes_that_are_free(
    category: Category,
    changes: dict[str, Any],
    run_time: int,
    made: bool | None,
    in_place: bool,
) -> None:
    three = {"names": HELD[:2], "spares": HELD[2:3], "held": HELD[:3], "left": HELD[:3]}
    found = allocation(**three | changes)
    decision = decide(
        situation(category, made=made, failed=True, run_time=run_time, allocation=found)
    )
    assert decision.action.in_place is in_place
    assert (decision.not_in_place is None) is in_place
    if not in_place:
        assert "other nodes are free" in (decision.not_in_place or "")


FULL = {"csx4": "ALLOCATED"}
"""No other node is free."""


@pytest.mark.parametrize(
    ("category", "before", "changes", "made", "in_place"),
    [
        (Category.UNKNOWN, Category.UNKNOWN, {}, False, False),
        (Category.SOFTWARE_CRASH, Category.UNKNOWN, {}, False, False),
        (Category.HANG, Category.UNKNOWN, {}, False, False),
        (Category.HANG, None, {}, False, True),
        (Category.NETWORK_FABRIC, Category.UNKNOWN, {}, False, False),
        (Category.UNKNOWN, Category.NETWORK_FABRIC, {}, False, False),
        (Category.NETWORK_FABRIC, None, {}, False, True),
        # The first failure says nothing.
        (Category.UNKNOWN, None, {}, False, True),
        (Category.UNKNOWN, Category.STORAGE_IO, {}, False, True),
        (Category.STORAGE_IO, Category.UNKNOWN, {}, False, True),
        (Category.UNKNOWN, Category.UNKNOWN, {}, True, True),
        # Neither are there other nodes nor could it do with fewer.
        (Category.UNKNOWN, Category.UNKNOWN, {"min_nodes": 3}, False, True),
        (Category.UNKNOWN, Category.UNKNOWN, {"min_nodes": 3, "states": {}}, False, False),
        (Category.UNKNOWN, Category.UNKNOWN, {"requeues": False}, False, True),
        # In a search each failure leads to other nodes.
        (Category.UNKNOWN, None, {"search": "on"}, False, False),
        (Category.HANG, None, {"search": "on"}, False, False),
        (Category.UNKNOWN, None, {"search": "open", "min_nodes": 3}, False, False),
        (Category.STORAGE_IO, None, {"search": "on"}, False, True),
    ],
)
def test_a_second_failure_without_a_cause_leaves_the_allocation_for_the_search(
    category: Category,
    before: Category | None,
    changes: dict[str, Any],
    made: bool,
    in_place: bool,
) -> None:
    given: dict[str, Any]
    given = {"names": HELD[:3], "spares": (), "held": HELD[:3], "left": HELD[:3], "states": FULL}
    given |= {key: value for key, value in changes.items() if key != "search"}
    found = allocation(**given)
    assert found.job is not None
    if "search" in changes:
        comment = f"csx-restart: failures=1/3 nodes=3 search={changes['search']} | restart 1/3"
        found = replace(found, job=replace(found.job, admin_comment=comment))
    history = History(ends=() if before is None else (facts.ended(before),))
    kept = {"failed": True, "run_time": 90, "allocation": found}
    decision = decide(situation(category, history, made=made, **kept))
    assert decision.action.in_place is in_place
    if not in_place:
        assert "a faulty node is searched for" in (decision.not_in_place or "")
    off = decide(
        situation(category, history, made=made, policy=facts.policy(node_search=False), **kept)
    )
    assert off.action.in_place


@pytest.mark.parametrize(
    ("blamed", "changes", "action", "nodes", "spares"),
    [
        # A spare takes the place of a node that is lost, blamed or drained.
        ("csx3", {"left": without("csx3")}, Action.SWAP, "csx1 csx2 csx4", ""),
        ("csx3", {}, Action.SWAP, "csx1 csx2 csx4", ""),
        ("", {"states": {"csx2": "MIXED+DRAIN"}}, Action.SWAP, "csx1 csx3 csx4", ""),
        ("", {"states": {"csx2": "DOWN"}}, Action.SWAP, "csx1 csx3 csx4", ""),
        ("csx2", {"names": HELD[:2], "spares": HELD[2:]}, Action.SWAP, "csx1 csx3", "csx4"),
        (
            "csx2 csx3",
            {"names": HELD[:2], "spares": HELD[2:]},
            Action.SWAP,
            "csx1 csx4",
            "",
        ),
        # A spare that is lost is none; that changes nothing for the others.
        ("", {"left": without("csx4")}, Action.RELAUNCH, "csx1 csx2 csx3", ""),
        ("", {"states": {"csx4": "DOWN"}}, Action.RELAUNCH, "csx1 csx2 csx3", ""),
        ("", {}, Action.RELAUNCH, "csx1 csx2 csx3", "csx4"),
        # Without a spare the run goes on with fewer.
        ("csx3", {"left": without("csx3", "csx4")}, Action.RELAUNCH_SMALLER, "csx1 csx2", ""),
        (
            "csx3",
            {"left": without("csx3"), "states": {"csx4": "MIXED+DRAIN"}},
            Action.RELAUNCH_SMALLER,
            "csx1 csx2",
            "",
        ),
        ("", {"left": without("csx2", "csx3")}, Action.RELAUNCH_SMALLER, "csx1 csx4", ""),
        # A run that is never requeued leaves a blamed node too.
        ("csx3", {"spares": (), "requeues": False}, Action.RELAUNCH_SMALLER, "csx1 csx2", ""),
    ],
)
def test_where_it_goes_on(
    blamed: str, changes: dict[str, Any], action: Action, nodes: str, spares: str
) -> None:
    names = tuple(blamed.split())
    cause = blaming(*names) if names else attribution(Category.UNKNOWN)
    found = place(cause, allocation(**changes))
    assert not isinstance(found, str)
    assert (found.action, found.nodes, found.spares) == (
        action,
        tuple(nodes.split()),
        tuple(spares.split()),
    )


@pytest.mark.parametrize("category", [Category.HEALTH_CHECK, Category.NODE_DRAINED])
def test_nodes_found_unhealthy_before_the_start_leave_fewer_rather_than_a_requeue(
    category: Category,
) -> None:
    """Also where other nodes are free: as after the loss of a node."""
    found = place(blaming("csx2", category=category), allocation(spares=()))
    assert not isinstance(found, str)
    assert (found.action, found.nodes) == (Action.RELAUNCH_SMALLER, ("csx1", "csx3"))
    too_few = place(blaming("csx2", category=category), allocation(spares=(), min_nodes=3))
    assert isinstance(too_few, str)
    assert too_few.endswith("2 nodes are left, at least 3 are needed")
    # A size that Slurm chooses does not change.
    fixed = place(blaming("csx2", category=category), allocation(spares=(), min_nodes=None))
    assert isinstance(fixed, str)
    assert place(blaming("csx9", category=category), allocation()) == (
        f"{category.value} is no cause for it"
    )


@pytest.mark.parametrize(
    ("blamed", "changes", "reason"),
    [
        # A requeue may find another node in place of one that is only blamed.
        ("csx3", {"spares": ()}, "the log names csx3"),
        ("csx3", {"states": {"csx4": "DOWN"}}, "the log names csx3"),
        # Too few are left.
        (
            "",
            {"left": without("csx3", "csx4"), "min_nodes": 3},
            "csx3 is lost (IDLE); 2 nodes are left, at least 3 are needed",
        ),
        # The supervisor itself is on the node.
        ("csx1", {}, "the log names csx1; it is the batch host"),
        ("", {"left": without("csx1")}, "csx1 is lost (IDLE); it is the batch host"),
        # Nothing of it is a node of the attempt.
        ("csx4", {}, "hardware.node is no cause for it"),
        (
            "csx3",
            {"left": without("csx3"), "reserve": 120, "min_time": 3000},
            "2880 s are left of the time limit, less than 3000 s",
        ),
    ],
)
def test_why_it_does_not(blamed: str, changes: dict[str, Any], reason: str) -> None:
    names = tuple(blamed.split())
    cause = blaming(*names) if names else attribution(Category.UNKNOWN)
    assert place(cause, allocation(**changes)) == reason


@pytest.mark.parametrize(
    ("changes", "text"),
    [
        ({"left": without("csx3")}, "csx3 is lost (DOWN); in its place: csx4"),
        ({"left": without("csx3", "csx4")}, "csx3 is lost (DOWN); 2 of 3 nodes are left"),
    ],
)
def test_what_is_said(changes: dict[str, Any], text: str) -> None:
    here = allocation(states={"csx3": "DOWN"}, **changes)
    found = place(blaming("csx3"), here)
    assert not isinstance(found, str)
    assert found.reason == text
    assert lost_nodes(here) == {"csx3": "DOWN"}


@pytest.mark.parametrize(
    "ending",
    [
        {"state": JobState.NODE_FAIL, "flags": frozenset({JobFlag.COMPLETING})},
        # 22.05 shows no base state.
        {"state": None, "flags": frozenset({JobFlag.COMPLETING})},
        {"state": JobState.PENDING},
    ],
)
def test_a_job_that_is_ending_has_not_lost_its_healthy_nodes(ending: dict[str, Any]) -> None:
    left = facts.job(nodes=without("csx1", "csx3"), **ending)
    here = allocation(job=left, states={"csx3": "DOWN+NOT_RESPONDING"})
    assert list(lost_nodes(here)) == ["csx3"]


def test_the_counters_are_those_of_every_restart() -> None:
    lost = allocation(left=without("csx3"))
    decision = decide(situation(Category.UNKNOWN, attribution=blaming("csx3"), allocation=lost))
    assert (decision.action, decision.failures, decision.total) == (Action.SWAP, 1, 1)
    assert decision.placement is not None
    spent = facts.attempts(3, action=Action.RELAUNCH)
    final = decide(
        situation(
            Category.HARDWARE_NODE,
            spent,
            attribution=blaming("csx3"),
            policy=facts.policy(max_restarts=3),
            allocation=lost,
        )
    )
    assert (final.action, final.rule, final.placement) == (Action.LEAVE, "budget", None)


def test_a_size_that_does_not_compile_is_left_out() -> None:
    """The node that is too many stays with the job, and may take the place of another later."""
    lost = {
        "left": without("csx4"),
        "names": HELD,
        "spares": (),
        "min_nodes": 1,
        "states": {"csx4": "DOWN"},
    }
    cause = blaming("csx4")
    found = place(cause, allocation(**lost, refused_sizes=frozenset({3})))
    assert not isinstance(found, str)
    assert (found.action, found.nodes) == (Action.RELAUNCH_SMALLER, ("csx1", "csx2"))
    assert found.spares == ("csx3",)
    assert "2 of 4 nodes are left" in found.reason
    none = place(cause, allocation(**lost, refused_sizes=frozenset({1, 2, 3})))
    assert isinstance(none, str)
    assert none.endswith("3 nodes are left, for which the model does not compile")
