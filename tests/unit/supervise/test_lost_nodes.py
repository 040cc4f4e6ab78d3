"""Nodes that Slurm has lost while the job goes on."""

import queue
import time
from collections.abc import Callable
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
    from slurm_restart.supervise.srun_processes import SrunEnds

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


class FakeSruns:
    """One ends at each of these times.

    Args:
        ends: when.
        pause: seconds between two looks.
    """

    def __init__(self, *ends: float, pause: float = 1.0) -> None:
        self.ends = list(ends)
        self.pause = pause

    def look(self, now: float) -> bool:
        before = len(self.ends)
        self.ends = [each for each in self.ends if each > now]
        return len(self.ends) < before


@pytest.fixture
def question_times(monkeypatch) -> Callable[[FakeSruns, float], list[float]]:
    """Return when Slurm is asked within so many seconds, which pass at once."""
    now = [0.0]

    def asked(sruns: FakeSruns, seconds: float) -> list[float]:
        questions: list[float] = []

        class Held(FakeSlurm):
            """Shows all nodes whenever it is asked."""

            def job(self, job_id: int) -> Job:
                questions.append(now[0])
                return Job(job_id=job_id, uid=1, state=JobState.RUNNING, nodes=JOB.held)

        def wait(_event: object, pause: float) -> bool:
            now[0] += pause
            return now[0] > seconds

        watch = NodeWatch(
            lambda: cast("Slurm", Held()),
            JOB,
            queue.SimpleQueue(),
            print,
            cast("SrunEnds", sruns),
        )
        with monkeypatch.context() as patched:
            patched.setattr("threading.Event.wait", wait)
            patched.setattr(time, "monotonic", lambda: now[0])
            watch.run()
        return questions

    return asked


def test_only_the_loss_of_a_node_of_the_attempt_ends_it(monkeypatch):
    monkeypatch.setattr(lost_nodes, "INTERVAL", 0.001)
    monkeypatch.setattr(lost_nodes, "FIRST_INTERVALS", ())
    unavailable = SlurmUnavailableError("no answer")
    slurm = FakeSlurm(("csx1", "csx2"), unavailable, (), ("csx2", "csx3"), ("csx2",))
    events: Events = queue.SimpleQueue()
    lines: list[str] = []
    sruns = cast("SrunEnds", FakeSruns())
    watch = NodeWatch(lambda: cast("Slurm", slurm), JOB, events, lines.append, sruns)
    watch.run()
    assert events.get_nowait() == NodesLost()
    assert lines == ["Slurm has lost csx1: the program is ended"]
    assert slurm.answers == [("csx2",)]


@pytest.mark.parametrize("pause", [1.0, 3.2])
def test_the_first_looks_come_soon_after_the_start(question_times, pause):
    """Before the program has started its job step nothing else notices the loss."""
    assert question_times(FakeSruns(pause=pause), 30) == [1, 2, 4, 8, 18, 28]


@pytest.mark.parametrize(
    ("ends", "expected"),
    [
        ((), [18, 28]),
        ((11.5,), [12, 15, 18, 28]),
        ((17.5,), [18, 21, 28]),
        ((11.5, 12.5), [12, 15, 18, 28]),
    ],
)
def test_the_end_of_an_srun_is_a_reason_to_look_at_once_and_again(question_times, ends, expected):
    asked = question_times(FakeSruns(*ends), 28)
    assert [each for each in asked if each > 8] == expected


def test_many_short_sruns_lead_to_few_questions(question_times):
    asked = question_times(FakeSruns(*range(1000)), 1000)
    assert len(asked) < 1000 / 3 + 1000 / 10 + 10


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
