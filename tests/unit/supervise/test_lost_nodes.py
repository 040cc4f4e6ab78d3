"""Nodes that Slurm has lost while the job goes on."""

import queue
from itertools import accumulate
from typing import TYPE_CHECKING, cast

import pytest

from slurm_restart.core.attribution import Attribution, RootCause
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.job import Job, JobState
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.supervise import lost_nodes
from slurm_restart.supervise.attempt_result import AttemptResult
from slurm_restart.supervise.events import Events, NodesLost
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.lost_nodes import NodeWatch, blame_lost
from slurm_restart.trainer.attempt_records import AttemptEnd

if TYPE_CHECKING:
    from slurm_restart.slurm.interface import Slurm

JOB = JobEnvironment.read({"SLURM_JOB_ID": "7", "SLURM_JOB_NODELIST": "csx[1-3]"}).using(2)


class FakeSlurm:
    """Answers once with each of these nodes, or errors."""

    def __init__(self, *answers: tuple[str, ...] | Exception) -> None:
        self.answers = list(answers)

    def job(self, job_id: int) -> Job:
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return Job(job_id=job_id, uid=1, state=JobState.RUNNING, nodes=answer)


class Held(FakeSlurm):
    """Shows all nodes whenever it is asked."""

    def job(self, job_id: int) -> Job:
        return Job(job_id=job_id, uid=1, state=JobState.RUNNING, nodes=JOB.held)


def test_only_the_loss_of_a_node_of_the_attempt_ends_it(monkeypatch):
    monkeypatch.setattr(lost_nodes, "INTERVAL", 0.001)
    monkeypatch.setattr(lost_nodes, "FIRST_INTERVALS", ())
    unavailable = SlurmUnavailableError("no answer")
    slurm = FakeSlurm(("csx1", "csx2"), unavailable, (), ("csx2", "csx3"), ("csx2",))
    events: Events = queue.SimpleQueue()
    lines: list[str] = []
    watch = NodeWatch(lambda: cast("Slurm", slurm), JOB, events, lines.append)
    watch.run()
    assert events.get_nowait() == NodesLost()
    assert lines == ["Slurm has lost csx1: the program is ended"]
    assert slurm.answers == [("csx2",)]


def test_the_first_looks_come_soon_after_the_start(monkeypatch):
    """Before the program has started its job step nothing else notices the loss."""
    waits: list[float] = []

    def wait(_event: object, seconds: float) -> bool:
        waits.append(seconds)
        return len(waits) == 6

    watch = NodeWatch(lambda: cast("Slurm", Held()), JOB, queue.SimpleQueue(), print)
    monkeypatch.setattr("threading.Event.wait", wait)
    watch.run()
    assert list(accumulate(waits)) == [1, 2, 4, 8, 18, 28]


def result(category: Category, confidence: Confidence = Confidence.CERTAIN) -> AttemptResult:
    """An attempt that ended with that cause."""
    attribution = Attribution(
        category=category,
        rule="test",
        confidence=confidence,
        root_cause=RootCause(line=1, text="srun: error: Node failure on csx2"),
    )
    end = AttemptEnd(attempt=0, at=9.0, category=category.value, rule="test", reason="")
    return AttemptResult(
        exit_code=1, stop=None, attempt=None, start=None, end=end, attribution=attribution
    )


@pytest.mark.parametrize("category", [Category.UNKNOWN, Category.NETWORK_FABRIC, Category.HANG])
def test_the_loss_is_the_cause(category):
    found = blame_lost(result(category), {"csx2": "DOWN"})
    assert found.attribution.category is Category.HARDWARE_NODE
    assert [blame.node for blame in found.attribution.blamed] == ["csx2"]
    assert (found.end.category, found.end.rule) == ("hardware.node", "supervisor.node_lost")
    assert found.end.blamed_nodes == ("csx2",)
    assert "csx2: Slurm: DOWN" in found.end.reason


@pytest.mark.parametrize(
    ("category", "confidence", "is_cause"),
    [
        (Category.COMPLETED, Confidence.CERTAIN, False),
        (Category.CODE, Confidence.CERTAIN, False),
        (Category.CODE, Confidence.LIKELY, True),
    ],
)
def test_a_certain_end_of_the_run_stays(category, confidence, is_cause):
    before = result(category, confidence)
    assert (blame_lost(before, {"csx2": "DOWN"}) != before) is is_cause
    assert blame_lost(before, {}) == before
