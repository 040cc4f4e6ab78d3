"""What is seen right before a program is started in place: lost nodes, steps that never end."""

from dataclasses import replace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.core.job_comment import format_comment
from slurm_restart.core.recovery import Recovery
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.supervise.attempt_result import preparation_failure
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.last_look import LostNodesError, look_again

ALL = ("csx1", "csx2", "csx3", "csx4", "csx5")
WHOLE = JobEnvironment(
    job_id=7, restarts=0, nodes=ALL, num_nodes=5, node_name="csx1", held=ALL, in_place=1
)
SWAPPED = WHOLE.on(("csx1", "csx2", "csx4", "csx5"), ())
"""After the loss of csx3."""


class FakeSlurm:
    """A job on these nodes, with steps on those; None: no answer."""

    def __init__(self, comment, held, shown=ALL, state=JobState.RUNNING, silent=()):
        self.comment, self.held, self.shown, self.state = comment, held, shown, state
        self.silent = silent

    def job(self, _job_id):
        if self.held is None:
            raise SlurmUnavailableError("silent")
        return Job(job_id=7, uid=1, state=self.state, nodes=self.held, comment=self.comment)

    def nodes(self):
        return tuple(
            NodeState(name=name, state="MIXED" if name in (self.held or ()) else "DOWN")
            for name in ALL
        )

    def nodes_named(self, names):
        silent = frozenset({"NOT_RESPONDING"})
        return tuple(
            NodeState(
                name=name, state="MIXED", flags=silent if name in self.silent else frozenset()
            )
            for name in names
        )

    def others_wait(self, _job):
        return False

    def step_nodes(self, _job_id):
        if self.shown is None:
            raise SlurmUnavailableError("silent")
        return frozenset(self.shown)


@pytest.fixture
def look(run):
    """Look at a job; return it, and what the user was told."""

    def look(job, *facts, least=2, full=5, spares=0, **state):
        policy = replace(run.plan.policy, recovery=Recovery.AUTO)
        plan = replace(run.plan, policy=policy, num_nodes=full, min_nodes=least, spares=spares)
        slurm = FakeSlurm(format_comment(plan.comment_record), *facts, **state)
        told = []
        return look_again(plan, job, lambda: slurm, told.append), told

    return look


def without(*names):
    return tuple(name for name in ALL if name not in names)


@pytest.mark.parametrize(
    ("held", "shown", "left"),
    [
        # The script's step, and that of the attempt before, whose node csx3 is lost.
        (without("csx3"), ALL, True),
        (without("csx3"), ("csx1", "csx4"), False),
        # Of a node that is only left out, the steps end.
        (ALL, ALL, False),
        (None, ALL, True),
        (without("csx3"), None, True),
    ],
)
def test_a_step_on_a_lost_node_is_left(look, held, shown, left):
    assert look(SWAPPED, held, shown) == (replace(SWAPPED, step_left=left), [])


@pytest.mark.parametrize(("shown", "left"), [(ALL, True), (("csx1", "csx4"), False)])
def test_a_step_on_a_node_that_slurm_is_about_to_lose_is_left(look, shown, left):
    assert look(SWAPPED, ALL, shown, silent=("csx3",)) == (replace(SWAPPED, step_left=left), [])


def test_a_node_that_was_lost_since_the_decision_is_left_out(look):
    job, told = look(SWAPPED, without("csx3", "csx4"))
    assert (job.nodes, job.num_nodes, job.spares) == (("csx1", "csx2", "csx5"), 3, ())
    assert job.step_left
    assert told == ["relaunch_smaller: csx4 is lost (DOWN); 3 of 4 nodes are left"]


def test_the_first_loss_may_be_noticed_as_late(look):
    """The program failed by itself, and was to restart on the same nodes."""
    job, _ = look(WHOLE, without("csx2"), ("csx1",))
    assert (job.nodes, job.step_left) == (without("csx2"), False)


def test_a_spare_takes_its_place(look):
    job, told = look(WHOLE.using(4), without("csx2"), least=4, full=4, spares=1)
    assert job.nodes == without("csx2")
    assert told == ["swap: csx2 is lost (DOWN); in its place: csx5"]


def test_without_enough_nodes_the_attempt_ends_before_its_program_is_started(look):
    with pytest.raises(LostNodesError) as caught:
        look(SWAPPED, without("csx3", "csx4"), least=4)
    end = preparation_failure(caught.value, None, now=9.0).end
    assert (end.category, end.rule) == (Category.HARDWARE_NODE.value, "supervisor.node_lost")
    assert end.blamed_nodes == ("csx4",)
    assert end.reason == "the program was not started: csx4: Slurm has lost it"


@pytest.mark.parametrize(
    ("held", "state"), [(("csx1",), JobState.FAILED), ((), JobState.RUNNING), (None, None)]
)
def test_what_is_not_known_changes_no_nodes(look, held, state):
    assert look(WHOLE, held, state=state) == (WHOLE, [])


@pytest.mark.parametrize(
    ("job", "least"),
    [(replace(SWAPPED, in_place=0), 2), (replace(SWAPPED, job_id=None), 2), (WHOLE, 5)],
)
def test_slurm_is_asked_only_where_a_node_may_be_lost(run, job, least):
    policy = replace(run.plan.policy, recovery=Recovery.AUTO)
    plan = replace(run.plan, policy=policy, num_nodes=5, min_nodes=least)
    assert look_again(plan, job, lambda: pytest.fail("asked"), pytest.fail) == job
