"""After a checkpoint, Slurm is asked whether the site drains a node of the job."""

import queue
import threading

import pytest

from slurm_restart.core.job import NodeState
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.supervise.drained_nodes import DrainWatch
from slurm_restart.supervise.events import NodesDrained


class FakeSlurm:
    def __init__(self):
        self.drained = False
        self.error = None
        self.answers = threading.Semaphore(0)
        self.asked = threading.Semaphore(0)

    def nodes_named(self, _names):
        self.asked.release()
        assert self.answers.acquire(timeout=300)
        if self.error is not None:
            raise self.error
        flags = frozenset({"DRAIN"}) if self.drained else frozenset()
        return (NodeState(name="csx2", state="ALLOCATED", flags=flags, reason="fan"),)


@pytest.fixture
def watched():
    slurm, events, said = FakeSlurm(), queue.SimpleQueue(), []
    watch = DrainWatch(lambda: slurm, ("csx1", "csx2"), events, said.append)

    def save(*, answers=True):
        """Complete a checkpoint; with `answers`, wait until the question is settled."""
        before = set(threading.enumerate())
        watch.saved("checkpoint c", made_progress=False)
        if answers:
            slurm.answers.release()
        for thread in set(threading.enumerate()) - before:
            if answers:
                thread.join(300)

    return slurm, events, said, save


def test_a_drained_node_ends_the_attempt_once(watched):
    slurm, events, said, save = watched
    save()
    assert (events.empty(), said) == (True, [])
    slurm.drained = True
    save()
    save()
    assert events.get_nowait() == NodesDrained()
    assert events.empty()
    assert said == ["csx2 is left after checkpoint c: drained: fan"]


def test_a_controller_that_does_not_answer_is_asked_again_at_the_next_checkpoint(watched):
    slurm, events, _, save = watched
    slurm.error, slurm.drained = SlurmUnavailableError("no"), True
    save()
    assert events.empty()
    slurm.error = None
    save()
    assert not events.empty()


def test_no_second_question_while_one_waits(watched):
    slurm, _, _, save = watched
    save(answers=False)
    assert slurm.asked.acquire(timeout=300)
    save(answers=False)
    assert not slurm.asked.acquire(blocking=False)
    slurm.answers.release()
