"""Which nodes are checked and when, and how an attempt ends whose nodes are not healthy."""

import json
from dataclasses import replace
from types import SimpleNamespace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.job import NodeState
from slurm_restart.core.node_answers import CheckTime
from slurm_restart.errors import ConfigError, SlurmError
from slurm_restart.slurm.process import Completed
from slurm_restart.supervise.attempt_result import preparation_failure
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.node_health import (
    RULE,
    DueCheck,
    NodesError,
    check_nodes,
    check_time,
    drained_nodes,
    due_check,
)
from slurm_restart.trainer.health_check import HealthCheck
from slurm_restart.trainer.rundir import AttemptDir, RunDir

JOB = JobEnvironment(job_id=7, restarts=0, nodes=("csx1", "csx2"), num_nodes=2, node_name="csx1")
CHECK = HealthCheck(command="true", timeout=9)


class FakeSlurm:
    """Nodes as they are given, and what srun prints."""

    def __init__(self, answers=(), *, code=0, stderr="", drained=()):
        lines = [json.dumps({"node": node, "notes": (), **rest}) for node, rest in answers]
        self.done = Completed(code, "\n".join(lines), stderr)
        self.states = tuple(
            NodeState(name=name, state="IDLE", reason=reason, flags=frozenset({"DRAIN"}))
            for name, reason in drained
        )
        self.asked = []

    def nodes_named(self, _names):
        return (*self.states, NodeState(name="csx1", state="ALLOCATED"))

    def check_nodes(self, job_id, nodes, command, *, timeout):
        self.asked.append((job_id, nodes, json.loads(command[-1]), timeout))
        return self.done


GOOD, BAD = {"failure": None}, {"failure": "disk: full", "check": "disk"}


@pytest.fixture
def check(run):
    """Check the nodes; return what was logged and what the user was told."""

    def check(slurm, health_check=CHECK, *, left_before=False, job=JOB):
        plan = replace(run.plan, health_check=health_check)
        due = DueCheck(plan=plan, run_dir=RunDir(run.model), left_before=left_before)
        logged = []
        check_nodes(due, job, slurm, logged.append)
        return logged

    return check


def test_all_nodes_are_asked_and_pass(check, run):
    slurm = FakeSlurm([("csx1", GOOD), ("csx2", GOOD | {"notes": ("gpu: no tools",)})])
    assert check(slurm, HealthCheck(checks=("gpu",), command="x", timeout=9)) == [
        "health check on csx2: gpu: no tools"
    ]
    [(job_id, nodes, request, timeout)] = slurm.asked
    assert (job_id, nodes) == (7, ("csx1", "csx2"))
    assert request["checks"] == ["gpu"]
    assert (request["command"], request["timeout"]) == ("x", 9)
    assert (request["work_dir"], request["run_dir"]) == (run.plan.work_dir, str(run.model))
    assert 9 < timeout < check_time(replace(run.plan, health_check=CHECK))


def test_what_srun_says_of_a_task_that_the_check_has_ended_is_no_evidence(check):
    ended = "srun: error: csx2: task 1: Killed\n"
    slurm = FakeSlurm([("csx1", GOOD)], code=-9, stderr=ended)
    with pytest.raises(NodesError, match="csx2: no answer within 9 s"):
        check(slurm)
    # Where srun ended by itself, something else has killed the task.
    slurm = FakeSlurm([("csx1", GOOD)], code=9, stderr=ended)
    with pytest.raises(NodesError, match="csx2: task 1: Killed"):
        check(slurm)


def test_a_port_is_open_only_where_the_network_is_checked(check):
    for checks, is_open in ((("disk",), False), (("network",), True)):
        slurm = FakeSlurm([("csx1", GOOD), ("csx2", GOOD)])
        check(slurm, HealthCheck(checks=checks))
        assert bool(slurm.asked[0][2]["port"]) is is_open


@pytest.mark.parametrize(
    ("answers", "stderr", "said"),
    [
        ([("csx1", GOOD), ("csx2", BAD)], "", "disk: full"),
        ([("csx1", GOOD)], "", "no answer within 9 s"),
        (
            [("csx1", GOOD)],
            "srun: error: Task launch failed on node csx2: no answer\nsrun: error: csx22: x\n",
            "srun: error: Task launch failed on node csx2: no answer",
        ),
    ],
)
def test_a_node_that_fails_or_does_not_answer_is_left(check, answers, stderr, said):
    with pytest.raises(NodesError) as raised:
        check(FakeSlurm(answers, stderr=stderr))
    result = preparation_failure(raised.value, None, now=5)
    assert result.end.category == "health_check"
    assert result.end.blamed_nodes == ("csx2",)
    assert said in result.end.reason
    report = result.self_report
    assert (report["cause"], report["rule"], report["nodes"]) == (
        Category.HEALTH_CHECK,
        RULE,
        "csx2",
    )
    assert report["said"] == said.replace(" ", "_").replace(":_", ":_")
    assert report["exit"] == 75


SPARE = replace(JOB, held=("csx1", "csx2", "csx3"), spares=("csx3",))


