"""An attempt's own job judges its end by the rules of the hook, with what Slurm shows."""

from typing import Any

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.journal_events import Action, ExcludeEvent
from slurm_restart.core.judge_end import Judgement
from slurm_restart.core.own_end import OwnEnd, is_requeued, judge_own_end
from slurm_restart.core.restart_limits import SitePolicy
from tests.unit.core import facts
from tests.unit.core.facts import COMPLETING, NODES, SUBMITTED

RUNNING = {"state": JobState.RUNNING}
# 22.05 shows no base state while a job is COMPLETING.
ENDING: dict[str, Any] = {"state": None, "flags": frozenset({COMPLETING})}
REQUEUED = ENDING | {"restarts": 1}
HELD_JOB = REQUEUED | {"reason": "job_requeued_in_held_state", "priority": 0}


def judged(
    shown: dict[str, Any],
    *,
    before: int = 0,
    by_itself: bool = True,
    named: tuple[str, ...] = (),
    states: dict[str, str] | None = None,
    **report: Any,
) -> Judgement:
    """The judgement of an attempt of a run with three restarts, after some without progress."""
    return judge_own_end(
        OwnEnd(
            attempt=before,
            restarts=0,
            nodes=NODES[:3],
            exit_code=1,
            by_itself=by_itself,
            report=facts.comment_record(**report),
            named=named,
        ),
        job(**shown),
        facts.nodes(**states or {}),
        facts.attempts(before),
        site=SitePolicy(),
        now=SUBMITTED + 100,
    )


def job(**shown: Any) -> Job:
    return facts.job(**{"run_time": 600, "time_limit": 3600} | shown)


@pytest.mark.parametrize(
    ("shown", "by_itself", "states", "category", "action"),
    [
        (RUNNING, True, {}, Category.UNKNOWN, Action.REQUEUE),
        (RUNNING, True, {"csx2": "DOWN"}, Category.HARDWARE_NODE, Action.REQUEUE),
        (RUNNING, False, {}, Category.UNKNOWN, Action.REQUEUE),
        # A person cancels the job; also just after its program has failed.
        (ENDING, False, {}, Category.CANCELLED, Action.LEAVE),
        (ENDING, True, {}, Category.CANCELLED, Action.LEAVE),
        (ENDING | {"state": JobState.CANCELLED}, True, {}, Category.CANCELLED, Action.LEAVE),
        (ENDING | {"reason": "TimeLimit", "run_time": 3600}, False, {}, Category.TIMEOUT,
         Action.REQUEUE),
        # Slurm has requeued the job: a node, a person or a preemption.
        (REQUEUED, False, {"csx2": "DOWN"}, Category.HARDWARE_NODE, Action.ADJUST),
        (REQUEUED, False, {}, Category.REQUEUED, Action.ADJUST),
        (REQUEUED | {"state": JobState.PENDING}, False, {}, Category.REQUEUED, Action.ADJUST),
        (HELD_JOB, False, {}, Category.HELD, Action.LEAVE),
    ],
)  # fmt: skip
def test_slurms_facts_and_the_report_give_the_cause(
    shown: dict[str, Any],
    by_itself: bool,
    states: dict[str, str],
    category: Category,
    action: Action,
) -> None:
    rule = "supervisor.terminated" if not by_itself else None
    found = judged(shown, by_itself=by_itself, states=states, rule=rule)
    assert (found.attribution.category, found.decision.action) == (category, action)


@pytest.mark.parametrize("before", range(5))
def test_the_budget_is_exact(before: int) -> None:
    found = judged(RUNNING, before=before)
    assert found.decision.action is (Action.REQUEUE if before < 3 else Action.LEAVE)
    assert found.decision.failures == before + 1


def test_restarts_in_place_are_counted_once() -> None:
    found = judged(RUNNING, before=2, in_place=2, in_place_failures=2)
    assert found.decision.failures == 3
    assert found.decision.total == 3


def test_a_job_that_a_person_may_not_have_requeued_ends() -> None:
    assert judged(RUNNING | {"requeue": False}).decision.action is Action.LEAVE
    assert judged(REQUEUED, before=3, by_itself=False, states={"csx1": "DOWN"}).decision.action is (
        Action.CANCEL
    )


def test_only_nodes_of_the_job_are_excluded() -> None:
    found = judged(RUNNING, cause=Category.HARDWARE_ACCELERATOR, rule="a.b", named=("csx2", "csx4"))
    events = [event for event in found.events if isinstance(event, ExcludeEvent)]
    assert [event.node for event in events] == ["csx2"]


@pytest.mark.parametrize(
    ("shown", "running", "requeued"),
    [
        (RUNNING, True, False),
        (ENDING, False, False),
        (REQUEUED, False, True),
        ({"state": JobState.PENDING}, False, True),
        ({"state": JobState.RUNNING, "flags": frozenset({JobFlag.COMPLETING})}, False, False),
    ],
)
def test_what_slurm_shows_of_the_job(shown: dict[str, Any], running: bool, requeued: bool) -> None:
    assert job(**shown).running is running
    assert is_requeued(job(**shown), 0) is requeued
