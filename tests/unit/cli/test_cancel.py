from dataclasses import replace

import pytest
from click.testing import CliRunner

from slurm_restart.cli import cancel, named_jobs
from slurm_restart.cli.cancel import cancel_until_ended
from slurm_restart.cli.deadline import Deadline
from slurm_restart.cli.named_jobs import later_phases
from slurm_restart.cli.stop import stop_one
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.job_comment import CommentRecord, format_comment
from slurm_restart.errors import JobNotFoundError, SlurmError, SlurmUnavailableError

RECORD = CommentRecord(run="0123456789abcdef", max_restarts=1, num_nodes=1, min_nodes=1)
COMPLETING = frozenset({JobFlag.COMPLETING})


def job(job_id=7, state=JobState.RUNNING, *, completing=False, phase=0, **fields):
    defaults = {"uid": 1, "comment": format_comment(replace(RECORD, phase=phase))}
    flags = COMPLETING if completing else frozenset()
    return Job(job_id=job_id, state=state, flags=flags, **(defaults | fields))


class FakeSlurm:
    """Shows `states` of job 7 one after the other, the last one for ever; a cancel is counted."""

    def __init__(self, *states, error=None, others=(), has_epilog=True):
        self.states = list(states)
        self.error = error
        self.others = others
        self.cancelled = []
        self.has_epilog = has_epilog

    def cluster_facts(self):
        if self.has_epilog is None:
            raise SlurmUnavailableError("no answer")
        return ClusterFacts(has_epilog=self.has_epilog)

    def job(self, job_id):
        if job_id != 7:
            return next(other for other in self.others if other.job_id == job_id)
        shown = self.states.pop(0) if len(self.states) > 1 else self.states[0]
        if isinstance(shown, Exception):
            raise shown
        return shown

    def jobs(self, *, uid=None):
        assert uid == 1
        return (job(), *self.others)

    def cancel(self, job_id):
        self.cancelled.append(int(job_id) if job_id.isdecimal() else job_id)
        if self.error is not None:
            raise self.error


def cancelled(slurm, until=100.0):
    """Cancel job 7 with a clock that only sleeping moves."""
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds

    return cancel_until_ended(slurm, job(), Deadline(until, clock=lambda: now[0], sleep=sleep))


def test_a_job_that_slurm_requeues_meanwhile_is_cancelled_once_more():
    slurm = FakeSlurm(
        job(state=None, completing=True),  # scancel has no effect here
        job(state=JobState.FAILED, completing=True),
        job(state=JobState.PENDING, completing=True),
        job(state=JobState.CANCELLED, completing=True),
        job(state=JobState.CANCELLED),
    )
    assert cancelled(slurm).state is JobState.CANCELLED
    assert slurm.cancelled == [7] * 5


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.COMPLETED, JobState.TIMEOUT])
def test_a_job_that_has_ended_in_another_way_is_left(state):
    slurm = FakeSlurm(job(state=state))
    assert cancelled(slurm).state is state
    assert slurm.cancelled == [7]


def test_a_job_that_slurm_no_longer_knows_has_ended():
    slurm = FakeSlurm(job(state=JobState.CANCELLED, completing=True), JobNotFoundError("unknown"))
    assert cancelled(slurm) is None


def test_a_job_that_does_not_end_is_an_error_that_names_its_state():
    slurm = FakeSlurm(job(state=JobState.CANCELLED, completing=True))
    with pytest.raises(SlurmUnavailableError, match=r"job 7 has not ended in time.*CANCELLED"):
        cancelled(slurm, until=3.0)
    assert len(slurm.cancelled) == 4


def test_a_refusal_ends_the_command():
    with pytest.raises(SlurmError, match="denied"):
        cancelled(FakeSlurm(job(), error=SlurmError("access denied")))


