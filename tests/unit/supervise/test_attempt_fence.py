"""Which start of a run holds the fence, and which attempt ends for it."""

import queue
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.supervise import supersede_monitor
from slurm_restart.supervise.attempt_fence import (
    Fences,
    OvertakenError,
    count_of_start,
    is_overtaken,
    take_fence,
)
from slurm_restart.supervise.events import Superseded
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.supersede_monitor import SupersedeMonitor


def job(restarts=0, job_id=7):
    return JobEnvironment(job_id=job_id, restarts=restarts, nodes=("csx1",), num_nodes=1)


def begin(run, restarts=0, job_id=7):
    """Take the fence of a new attempt."""
    attempt = run.dir.new_attempt()
    return attempt, take_fence(Fences(run.dir), attempt, job(restarts, job_id), restarts=restarts)


def slurm_with(restarts):
    """Slurm, which shows this restart count of any job; None: it does not answer."""

    def show(_):
        if restarts is None:
            raise SlurmUnavailableError("no answer")
        return SimpleNamespace(restarts=restarts)

    return lambda: SimpleNamespace(job=show)


def test_a_fence_names_its_holder(run):
    first, fence = begin(run)
    second, other = begin(run, 1)
    assert (fence.attempt, other.attempt, fence.job_id, fence.restarts) == (0, 1, 7, 0)
    assert len(fence.token) == 32
    assert fence.token != other.token
    assert (first.fence(), second.fence()) == (fence, other)


@pytest.mark.parametrize(
    ("restarts", "job_id", "shown", "refused"),
    [
        (3, 7, 3, False),
        (4, 7, 4, False),
        # Slurm has given this start up.
        (2, 7, 3, True),
        (2, 7, None, True),
        # It has lost its state, and counts anew.
        (2, 7, 2, False),
        # The job that takes up the run of another one.
        (0, 8, 0, False),
    ],
)
def test_a_start_that_slurm_has_given_up_does_not_begin(run, restarts, job_id, shown, refused):
    begin(run, 3)
    late = job(restarts, job_id)
    assert is_overtaken(run.dir.attempts(), late) is (restarts < 3 and job_id == 7)
    if refused:
        with pytest.raises(OvertakenError, match="a later start of job 7 has begun"):
            count_of_start(Fences(run.dir), late, slurm_with(shown))
    else:
        assert count_of_start(Fences(run.dir), late, slurm_with(shown)) == max(
            restarts, 3 * (job_id == 7)
        )


def test_of_two_starts_at_the_same_time_the_later_one_holds_the_fence(run):
    given_up, later = run.dir.new_attempt(), run.dir.new_attempt()
    take_fence(Fences(run.dir), later, job(1), restarts=1)
    with pytest.raises(OvertakenError):
        take_fence(Fences(run.dir), given_up, job(0), restarts=0)


def test_each_fence_is_read_once(run):
    first, taken = begin(run)
    fences = Fences(run.dir)
    assert fences.read() == (taken,)
    _, other = begin(run, 1)
    first.fence_file.unlink()
    assert fences.read() == (taken, other)


@pytest.fixture
def superseded(monkeypatch):
    """Whether a monitor ends its attempt within some checks."""
    monkeypatch.setattr(supersede_monitor, "INTERVAL", 0.01)
    checks = 5

    def check(attempt, fence):
        events = queue.SimpleQueue()
        left = iter(range(checks))

        def access(_):
            if next(left, None) is None:
                monitor.stop()
            return nullcontext()

        monitor = SupersedeMonitor(attempt, fence, events, SimpleNamespace(access=access))
        monitor.run()
        return not events.empty() and isinstance(events.get(), Superseded)

    return check


def test_the_attempt_with_the_last_fence_goes_on(run, superseded):
    begin(run)
    assert superseded(*begin(run)) is False


@pytest.mark.parametrize(("restarts", "job_id"), [(0, 7), (1, 7), (0, 8)])
def test_a_later_fence_ends_an_attempt(run, superseded, restarts, job_id):
    held = begin(run)
    begin(run, restarts, job_id)
    assert superseded(*held) is True


def test_a_start_that_slurm_has_given_up_ends_no_attempt(run, superseded):
    given_up, held = run.dir.new_attempt(), begin(run, 2)
    late = run.dir.new_attempt()
    for attempt in (given_up, late):
        with pytest.raises(OvertakenError):
            take_fence(Fences(run.dir), attempt, job(1), restarts=1)
    assert superseded(*held) is False
    begin(run, 3)
    assert superseded(*held) is True


def test_a_later_attempt_without_a_fence_ends_an_attempt(run, superseded):
    """One of an earlier release."""
    held = begin(run)
    run.dir.new_attempt()
    assert superseded(*held) is True


def test_a_directory_that_another_has_made_anew_ends_an_attempt(run, superseded):
    attempt, fence = begin(run)
    take_fence(Fences(run.dir), attempt, job(), restarts=0)
    assert superseded(attempt, fence) is True


def test_a_removed_directory_ends_no_attempt(run, superseded):
    attempt, fence = begin(run)
    attempt.fence_file.unlink()
    attempt.path.rmdir()
    assert superseded(attempt, fence) is False
