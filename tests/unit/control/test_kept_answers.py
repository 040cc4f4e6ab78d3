"""In a batch, nodes are read once a second, and a job's facts can be asked for in advance."""

import time
from typing import Any

import pytest

from slurm_restart.control import kept_answers
from slurm_restart.control.kept_answers import KeptAnswers
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, NodeState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.commands import Commands
from tests.unit.control.conftest import Clock
from tests.unit.core import facts


class Calls:
    """What Commands is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.error: SlurmError | None = None
        monkeypatch.setattr(Commands, "job", self._answer("job", self.job))
        monkeypatch.setattr(Commands, "nodes", self._answer("nodes", lambda *_: facts.nodes()))
        facts_of = self._answer("cluster", lambda _: ClusterFacts(requeue_delay=61))
        monkeypatch.setattr(Commands, "cluster_facts", facts_of)
        both = self._answer("both", lambda _, job_id: (self.job(_, job_id), facts.nodes()))
        monkeypatch.setattr(Commands, "job_end_facts", both)

        monkeypatch.setattr(Commands, "partitions", self._answer("partitions", lambda _: ()))

    def job(self, _commands: Commands, job_id: int) -> Job:
        return facts.pending(job_id=job_id)

    def _answer(self, name: str, what: Any) -> Any:
        def answer(*arguments: Any) -> Any:
            self.names.append(name)
            if self.error is not None:
                raise self.error
            return what(*arguments)

        return answer


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> Calls:
    return Calls(monkeypatch)


@pytest.fixture
def ticking(monkeypatch: pytest.MonkeyPatch) -> Clock:
    clock = Clock()
    monkeypatch.setattr(kept_answers, "time", clock)
    return clock


def is_whole(answer: tuple[Job, tuple[NodeState, ...]], job_id: int) -> bool:
    return answer == (facts.pending(job_id=job_id), facts.nodes())


def test_the_nodes_are_read_once_a_second(calls: Calls, ticking: Clock) -> None:
    slurm = KeptAnswers()
    assert is_whole(slurm.job_end_facts(7), 7)
    assert is_whole(slurm.job_end_facts(8), 8)
    assert slurm.nodes() == facts.nodes()
    assert calls.names == ["both", "job"]
    ticking.now += 1.1
    assert slurm.nodes() == facts.nodes()
    assert slurm.nodes() == facts.nodes()
    assert is_whole(slurm.job_end_facts(9), 9)
    assert calls.names == ["both", "job", "nodes", "job"]


@pytest.mark.parametrize("name", ["nodes", "cluster"])
def test_what_was_read_before_a_moment_is_read_again(
    calls: Calls, ticking: Clock, name: str
) -> None:
    slurm = KeptAnswers()
    read = slurm.nodes if name == "nodes" else slurm.cluster_facts
    slurm.drop(name, before=ticking.now)
    read()
    slurm.drop(name, before=ticking.now)
    read()
    assert calls.names == [name]
    slurm.drop(name, before=ticking.now + 0.5)
    read()
    assert calls.names == [name, name]


def test_the_partitions_are_read_once_a_second(calls: Calls, ticking: Clock) -> None:
    slurm = KeptAnswers()
    for _ in range(3):
        assert slurm.partitions() == ()
        ticking.now += 0.6
    assert calls.names == ["partitions", "partitions"]


def test_the_configuration_is_read_once_in_ten_seconds(calls: Calls, ticking: Clock) -> None:
    slurm = KeptAnswers()
    for _ in range(2):
        assert slurm.cluster_facts().requeue_delay == 61
        ticking.now += 9
    assert slurm.cluster_facts().requeue_delay == 61
    assert calls.names == ["cluster", "cluster"]


def test_a_job_is_asked_for_in_advance_once(calls: Calls) -> None:
    slurm = KeptAnswers()
    slurm.expect(7)
    deadline = time.monotonic() + 300
    while not calls.names:
        assert time.monotonic() < deadline
    assert is_whole(slurm.job_end_facts(7), 7)
    assert calls.names == ["both"]
    assert slurm.job(7) == facts.pending(job_id=7)
    assert calls.names == ["both", "job"]


@pytest.mark.usefixtures("ticking")
def test_another_job_is_read_anew(calls: Calls) -> None:
    slurm = KeptAnswers()
    slurm.expect(7)
    assert slurm.job(8) == facts.pending(job_id=8)
    assert "job" in calls.names


def test_an_old_answer_is_not_used(calls: Calls, ticking: Clock) -> None:
    slurm = KeptAnswers()
    slurm.expect(7)
    ticking.now += 1.1
    assert slurm.job(7) == facts.pending(job_id=7)
    assert calls.names == ["both", "job"]


def test_a_failure_in_advance_is_raised_where_the_answer_is_used(calls: Calls) -> None:
    calls.error = SlurmError("no answer")
    slurm = KeptAnswers()
    slurm.expect(7)
    with pytest.raises(SlurmError, match="no answer"):
        slurm.job_end_facts(7)
    calls.error = None
    assert is_whole(slurm.job_end_facts(7), 7)