def test_later_phases_are_those_of_the_same_run_and_user_that_have_not_ended():
    others = (
        job(8, JobState.PENDING, phase=1),
        job(9, JobState.PENDING, phase=2),
        job(10, JobState.COMPLETED, phase=1),
        job(11, JobState.PENDING, phase=1, uid=2),
        job(12, JobState.PENDING, phase=1, comment=format_comment(replace(RECORD, run="f" * 16))),
        job(13, JobState.PENDING, comment="other"),
    )
    assert [phase.job_id for phase in later_phases(job(), others)] == [8, 9]
    assert [phase.job_id for phase in later_phases(others[0], others)] == [9]
    assert later_phases(job(comment="other"), others) == ()


def test_the_command_cancels_the_job_and_its_later_phases(monkeypatch):
    slurm = FakeSlurm(
        job(), job(state=JobState.CANCELLED), others=[job(8, JobState.CANCELLED, phase=1)]
    )
    pending = replace(slurm.others[0], state=JobState.PENDING)
    monkeypatch.setattr(slurm, "jobs", lambda **_: (job(), pending))
    monkeypatch.setattr(cancel, "slurm_here", lambda: slurm)
    done = CliRunner().invoke(cancel.command, ["7"])
    assert (done.exit_code, done.output) == (0, "job 7: CANCELLED\njob 8: CANCELLED\n")
    assert slurm.cancelled == [7, 8]


def test_the_id_of_an_array_cancels_each_task_that_is_listed(monkeypatch):
    tasks = [
        job(8, JobState.CANCELLED, array_job_id=7, array_task_id=0),
        job(7, JobState.CANCELLED, array_job_id=7, array_task_id=1),
    ]
    slurm = FakeSlurm(tasks[1], others=tasks)
    monkeypatch.setattr(slurm, "jobs", lambda **_: tuple(tasks))
    monkeypatch.setattr(cancel, "slurm_here", lambda: slurm)
    done = CliRunner().invoke(cancel.command, ["7"])
    assert (done.exit_code, slurm.cancelled) == (0, ["7_0", "7_1"])
    assert done.output == "job 7_0: CANCELLED\njob 7_1: CANCELLED\n"


def test_a_task_is_cancelled_alone(monkeypatch):
    tasks = [
        job(8, array_job_id=7, array_task_id=0),
        job(7, JobState.CANCELLED, array_job_id=7, array_task_id=1),
    ]
    slurm = FakeSlurm(tasks[1], others=tasks)
    monkeypatch.setattr(slurm, "jobs", lambda **_: tuple(tasks))
    monkeypatch.setattr(cancel, "slurm_here", lambda: slurm)
    monkeypatch.setattr(named_jobs, "task_job_id", {"7_1": 7}.__getitem__)
    done = CliRunner().invoke(cancel.command, ["7_1"])
    assert (done.output, slurm.cancelled) == ("job 7_1: CANCELLED\n", ["7_1"])


@pytest.mark.parametrize("text", ["0", "x", "7_", "_7", "7_1_2", "7 8"])
def test_any_other_argument_is_refused(text):
    done = CliRunner().invoke(cancel.command, [text])
    assert done.exit_code == 2
    assert "expected a job id" in done.output


@pytest.mark.parametrize(
    ("record", "has_epilog", "told"),
    [
        (RECORD, True, True),
        (RECORD, None, True),
        (RECORD, False, False),
        (replace(RECORD, self_requeue=True), True, False),
        (None, True, False),
    ],
)
def test_an_end_that_a_sweep_may_still_restart_is_named(monkeypatch, record, has_epilog, told):
    comment = "other" if record is None else format_comment(record)
    slurm = FakeSlurm(job(state=JobState.FAILED, comment=comment), has_epilog=has_epilog)
    monkeypatch.setattr(cancel, "slurm_here", lambda: slurm)
    done = CliRunner().invoke(cancel.command, ["7"])
    assert done.exit_code == 0
    assert done.output.startswith("job 7: FAILED: it had ended before it could be cancelled")
    assert ("a sweep of the reconciler may still restart it" in done.output) is told
    stopped = stop_one(slurm, slurm.states[0], deadline=Deadline(1), after_checkpoint=False)
    assert stopped.result == "had_ended"
    assert ("a sweep of the reconciler may still restart it" in stopped.text) is told
