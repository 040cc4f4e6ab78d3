"""A job that requeues itself asks for nothing that somebody would have to take back."""

from typing import Any

import pytest

from slurm_restart.core.attribution import Blame
from slurm_restart.core.exclusions import exclude_events
from slurm_restart.core.history import History, replay
from slurm_restart.core.job import JobState
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.own_requeue import OwnRequeue, plan_own_requeue
from tests.unit.core import facts
from tests.unit.core.facts import NODES, SUBMITTED

NOW = SUBMITTED + 100
END = facts.ended(nodes=NODES[:3], num_nodes=3, at=NOW, start_at=NOW + 30)


def history(*blamed: str, end: EndEvent = END) -> History:
    """A run that excludes these nodes, the first of them for the longest time."""
    events = [
        event
        for age, node in enumerate(reversed(blamed))
        for event in exclude_events(
            [Blame(node=node, evidence="test")], now=NOW - age, until=NOW + 1000, submit_time=1
        )
    ]
    return replay([end, *events])


def planned(
    *blamed: str,
    exc_nodes: tuple[str, ...] = (),
    record: dict[str, Any] | None = None,
    held: int = 3,
    **states: str,
) -> OwnRequeue:
    seen = facts.observation(
        job=facts.job(state=JobState.RUNNING, exc_nodes=exc_nodes, nodes=NODES[:3]),
        comment_record=facts.comment_record(**record or {}),
        nodes=facts.nodes(**states),
        now=float(NOW),
    )
    return plan_own_requeue(seen, history(*blamed), END, requeued=False, held=held)


def test_a_restart_without_blame_sets_the_begin_time_alone() -> None:
    asked = planned()
    assert [str(each) for each in asked.operations("")] == ["update StartTime=now+30"]


@pytest.mark.parametrize(
    ("blamed", "exc_nodes", "states", "record", "excluded", "size"),
    [
        (("csx2",), (), {}, {}, ("csx2",), None),
        (("csx2",), ("csx4",), {}, {}, ("csx4", "csx2"), 2),
        # Fewer healthy nodes are left: smaller, within the minimum.
        (("csx2",), (), {"csx3": "DOWN"}, {}, ("csx2", "csx3"), 2),
        # Too few are healthy: Slurm waits for the least number; all that exist count.
        (("csx2",), (), {"csx3": "DOWN", "csx4": "DOWN"}, {}, ("csx2", "csx3"), 2),
        # Too few exist: the oldest exclusion is dropped.
        (("csx1", "csx2", "csx3"), (), {}, {}, ("csx2", "csx3"), 2),
        (("csx2",), (), {}, {"fixed_size": True}, ("csx2",), None),
        (("csx1", "csx2"), (), {}, {"fixed_size": True}, ("csx2",), None),
        (("csx2",), (), {}, {"min_nodes": 3}, ("csx2",), None),
        (("csx2",), ("csx4",), {}, {"min_nodes": 3}, None, None),
    ],
)  # fmt: skip
def test_exclusions_and_size(
    blamed: tuple[str, ...],
    exc_nodes: tuple[str, ...],
    states: dict[str, str],
    record: dict[str, Any],
    excluded: tuple[str, ...] | None,
    size: int | None,
) -> None:
    asked = planned(*blamed, exc_nodes=exc_nodes, record=record, **states)
    assert asked.job_update.exc_nodes == excluded
    assert asked.job_update.num_nodes == size
    assert asked.job_update.admin_comment is None


def test_a_begin_time_that_is_lost_while_completing_is_not_asked_for() -> None:
    end = facts.ended(nodes=NODES[:3], at=NOW, start_at=NOW)
    seen = facts.observation(job=facts.job(state=JobState.RUNNING), now=float(NOW))
    asked = plan_own_requeue(seen, replay([end]), end, requeued=True, held=3)
    assert asked.start == "now+2"


def test_a_job_that_waits_asks_for_no_size_that_does_not_compile() -> None:
    sick = {"csx2": "DOWN", "csx3": "DOWN", "csx4": "DOWN"}
    assert planned(**sick).job_update.num_nodes == 2
    record = {"no_compile": "2"}
    assert planned(record=record, **sick).job_update.num_nodes is None  # three, as before
    assert planned(record=record, csx2="DOWN", csx4="DOWN").job_update.num_nodes is None


@pytest.mark.parametrize(
    ("record", "held", "blamed", "size"),
    [
        # Three nodes and a spare, which is not waited for where it does not exist.
        ({"spares": 1}, 4, (), None),
        ({"spares": 1}, 4, ("csx1",), 3),
        ({"spares": 1}, 4, ("csx1", "csx2"), 2),
        # A person has made it larger.
        ({}, 4, ("csx1",), None),
        # The attempt went on with three of four nodes.
        ({"num_nodes": 4}, 4, ("csx1",), 3),
    ],
)
def test_the_size_is_compared_with_what_the_job_has_had(
    record: dict[str, Any], held: int, blamed: tuple[str, ...], size: int | None
) -> None:
    assert planned(*blamed, record=record, held=held).job_update.num_nodes == size
