"""On which nodes of its job an attempt starts when some of them are not healthy."""

import json
from dataclasses import replace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.core.job_comment import format_comment
from slurm_restart.core.recovery import Recovery
from slurm_restart.errors import ConfigError, SlurmUnavailableError
from slurm_restart.slurm.process import Completed
from slurm_restart.supervise.choose_nodes import NodeChoice
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.node_health import DueCheck, NodesError
from slurm_restart.trainer.health_check import HealthCheck

ALL = ("csx1", "csx2", "csx3", "csx4")
GOOD, BAD = {"failure": None, "notes": ()}, {"failure": "fan 3", "check": "command", "notes": ()}

FAILS = "{} fails the health check: fan 3"
TOO_FEW = "{} nodes are left, at least {} are needed"


class FakeSlurm:
    """A job on all nodes; some are drained, and some fail the check."""

    def __init__(self, comment, *, bad=(), drained=(), waits=False, error=None):
        self.comment, self.bad, self.error, self.others = comment, bad, error, waits
        self.states = tuple(
            NodeState(
                name=name,
                state="MIXED",
                reason="fan" if name in drained else "",
                flags=frozenset({"DRAIN"} if name in drained else ()),
            )
            for name in (*ALL, "csx9")
        )
        self.asked = []

    def nodes(self):
        return self.states

    def nodes_named(self, names):
        return tuple(node for node in self.states if node.name in names)

    def job(self, job_id):
        return Job(job_id=job_id, uid=1, state=JobState.RUNNING, nodes=ALL, comment=self.comment)

    def others_wait(self, _job):
        return self.others

    def check_nodes(self, _job_id, names, _command, *, timeout):
        self.asked.append((*names, timeout)[:-1])
        if self.error is not None:
            raise self.error
        lines = [
            json.dumps({"node": name, **(BAD if name in self.bad else GOOD)}) for name in names
        ]
        return Completed(0, "\n".join(lines), "")


@pytest.fixture
def choose(run):
    """Choose nodes; return the choice, what was logged, what the user was told, and Slurm."""

    def choose(*, nodes=3, least=3, recovery=Recovery.AUTO, leave=False, comment="", **cluster):
        plan = replace(
            run.plan,
            num_nodes=nodes,
            min_nodes=least,
            policy=replace(run.plan.policy, recovery=recovery),
            health_check=HealthCheck(command="true", timeout=9),
            leave_drained=leave,
        )
        record = replace(plan.comment_record, **comment) if comment else plan.comment_record
        slurm = FakeSlurm(format_comment(record), **cluster)
        job = JobEnvironment(
            job_id=7, restarts=0, nodes=ALL, num_nodes=4, node_name="csx1", held=ALL, layout=ALL
        ).using(nodes)
        logged, told = [], []
        due = DueCheck(plan=plan, run_dir=run.dir, left_before=False)
        choice = NodeChoice(due=due, slurm=lambda: slurm, log=logged.append, warn=told.append)
        try:
            return choice.choose(job), logged, told, slurm
        except NodesError as error:
            return error, logged, told, slurm

    return choose


