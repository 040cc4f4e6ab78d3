"""pyslurm's objects as this package's facts.

The attributes and their values were recorded with pyslurm 25.11.2 on Slurm 25.11.5, together with
what squeue and scontrol printed of the same jobs and nodes: see tests/contract/record.py.
"""

import json
import sys
from dataclasses import replace
from pathlib import Path
from types import ModuleType, SimpleNamespace
from typing import Any

import pytest

from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.slurm import parse
from slurm_restart.slurm.parse_nodes import parse_nodes
from slurm_restart.slurm.pyslurm_facts import answer, to_job, to_node
from tests.unit.slurm.test_parse import MARK

RECORDED = Path(__file__).parent / "recorded" / "pyslurm" / "25.11"
NOW = 1_796_000_000
"""Soon after the recording."""
JOBS = sorted(path.name.partition(".")[0] for path in RECORDED.glob("*.rows"))


def recorded(name: str, **changes: Any) -> SimpleNamespace:
    """An object as pyslurm has shown it."""
    values: dict[str, Any] = json.loads((RECORDED / f"{name}.pyslurm.json").read_text())
    return SimpleNamespace(**(values | changes))


def of_commands(name: str) -> Job:
    """The same job as the commands showed it, without what the back end leaves out."""
    (record,) = parse.job_records((RECORDED / f"{name}.rows").read_text(), MARK)
    (detail,) = parse.detail_records((RECORDED / f"{name}.details").read_text(), MARK)
    return replace(
        parse.to_job(record, detail),
        exit_code=0,
        signal=0,
        std_out=None,
        min_cpus=None,
        min_memory=None,
        min_tmp_disk=None,
        tres_per_node=None,
    )


@pytest.mark.parametrize("name", JOBS)
def test_a_job_is_what_the_commands_show(name: str) -> None:
    found = to_job(recorded(name), NOW)
    # The two were asked one after the other.
    run_time = of_commands(name).run_time
    assert run_time is not None
    assert found.run_time in (run_time, run_time + 1)
    assert replace(found, run_time=run_time) == of_commands(name)


def test_the_recorded_jobs_are_in_all_states() -> None:
    found = [to_job(recorded(name), NOW) for name in JOBS]
    completing = [job for job in found if job.flags == {JobFlag.COMPLETING}]
    assert len(completing) == 3
    assert {job.state for job in completing} == {None}
    assert {job.state for job in found} == {
        None,
        JobState.PENDING,
        JobState.RUNNING,
        JobState.COMPLETED,
        JobState.FAILED,
    }


@pytest.mark.parametrize(
    ("limit", "end", "expected"),
    [
        (None, NOW + 4_294_967_236, None),
        (None, NOW - 9, NOW - 9),
        (60, NOW + 3600, NOW + 3600),
        (None, None, None),
    ],
)
def test_an_estimate_without_a_limit_is_no_end(
    limit: int | None, end: int | None, expected: int | None
) -> None:
    found = to_job(recorded("running-hostile", time_limit=limit, end_time=end), NOW)
    assert found.end_time == expected
    assert found.time_limit == (None if limit is None else 3600)


def test_tasks_of_an_array() -> None:
    first, waiting = to_job(recorded("array-task-0"), NOW), to_job(recorded("array"), NOW)
    assert (first.array_task_id, first.is_waiting_array) == (0, False)
    assert first.name == f"{first.array_job_id}_0"
    assert (waiting.array_task_id, waiting.is_waiting_array) == (None, True)
    other = to_job(recorded("array-task-0", array_task_id=3), NOW)
    assert other.name == f"{first.array_job_id}_3"


def test_other_values_of_a_job() -> None:
    constraints = ["ib&gen2", "rack1"]  # as pyslurm splits an expression: at its commas
    reason = "launch failed requeued held"
    found = to_job(recorded("held", constraints=constraints, state_reason=reason), NOW)
    assert found.features == "ib&gen2,rack1"
    assert found.reason == "launch_failed_requeued_held"


def test_nodes_are_what_the_commands_show() -> None:
    expected = parse_nodes((RECORDED / "nodes.txt").read_text())
    found = [to_node(recorded(node.name)) for node in expected]
    assert found == [replace(node, gres=None) for node in expected]
    assert [(node.state, sorted(node.flags)) for node in found] == [
        ("IDLE", []),
        ("IDLE", ["DRAIN"]),
        ("DOWN", ["DRAIN"]),
    ]
    assert [node.tmp_disk for node in found] == [0, 0, 0]


class WithForeignText:
    """A job with a comment that is not UTF-8."""

    id = 9
    user_id = 5

    def __getattr__(self, name: str) -> Any:
        if name == "comment":
            return b"caf\xe9".decode()
        return getattr(recorded("held"), name)


def test_requests(monkeypatch: pytest.MonkeyPatch) -> None:
    module: Any = ModuleType("pyslurm")
    jobs = {7: recorded("held", id=7), 8: recorded("held", id=8, user_id=1), 9: WithForeignText()}
    nodes = {"csx3": recorded("csx3", slurmd_start_time=1_795_990_000)}
    module.Jobs = SimpleNamespace(load=lambda: jobs)
    module.Nodes = SimpleNamespace(load=lambda: nodes)
    monkeypatch.setitem(sys.modules, "pyslurm", module)
    assert answer("jobs", None) == (to_job(jobs[7], NOW), to_job(jobs[8], NOW), 9)
    assert answer("jobs", 1) == (to_job(jobs[8], NOW),)
    assert answer("nodes", None) == ((to_node(nodes["csx3"]),), (1_795_990_000,))
    with pytest.raises(ValueError, match="submit"):
        answer("submit", None)
