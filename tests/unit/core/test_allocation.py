"""When the next attempt can start in the same allocation, and why it cannot."""

from typing import Any

import pytest

from slurm_restart.core.allocation import Allocation
from slurm_restart.core.attribution import Blame
from slurm_restart.core.category import Category
from slurm_restart.core.decision import decide
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.journal_events import Action
from slurm_restart.core.placement import why_not_in_place
from tests.unit.core import facts
from tests.unit.core.facts import NODES, SUBMITTED, attribution, situation

IN_PLACE = {
    Category.NETWORK_FABRIC,
    Category.NETWORK_RENDEZVOUS,
    Category.STORAGE_IO,
    Category.DEPENDENCY_SERVICE,
    Category.SOFTWARE_CRASH,
    Category.DATA_CORRUPT,
    Category.NUMERIC_NAN,
    Category.HANG,
    Category.CHECKPOINT_CORRUPT,
    Category.UNKNOWN,
}


def job(**changes: Any) -> Any:
    """The job in the middle of its time."""
    values = {"state": JobState.RUNNING, "nodes": NODES[:3], "time_limit": 3600, "run_time": 600}
    return facts.job(**values | changes)


def allocation(**changes: Any) -> Allocation:
    """A whole allocation, in which 3000 s less 120 s are left."""
    values: dict[str, Any] = {
        "restarts": 0,
        "names": NODES[:3],
        "job": job(),
        "nodes": facts.nodes(csx1="ALLOCATED", csx2="MIXED"),
        "reserve": 120,
        "min_time": 600,
    }
    return Allocation(**values | changes)


@pytest.mark.parametrize("category", Category)
def test_causes_that_are_not_tied_to_a_node(category: Category) -> None:
    reason = why_not_in_place(attribution(category), allocation())
    assert (reason is None) is (category in IN_PLACE)


@pytest.mark.parametrize(
    ("changes", "reason"),
    [
        ({}, None),
        ({"doubt": "records are missing"}, "records are missing"),
        ({"job": None}, "Slurm did not answer in time"),
        ({"job": job(state=JobState.COMPLETED)}, "Slurm shows the job COMPLETED"),
        ({"job": job(state=None, flags={JobFlag.COMPLETING})}, "Slurm shows the job COMPLETING"),
        ({"job": job(flags={JobFlag.COMPLETING})}, "Slurm shows the job RUNNING"),
        ({"job": job(restarts=1)}, "Slurm requeued it"),
        ({"job": job(restarts=1), "restarts": 1}, None),
        (
            {"job": job(preempt_time=SUBMITTED + 9, start_time=SUBMITTED + 5)},
            "a job of higher priority takes the nodes",
        ),
        # Of an earlier start of the job.
        ({"job": job(preempt_time=SUBMITTED, start_time=SUBMITTED + 5)}, None),
        ({"job": job(priority=0)}, "the job is held"),
        ({"is_own_run": False}, "the job's Comment holds no record of this run"),
        ({"job": job(nodes=NODES[:4])}, "the job has other nodes than at its start"),
        (
            {"job": job(nodes=NODES[:2])},
            "csx3 is lost (IDLE); 2 nodes are left, at least 3 are needed",
        ),
        ({"job": job(nodes=()), "names": ()}, "the job's nodes are not known"),
        ({"nodes": facts.nodes(csx3="MIXED+DRAIN")}, "csx3 is MIXED+DRAIN"),
        (
            {"nodes": facts.nodes(csx3="DOWN")},
            "csx3 is lost (DOWN); 2 nodes are left, at least 3 are needed",
        ),
        ({"nodes": facts.nodes(csx4="DOWN")}, None),
        ({"nodes": facts.nodes()[:2]}, "csx3 is not known"),
        ({"job": job(time_limit=None)}, None),
        ({"job": job(run_time=2880)}, None),
        ({"job": job(run_time=2881)}, "599 s are left of the time limit, less than 600 s"),
        ({"job": job(run_time=4000)}, "0 s are left of the time limit, less than 600 s"),
        ({"job": job(run_time=3480), "min_time": 0}, None),
        # Without a setting a tenth of the time limit, 10 min at most.
        ({"job": job(run_time=3120), "min_time": None}, None),
        (
            {"job": job(run_time=3121), "min_time": None},
            "359 s are left of the time limit, less than 360 s",
        ),
        ({"job": job(time_limit=600, run_time=420), "min_time": None}, None),
        (
            {"job": job(time_limit=600, run_time=421), "min_time": None},
            "59 s are left of the time limit, less than 60 s",
        ),
        (
            {"job": job(time_limit=600, run_time=12)},
            "468 s are left of the time limit, less than 600 s",
        ),
        ({"job": job(time_limit=86_400, run_time=85_680), "min_time": None}, None),
        (
            {"job": job(time_limit=86_400, run_time=85_681), "min_time": None},
            "599 s are left of the time limit, less than 600 s",
        ),
        ({"job": job(time_limit=None), "min_time": None}, None),
    ],
)
def test_an_allocation(changes: dict[str, Any], reason: str | None) -> None:
    assert why_not_in_place(attribution(Category.UNKNOWN), allocation(**changes)) == reason


