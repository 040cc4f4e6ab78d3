"""What the supervisor asks Slurm in threads, with a Slurm that answers, refuses or is silent."""

import queue

import pytest

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, JobState, PartitionState
from slurm_restart.errors import SlurmError, SlurmUnavailableError
from slurm_restart.supervise import slurm_questions
from slurm_restart.supervise.events import Preempted
from slurm_restart.supervise.stop_request import DEFAULT_KILL_WAIT, GracePeriods

from .conftest import DEADLINE


class FakeSlurm:
    def __init__(self, *answers, error=None):
        self.answers, self.error = list(answers), error
        self.sent = queue.SimpleQueue()

    def job(self, _job_id):
        answer = self.answers.pop(0)
        if isinstance(answer, Exception):
            raise answer
        return answer

    def partitions(self):
        return (PartitionState(name="a", grace_time=40), PartitionState(name="b", grace_time=90))

    def cluster_facts(self):
        if self.error is not None:
            raise self.error
        return ClusterFacts(kill_wait=77)

    def signal_steps(self, job_id, name):
        self.sent.put((job_id, name))
        if self.error is not None:
            raise self.error


def job(**shown):
    return Job(job_id=7, uid=1, **({"state": JobState.RUNNING, "preempt_time": 1000} | shown))


@pytest.mark.parametrize(
    ("answers", "grace_time"),
    [
        ([job(end_time=1020)], 20),
        ([job(end_time=990)], 0),
        ([job(partitions=("a",))], 40),
        ([SlurmUnavailableError("no answer"), job(end_time=1020)], 20),
    ],
)
def test_a_preemption_is_reported_with_its_grace_time(monkeypatch, answers, grace_time):
    monkeypatch.setattr(slurm_questions, "_PAUSE", 0)
    events = queue.SimpleQueue()
    slurm = FakeSlurm(*answers)
    slurm_questions.report_preemption(lambda: slurm, 7, events)
    assert events.get(timeout=DEADLINE) == Preempted(grace_time)


@pytest.mark.parametrize(
    "answers",
    [
        [job(preempt_time=None)],
        [job(state=JobState.PREEMPTED)],
        [SlurmError("refused")] * slurm_questions.PREEMPTION_TRIES,
    ],
)
def test_nothing_is_reported_of_other_warnings(monkeypatch, waits, answers):
    monkeypatch.setattr(slurm_questions, "_PAUSE", 0)
    events = queue.SimpleQueue()
    slurm = FakeSlurm(*answers)
    slurm_questions.report_preemption(lambda: slurm, 7, events)
    waits(lambda: not slurm.answers, "the last question")
    assert events.empty()


def test_kill_wait_is_slurms(waits):
    grace = GracePeriods(signal_lead=120)
    slurm_questions.read_kill_wait(FakeSlurm, grace)
    waits(lambda: grace.kill_wait == 77, "KillWait")


def test_the_default_stays_where_slurm_does_not_answer(waits):
    grace, asked = GracePeriods(signal_lead=120), queue.SimpleQueue()

    def slurm():
        asked.put(1)
        return FakeSlurm(error=SlurmUnavailableError("no answer"))

    slurm_questions.read_kill_wait(slurm, grace)
    waits(lambda: not asked.empty(), "the question")
    assert grace.kill_wait == DEFAULT_KILL_WAIT


@pytest.mark.parametrize("error", [None, SlurmError("scancel: it is not your job")])
def test_a_signal_to_the_steps_and_what_slurm_says_to_it(error):
    slurm, warnings = FakeSlurm(error=error), queue.SimpleQueue()
    slurm_questions.signal_steps(lambda: slurm, 7, "USR1", warnings.put)
    assert slurm.sent.get(timeout=DEADLINE) == (7, "USR1")
    if error is not None:
        assert warnings.get(timeout=DEADLINE) == (
            "the job's steps could not be sent USR1: scancel: it is not your job"
        )
