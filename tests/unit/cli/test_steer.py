"""A person's change of a record: made, made again if it is lost, refused, or too late."""

from dataclasses import replace
from functools import partial

import pytest

from slurm_restart.cli.deadline import Deadline
from slurm_restart.cli.steer import edit_record
from slurm_restart.cli.stop import REQUEST_TIME, stop_one
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.job_comment import format_comment, parse_comment
from slurm_restart.errors import JobNotFoundError, SlurmError, SlurmUnavailableError
from tests.unit.core import facts

RECORD = facts.comment_record()
COMPLETING = frozenset({JobFlag.COMPLETING})


def job(state=JobState.RUNNING, **changes):
    values = {"job_id": 7, "uid": 1, "restarts": 0, "comment": format_comment(RECORD, "my own")}
    return Job(state=state, **(values | changes))


class FakeSlurm:
    """Shows a job that `events` change, one after each update."""

    def __init__(self, shown, *events, errors=()):
        self.shown = shown
        self.events = list(events)
        self.errors = list(errors)
        self.updates = []

    def job(self, _job_id):
        if self.shown is None:
            raise JobNotFoundError("unknown")
        return self.shown

    def update(self, _name, fields):
        self.updates.append(fields["Comment"])
        if self.errors and (error := self.errors.pop(0)) is not None:
            raise error
        self.shown = replace(self.shown, comment=fields["Comment"])
        if self.events:
            self.shown = self.events.pop(0)


def edit(slurm, *, wait=True, until=100.0):
    now = [0.0]

    def sleep(seconds):
        now[0] += seconds
        if slurm.shown is not None and slurm.shown.completing and slurm.events:
            slurm.shown = slurm.events.pop(0)

    def stopped(shown, record):
        return replace(record, stop=shown.restarts)

    deadline = Deadline(until, clock=lambda: now[0], sleep=sleep)
    return edit_record(slurm, job(), stopped, deadline, wait=wait)


def test_a_record_is_written_once_and_the_users_own_comment_stays():
    slurm = FakeSlurm(job())
    assert parse_comment(edit(slurm).comment).stop == 0
    assert len(slurm.updates) == 1
    assert slurm.updates[0].endswith(" my own")


def test_a_change_that_the_supervisor_has_overwritten_is_made_again():
    later = job(comment=format_comment(replace(RECORD, step=20)))
    slurm = FakeSlurm(job(), later)
    record = parse_comment(edit(slurm).comment)
    assert (record.stop, record.step) == (0, 20)
    assert len(slurm.updates) == 2


def test_the_change_follows_a_job_that_is_requeued_meanwhile():
    written = format_comment(replace(RECORD, stop=0))
    slurm = FakeSlurm(job(), job(JobState.PENDING, restarts=1, comment=written))
    assert parse_comment(edit(slurm).comment).stop == 1


def test_a_job_that_is_completing_is_awaited_or_returned():
    ends = job(None, flags=COMPLETING)
    shown = edit(FakeSlurm(ends, job(JobState.PENDING, restarts=1)))
    assert parse_comment(shown.comment).stop == 1
    slurm = FakeSlurm(ends)
    assert edit(slurm, wait=False) is ends
    with pytest.raises(SlurmUnavailableError, match="not changed in time: it is COMPLETING"):
        edit(slurm, until=3.0)
    assert slurm.updates == []


@pytest.mark.parametrize("state", [JobState.FAILED, JobState.COMPLETED, JobState.CANCELLED])
def test_a_job_that_has_ended_is_not_changed(state):
    slurm = FakeSlurm(job(state))
    assert edit(slurm).state is state
    assert slurm.updates == []


def test_a_job_that_slurm_no_longer_knows_or_has_replaced():
    assert edit(FakeSlurm(None)) is None
    other = job(comment=format_comment(replace(RECORD, run="f" * 16)))
    slurm = FakeSlurm(other)
    assert edit(slurm) is None
    assert slurm.updates == []


def test_what_passes_is_tried_again_and_what_does_not_is_told():
    passing = SlurmError("DB index", stderr="the DB index is being set")
    slurm = FakeSlurm(job(), errors=[passing, passing])
    assert parse_comment(edit(slurm).comment).stop == 0
    with pytest.raises(SlurmUnavailableError, match="DB index"):
        edit(FakeSlurm(job(), errors=[passing] * 9), until=2.0)
    denied = SlurmError("update job 7", stderr="Access/permission denied")
    with pytest.raises(SlurmError, match="only the owner of the run") as caught:
        edit(FakeSlurm(job(), errors=[denied]))
    assert caught.value.exit_code == 4


@pytest.mark.parametrize(("whole", "part", "ends_at"), [(10, 3, 3), (1, 3, 1)])
def test_a_part_of_the_time_ends_no_later_than_the_whole(whole, part, ends_at):
    now = [0.0]
    deadline = Deadline(whole, clock=lambda: now[0]).within(part)
    now[0] = ends_at - 0.1
    deadline.pause(0, "too late")
    now[0] = ends_at
    with pytest.raises(SlurmUnavailableError, match="too late"):
        deadline.pause(0, "too late")


@pytest.mark.parametrize("after_checkpoint", [False, True])
def test_without_its_request_a_stop_is_a_cancellation(after_checkpoint):
    """22.05 without accounting takes no change of a job that has lost a node."""
    refused = SlurmError("DB index", stderr="the DB index is being set")
    slurm, now = FakeSlurm(job(), errors=[refused] * 99), [0.0]
    cancelled = []

    def cancel(name):
        cancelled.append(name)
        slurm.shown = job(JobState.CANCELLED)

    def sleep(seconds):
        now[0] += seconds

    slurm.cancel = cancel
    deadline = Deadline(20, clock=lambda: now[0], sleep=sleep)
    stop = partial(stop_one, slurm, job(), deadline=deadline, after_checkpoint=after_checkpoint)
    if after_checkpoint:
        with pytest.raises(SlurmUnavailableError, match="DB index"):
            stop()
        assert cancelled == []
    else:
        assert stop().result == "ended"
        assert (cancelled, now[0]) == (["7"], REQUEST_TIME)
