import threading

import pytest

from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.errors import JobNotFoundError, SlurmUnavailableError
from slurm_restart.supervise.person_stop import is_stopped_by_person

DEADLINE = 240.0


class FakeSlurm:
    def __init__(self, state=JobState.RUNNING, error=None, **shown):
        self.shown = Job(job_id=7, uid=1, state=state, **shown)
        self.error = error
        self.calls = 0

    def job(self, _job_id):
        self.calls += 1
        if self.error is not None:
            raise self.error
        return self.shown


def stopped(slurm, others=lambda: False, timeout=DEADLINE):
    return is_stopped_by_person(slurm, 7, others, timeout=timeout)


@pytest.mark.parametrize(
    ("slurm", "person"),
    [
        (FakeSlurm(), True),
        (FakeSlurm(flags=frozenset({JobFlag.SIGNALING})), True),
        # scancel, preemption, a lost node, the time limit: the state changes before the signal.
        (FakeSlurm(None, flags=frozenset({JobFlag.COMPLETING})), False),
        (FakeSlurm(JobState.CANCELLED, flags=frozenset({JobFlag.COMPLETING})), False),
        (FakeSlurm(JobState.PENDING), False),
        (FakeSlurm(flags=frozenset({JobFlag.COMPLETING})), False),
        # Preemption with a grace time: the job still runs.
        (FakeSlurm(preempt_time=1000), False),
        (FakeSlurm(error=SlurmUnavailableError("no answer")), False),
        (FakeSlurm(error=JobNotFoundError("unknown")), False),
    ],
)
def test_a_person_it_was_if_slurm_has_not_ended_the_job(slurm, person):
    assert stopped(slurm) is person


def test_slurm_is_not_asked_where_it_has_signalled_other_processes_too():
    slurm = FakeSlurm()
    assert not stopped(slurm, lambda: True)
    assert slurm.calls == 0


def test_a_signal_to_another_process_that_comes_later_counts():
    answers = iter([False, True])
    assert not stopped(FakeSlurm(), lambda: next(answers))


def test_slurm_that_does_not_answer_ends_nothing_and_is_not_waited_for():
    done = threading.Event()

    class Hangs(FakeSlurm):
        def job(self, job_id):
            done.wait(DEADLINE)
            return super().job(job_id)

    try:
        assert not stopped(Hangs(), timeout=0.05)
    finally:
        done.set()