@pytest.mark.parametrize(
    ("changes", "nodes", "spares", "told"),
    [
        ({}, "csx1 csx2 csx3", "csx4", []),
        (
            {"bad": ("csx2",)},
            "csx1 csx3 csx4",
            "",
            ["swap: csx2 fails the health check: fan 3; in its place: csx4"],
        ),
        # Whether others wait for nodes changes nothing.
        (
            {"bad": ("csx2",), "nodes": 4, "least": 3, "waits": True},
            "csx1 csx3 csx4",
            "",
            ["relaunch_smaller: csx2 fails the health check: fan 3; 3 of 4 nodes are left"],
        ),
        # The spare fails it too.
        (
            {"bad": ("csx2", "csx4"), "least": 2},
            "csx1 csx3",
            "",
            [
                "relaunch_smaller: csx2 fails the health check: fan 3; 2 of 3 nodes are left",
                "the spare csx4 is not used, as it fails the health check: fan 3",
            ],
        ),
        (
            {"bad": ("csx4",)},
            "csx1 csx2 csx3",
            "",
            ["the spare csx4 is not used, as it fails the health check: fan 3"],
        ),
        (
            {"bad": ("csx2",), "least": 2, "recovery": Recovery.IN_PLACE, "nodes": 4},
            "csx1 csx3 csx4",
            "",
            ["relaunch_smaller: csx2 fails the health check: fan 3; 3 of 4 nodes are left"],
        ),
        # A size that does not compile: the node that is too many is a spare.
        (
            {"bad": ("csx2",), "nodes": 4, "least": 1, "comment": {"no_compile": "3"}},
            "csx1 csx3",
            "csx4",
            ["relaunch_smaller: csx2 fails the health check: fan 3; 2 of 4 nodes are left"],
        ),
        # Once the site resumes it, it may be used.
        (
            {"drained": ("csx2",)},
            "csx1 csx3 csx4",
            "csx2",
            ["swap: csx2 is drained: fan; in its place: csx4"],
        ),
        (
            {"drained": ("csx2",), "bad": ("csx4",), "least": 2},
            "csx1 csx3",
            "csx2",
            [
                "swap: csx2 is drained: fan; in its place: csx4",
                "relaunch_smaller: csx4 fails the health check: fan 3; 2 of 3 nodes are left",
            ],
        ),
        (
            {"drained": ("csx2",), "least": 2, "nodes": 4, "leave": False},
            "csx1 csx3 csx4",
            "csx2",
            ["relaunch_smaller: csx2 is drained: fan; 3 of 4 nodes are left"],
        ),
    ],
)
def test_where_it_starts(choose, changes, nodes, spares, told):
    chosen, logged, said, slurm = choose(**changes)
    assert (chosen.job.nodes, chosen.job.spares) == (tuple(nodes.split()), tuple(spares.split()))
    assert (chosen.job.num_nodes, chosen.job.held) == (len(chosen.job.nodes), ALL)
    assert said == told
    assert chosen.unhealthy == dict.fromkeys(changes.get("bad", ()), "fan 3")
    assert len(slurm.asked) == len(logged) == 1
    assert not set(slurm.asked[0]).intersection(changes.get("drained", ()))
    assert "csx1" in logged[0]
    assert logged[0].startswith("health check passed on ")


@pytest.mark.parametrize(
    ("changes", "category", "why"),
    [
        ({"bad": ("csx2",), "recovery": Recovery.REQUEUE}, Category.HEALTH_CHECK, None),
        (
            {"bad": ("csx2", "csx3"), "least": 3},
            Category.HEALTH_CHECK,
            f"{FAILS.format('csx2')}; {FAILS.format('csx3')}; {TOO_FEW.format(2, 3)}",
        ),
        (
            {"bad": ("csx1",)},
            Category.HEALTH_CHECK,
            "csx1 fails the health check: fan 3; it is the batch host",
        ),
        (
            {"drained": ("csx2",), "nodes": 4, "least": 4},
            Category.NODE_DRAINED,
            "csx2 is drained: fan; 3 nodes are left, at least 4 are needed",
        ),
        # The second round leaves too few.
        (
            {"drained": ("csx2",), "bad": ("csx3",)},
            Category.HEALTH_CHECK,
            "csx3 fails the health check: fan 3; 2 nodes are left, at least 3 are needed",
        ),
        # It is to be given back.
        ({"drained": ("csx2",), "leave": True}, Category.NODE_DRAINED, None),
        (
            {"bad": ("csx2",), "comment": {"run": "f" * 16}},
            Category.HEALTH_CHECK,
            "the job's Comment holds no record of this run",
        ),
    ],
)
def test_where_it_does_not_start(choose, changes, category, why):
    error, logged, told, _ = choose(**changes)
    assert (error.category, logged) == (category, [])
    found = [line for line in told if line.startswith("no start")]
    assert found == ([] if why is None else [f"no start in this allocation: {why}"])


@pytest.mark.parametrize("drained", [(), ("csx2",)])
def test_where_slurm_cannot_start_the_check_the_attempt_begins_without_it(choose, drained):
    chosen, logged, told, _ = choose(drained=drained, error=SlurmUnavailableError("no answer"))
    assert logged == []
    assert told[-1] == "the nodes are not checked: no answer"
    assert len(chosen.job.nodes) == 3
    assert not set(chosen.job.nodes).intersection(drained)


def test_a_check_that_fails_everywhere_leaves_no_node(choose):
    with pytest.raises(ConfigError, match="no node is excluded"):
        choose(bad=ALL)
