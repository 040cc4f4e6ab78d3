"""In a batch, nodes are read once a second, and a job's facts can be asked for in advance."""

import time
from collections.abc import Collection
from typing import Any

import pytest

from slurm_restart.control import kept_answers
from slurm_restart.control.kept_answers import FEWEST, MOST, KeptAnswers
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, NodeState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.commands import Commands
from tests.unit.control.conftest import Clock
from tests.unit.core import facts

GONE = 99
"""A job that is left out where several are read together."""


class Calls:
    """What Commands is asked for."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.names: list[str] = []
        self.together: list[list[int]] = []
        self.error: SlurmError | None = None
        monkeypatch.setattr(Commands, "job", self._answer("job", self.job))
        monkeypatch.setattr(Commands, "nodes", self._answer("nodes", lambda *_: facts.nodes()))
        facts_of = self._answer("cluster", lambda _: ClusterFacts(requeue_delay=61))
        monkeypatch.setattr(Commands, "cluster_facts", facts_of)
        both = self._answer("both", lambda _, job_id: (self.job(_, job_id), facts.nodes()))
        monkeypatch.setattr(Commands, "job_end_facts", both)

        monkeypatch.setattr(Commands, "partitions", self._answer("partitions", lambda _: ()))
        listed = self._answer("jobs", lambda _, uid: (facts.pending(uid=uid),))
        monkeypatch.setattr(Commands, "jobs", listed)
        monkeypatch.setattr(Commands, "known_jobs", self._answer("several", self.several))

    def job(self, _commands: Commands, job_id: int) -> Job:
        return facts.pending(job_id=job_id)

    def several(self, _commands: Commands, job_ids: Collection[int]) -> dict[int, Job]:
        self.together.append(list(job_ids))
        return {job_id: facts.pending(job_id=job_id) for job_id in job_ids if job_id != GONE}

    def _answer(self, name: str, what: Any) -> Any:
        def answer(*arguments: Any, **named: Any) -> Any:
            self.names.append(name)
            if self.error is not None:
                raise self.error
            return what(*arguments, **named)

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


def use(slurm: KeptAnswers, *job_ids: int) -> None:
    """Expect each job and use its facts, as a worker and the helper do."""
    for job_id in job_ids:
        slurm.expect(job_id)
        assert slurm.job(job_id) == facts.pending(job_id=job_id)
        assert is_whole(slurm.job_end_facts(job_id), job_id)


@pytest.mark.usefixtures("ticking")
def test_announced_jobs_are_read_together(calls: Calls) -> None:
    slurm = KeptAnswers()
    slurm.announce([7, 8, 9])
    use(slurm, 7, 8, 9)
    assert calls.together == [[7, 8, 9]]
    assert sorted(calls.names) == ["nodes", "several"]
    # Each answer is used once.
    assert slurm.job(8) == facts.pending(job_id=8)
    assert calls.names[-1] == "job"


@pytest.mark.usefixtures("ticking")
def test_few_jobs_are_read_one_by_one(calls: Calls) -> None:
    slurm = KeptAnswers()
    few = list(range(1, FEWEST))
    slurm.announce(few)
    use(slurm, *few)
    assert calls.together == []
    use(slurm, 50)  # nobody has announced it
    assert calls.together == []


@pytest.mark.usefixtures("ticking")
def test_of_many_jobs_the_next_ones_are_read(calls: Calls) -> None:
    slurm = KeptAnswers()
    many = list(range(100, 100 + MOST + 5))
    slurm.announce(many)
    use(slurm, *many)
    assert calls.together == [many[:MOST], many[MOST:]]


def test_the_rest_is_read_again_when_the_answer_is_old(calls: Calls, ticking: Clock) -> None:
    slurm = KeptAnswers()
    slurm.announce([5, 6, 7, 8, 9])
    use(slurm, 5)
    ticking.now += 1.1
    use(slurm, 6, 7)
    assert calls.together == [[5, 6, 7, 8, 9], [6, 7, 8, 9]]


@pytest.mark.usefixtures("ticking")
def test_a_job_that_the_common_answer_lacks_is_read_by_itself(calls: Calls) -> None:
    slurm = KeptAnswers()
    slurm.announce([7, GONE, 9])
    use(slurm, 7, GONE, 9)
    assert calls.together == [[7, GONE, 9]]
    assert calls.names.count("job") == 2


@pytest.mark.usefixtures("ticking")
def test_after_a_common_failure_each_job_is_read_by_itself(calls: Calls) -> None:
    slurm = KeptAnswers()
    slurm.announce([7, 8, 9])
    calls.error = SlurmError("no answer")
    slurm.expect(7)
    with pytest.raises(SlurmError, match="no answer"):
        slurm.job(7)
    calls.error = None
    use(slurm, 8, 9)
    assert calls.together == []
    assert calls.names.count("several") == 1


def test_what_was_asked_before_a_moment_is_forgotten(calls: Calls, ticking: Clock) -> None:
    slurm = KeptAnswers()
    slurm.announce([7, 8, 9])
    slurm.expect(7)
    slurm.forget(7, ticking.now)
    assert is_whole(slurm.job_end_facts(7), 7)
    assert calls.names.count("job") == 0
    slurm.forget(8, ticking.now + 0.1)
    assert slurm.job(8) == facts.pending(job_id=8)
    assert calls.names.count("job") == 1
    assert is_whole(slurm.job_end_facts(9), 9)
    assert calls.names.count("job") == 1


def test_the_jobs_of_a_user_are_read_once_a_second(calls: Calls, ticking: Clock) -> None:
    slurm = KeptAnswers()
    for uid in (1, 2, 1):
        [job] = slurm.jobs(uid=uid)
        assert job.uid == uid
    assert calls.names == ["jobs", "jobs"]
    ticking.now += 1.1
    slurm.jobs(uid=1)
    assert calls.names == ["jobs"] * 3