@pytest.mark.parametrize("answer", [[("csx3", BAD)], []])
def test_a_spare_that_fails_or_does_not_answer_is_only_not_used(run, answer):
    slurm = FakeSlurm([("csx1", GOOD), ("csx2", GOOD), *answer])
    due = DueCheck(plan=replace(run.plan, health_check=CHECK), run_dir=run.dir, left_before=False)
    why = "disk: full" if answer else "no answer within 9 s"
    assert check_nodes(due, SPARE, slurm, print) == {"csx3": why}
    assert slurm.asked[0][1] == ("csx1", "csx2", "csx3")


def test_beside_a_node_of_the_attempt_a_spare_is_left_too(check):
    with pytest.raises(NodesError) as raised:
        check(FakeSlurm([("csx1", GOOD), ("csx2", BAD), ("csx3", BAD)]), job=SPARE)
    assert raised.value.left == {"csx2": "disk: full", "csx3": "disk: full"}


def test_one_node_is_left_at_once_if_a_spare_passes(check):
    job = replace(JOB, nodes=("csx1",), num_nodes=1, spares=("csx3",))
    with pytest.raises(NodesError, match="csx1: disk: full"):
        check(FakeSlurm([("csx1", BAD), ("csx3", GOOD)]), job=job, left_before=True)


def test_what_is_reported_of_several_nodes_was_found_on_the_first():
    # Nodes that have not answered come last here, and in the order of their names in the report.
    found = {"csx3": "disk: full", "csx2": "no answer within 9 s"}
    report = preparation_failure(NodesError(Category.HEALTH_CHECK, found), None, now=5).self_report
    assert (report["nodes"], report["said"]) == ("csx2,csx3", "no_answer_within_9_s")


@pytest.mark.parametrize(
    ("answers", "category"),
    [
        ([("csx1", BAD), ("csx2", BAD)], Category.CONFIG),
        ([("csx1", BAD | {"code": 127}), ("csx2", BAD | {"code": 127})], Category.CONFIG),
        ([], Category.STORAGE_IO),
        (
            [("csx1", GOOD), ("csx2", {"failure": "network: no", "check": "network"})],
            Category.NETWORK_FABRIC,
        ),
    ],
)
def test_where_no_single_node_is_at_fault_none_is_named(check, answers, category):
    with pytest.raises((ConfigError, NodesError, TimeoutError)) as raised:
        check(FakeSlurm(answers))
    result = preparation_failure(raised.value, None, now=5)
    assert result.end.category == category.value
    assert result.self_report["nodes"] is None
    assert result.end.blamed_nodes == ()


def test_one_node_alone_is_left_once(check):
    job = replace(JOB, nodes=("csx1",), num_nodes=1)
    with pytest.raises(NodesError):
        check(FakeSlurm([("csx1", BAD)]), job=job)
    with pytest.raises(ConfigError, match="no node is excluded"):
        check(FakeSlurm([("csx1", BAD)]), job=job, left_before=True)


def test_that_srun_cannot_start_the_check_is_told(check):
    refusal = "srun: error: Unable to create step: Invalid job"
    with pytest.raises(SlurmError, match=f"srun: {refusal} .exit code 1"):
        check(FakeSlurm(code=1, stderr=refusal))


def test_a_record_names_as_many_nodes_as_it_may():
    names = {f"rack{number:05d}-a": "x" for number in range(0, 4000, 3)}
    result = preparation_failure(NodesError(Category.HEALTH_CHECK, names), None, now=5)
    assert 100 < len(result.self_report["nodes"]) <= 160


@pytest.mark.parametrize(
    ("health_check", "job", "end", "due"),
    [
        (HealthCheck(), JOB, None, False),
        (CHECK, replace(JOB, job_id=None), None, False),
        (CHECK, replace(JOB, nodes=()), None, False),
        (CHECK, JOB, None, True),
        (CHECK, JOB, SimpleNamespace(category="timeout", rule=""), False),
        (CHECK, JOB, SimpleNamespace(category="from a later release", rule=""), True),
        (CHECK, JOB, SimpleNamespace(category="health_check", rule=RULE), True),
        (replace(CHECK, when=CheckTime.NEVER), JOB, None, False),
    ],
)
def test_when_a_check_is_due(run, monkeypatch, health_check, job, end, due):
    earlier = (AttemptDir(run.model / "0", 0),)
    monkeypatch.setattr(RunDir, "attempts", lambda _: earlier)
    monkeypatch.setattr(AttemptDir, "end", lambda _: end)
    plan = replace(run.plan, health_check=health_check)
    found = due_check(plan, RunDir(run.model), AttemptDir(run.model / "1", 1), job)
    assert (found is not None) is due
    if found is not None:
        assert found.left_before is (end is not None and end.rule == RULE)


def test_a_first_attempt_is_checked(run):
    plan = replace(run.plan, health_check=CHECK)
    assert due_check(plan, RunDir(run.model), AttemptDir(run.model / "0", 0), JOB) is not None


def test_a_run_without_a_check_waits_for_none(run):
    assert check_time(run.plan) == 0


@pytest.mark.parametrize(
    ("reason", "told"), [("", "drained: no reason given"), ("fan\x07", "drained: fan\\x07")]
)
def test_drained_nodes_of_others_are_no_concern(reason, told):
    slurm = FakeSlurm(drained=[("csx9", "x"), ("csx2", reason)])
    assert drained_nodes(slurm, ("csx1", "csx2")) == {"csx2": told}