def test_a_node_that_the_log_names() -> None:
    blamed = attribution(Category.UNKNOWN, blamed=(Blame(node="csx2", evidence="Xid 79"),))
    assert why_not_in_place(blamed, allocation()) == "the log names csx2"


def test_the_decision_names_the_tier() -> None:
    here = decide(situation(Category.UNKNOWN, allocation=allocation()))
    assert (here.action, here.not_in_place, here.failures) == (Action.RELAUNCH, None, 1)
    away = decide(situation(Category.UNKNOWN, allocation=allocation(job=None)))
    assert away.action is Action.REQUEUE
    assert away.not_in_place == "Slurm did not answer in time"
    asked = decide(situation(Category.UNKNOWN))
    assert (asked.action, asked.not_in_place) == (Action.REQUEUE, None)


@pytest.mark.parametrize(
    ("requeues", "job_changes", "action", "rule", "not_in_place"),
    [
        # A person has turned the flag off.
        (True, {}, Action.LEAVE, "requeue-disabled", None),
        # The submission has.
        (False, {}, Action.RELAUNCH, "restart", None),
        (False, {"priority": 0}, Action.LEAVE, "requeue-disabled", "the job is held"),
    ],
)
def test_a_job_that_is_not_requeued(
    requeues: bool,
    job_changes: dict[str, Any],
    action: Action,
    rule: str,
    not_in_place: str | None,
) -> None:
    here = allocation(requeues=requeues, job=job(**job_changes))
    decision = decide(situation(Category.UNKNOWN, requeueable=False, allocation=here))
    assert (decision.action, decision.rule) == (action, rule)
    assert decision.not_in_place == not_in_place


def test_a_job_that_requeues_itself_says_why_it_does() -> None:
    """It judges the end again, by what Slurm shows, and not by the allocation."""
    first = decide(situation(Category.UNKNOWN, allocation=allocation(job=job(priority=0))))
    again = decide(situation(Category.UNKNOWN))
    assert again.explained_by(first).not_in_place == first.not_in_place is not None
    assert again.explained_by(None) == again
    final = decide(situation(Category.COMPLETED))
    assert final.explained_by(first) == final


@pytest.mark.parametrize("category", sorted(IN_PLACE, key=lambda category: category.value))
def test_a_restart_in_place_is_at_once_unless_the_cause_is_outside(category: Category) -> None:
    decision = decide(situation(category, run_time=5, allocation=allocation(others_wait=True)))
    outside = category in {Category.STORAGE_IO, Category.DEPENDENCY_SERVICE}
    assert decision.action is Action.RELAUNCH
    assert (decision.delay > 0) is outside


@pytest.mark.parametrize(
    ("changes", "search", "in_place"),
    [
        ({"min_nodes": 1}, True, False),
        ({"min_nodes": 1}, False, True),
        # The run would lose its nodes to the jobs that wait for them.
        ({"min_nodes": 1, "others_wait": True}, True, True),
    ],
)
def test_the_second_failure_without_a_cause_begins_a_search(changes, search, in_place) -> None:
    before = facts.attempts(1, action=Action.RELAUNCH)
    policy = facts.policy(max_restarts=9, node_search=search)
    here = allocation(**changes)
    decision = decide(situation(Category.UNKNOWN, before, policy=policy, allocation=here))
    assert (decision.action is Action.RELAUNCH) is in_place
    hung = facts.attempts(1, category=Category.HANG, action=Action.RELAUNCH)
    decision = decide(situation(Category.HANG, hung, policy=policy, allocation=here))
    assert (decision.action is Action.RELAUNCH) is in_place


@pytest.mark.parametrize("limit", [0, 1, 3])
def test_exactly_so_many_restarts_in_place(limit: int) -> None:
    policy, count = facts.policy(max_restarts=limit, node_search=False), 0
    while True:
        before = facts.attempts(count, action=Action.RELAUNCH)
        decision = decide(
            situation(Category.UNKNOWN, before, policy=policy, allocation=allocation())
        )
        if decision.action is not Action.RELAUNCH:
            break
        count += 1
    assert (count, decision.action, decision.rule) == (limit, Action.LEAVE, "budget")
