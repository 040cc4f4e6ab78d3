"""pyslurm's objects as this package's facts. Attributes and values are those of pyslurm 25.11.2."""

import sys
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.slurm.pyslurm_facts import answer, to_job, to_node

RUNNING: dict[str, Any] = {
    "id": 7,
    "user_id": 1000,
    "state": "RUNNING",
    "state_reason": None,
    "comment": "csx-restart/1 x",
    "admin_comment": None,
    "submit_time": 1_760_000_000,
    "eligible_time": 1_760_000_000,
    "start_time": 1_760_000_005,
    "end_time": 1_760_003_605,
    "preempt_time": None,
    "time_limit": 60,
    "run_time": 12,
    "requeue_count": 2,
    "is_requeueable": True,
    "num_nodes": 2,
    "allocated_nodes": "csx[1-2]",
    "excluded_nodes": None,
    "batch_host": "csx1",
    "partition": "main,high",
    "reservation": None,
    "constraints": ["ib", "gen2"],
    "priority": 1000,
    "array_id": None,
    "array_task_id": None,
    "standard_output": "/home/u/slurm-7.out",
    "working_directory": "/home/u",
}
NODE: dict[str, Any] = {
    "name": "csx3",
    "state": "DOWN+DRAIN+NOT_RESPONDING",
    "reason": "board",
    "reason_time": 1_760_000_000,
    "partitions": ["main", "high"],
    "active_features": [],
    "total_cpus": 8,
    "real_memory": 512_000,
    "temporary_disk": 0,
    "last_busy_time": 1_760_000_001,
}


def job(**changes: Any) -> SimpleNamespace:
    return SimpleNamespace(**(RUNNING | changes))


def test_a_running_job() -> None:
    found = to_job(job())
    assert (found.job_id, found.uid, found.state) == (7, 1000, JobState.RUNNING)
    assert (found.nodes, found.exc_nodes) == (("csx1", "csx2"), ())
    assert (found.partitions, found.features) == (("main", "high"), "ib,gen2")
    assert (found.time_limit, found.end_time, found.run_time) == (3600, 1_760_003_605, 12)
    assert (found.reason, found.admin_comment, found.name) == ("None", "", "7")
    assert (found.restarts, found.requeue) == (2, True)


def test_completing_hides_the_base_state() -> None:
    found = to_job(job(state="COMPLETING"))
    assert found.state is None
    assert found.flags == {JobFlag.COMPLETING}
    assert found.completing


@pytest.mark.parametrize(
    ("state", "limit", "end"),
    [
        ("PENDING", 60, None),
        ("RUNNING", None, None),
        ("RUNNING", 60, 1_760_003_605),
        ("FAILED", None, 1_760_003_605),
    ],
)
def test_an_estimated_end_is_no_end(state: str, limit: int | None, end: int | None) -> None:
    found = to_job(job(state=state, time_limit=limit))
    assert found.end_time == end
    assert found.time_limit == (None if limit is None else 3600)


def test_what_is_missing() -> None:
    found = to_job(
        job(
            comment=None,
            partition=None,
            allocated_nodes=None,
            constraints=[],
            requeue_count=None,
            array_id=9,
            array_task_id=3,
            state_reason="launch failed requeued held",
        )
    )
    assert (found.comment, found.nodes, found.features, found.restarts) == ("", (), None, 0)
    assert found.name == "9_3"
    assert found.reason == "launch_failed_requeued_held"


def test_a_node() -> None:
    found = to_node(SimpleNamespace(**NODE))
    assert (found.name, found.state) == ("csx3", "DOWN")
    assert found.flags == {"DRAIN", "NOT_RESPONDING"}
    assert (found.reason, found.reason_time) == ("board", 1_760_000_000)
    assert (found.partitions, found.features) == ({"main", "high"}, frozenset())
    assert (found.cpus, found.memory, found.tmp_disk, found.gres) == (8, 512_000, 0, None)
    assert found.last_busy == 1_760_000_001
    assert to_node(SimpleNamespace(**(NODE | {"reason": None}))).reason == ""


def test_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("pyslurm")
    found = {7: job(), 8: job(id=8, user_id=1001)}
    module.Jobs = SimpleNamespace(load=lambda: found)
    module.Nodes = SimpleNamespace(load=lambda: {"csx3": SimpleNamespace(**NODE)})
    response = SimpleNamespace(is_responding=True)
    module.slurmctld = SimpleNamespace(ping_primary=lambda: response)
    monkeypatch.setitem(sys.modules, "pyslurm", module)
    assert [one.job_id for one in answer("jobs", None)] == [7, 8]
    assert [one.job_id for one in answer("jobs", 1001)] == [8]
    assert [one.name for one in answer("nodes", None)] == ["csx3"]
    assert answer("ping", None) is True
    with pytest.raises(ValueError, match="submit"):
        answer("submit", None)
