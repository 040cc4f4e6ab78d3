"""A sweep processes each managed job by its state, and no job harms the others."""

from dataclasses import replace
from typing import Any

import pytest

from slurm_restart.control import reconcile
from slurm_restart.control.controller import Controller
from slurm_restart.control.journal import journal_path
from slurm_restart.control.reconcile import Sweep, sweep
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.job_comment import format_comment
from slurm_restart.core.journal_events import (
    Action,
    EndEvent,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
    StaleRunningEvent,
)
from slurm_restart.errors import SlurmUnavailableError
from tests.unit.control.conftest import (
    Clock,
    FakeSlurm,
    events_of,
    history_of,
    log_of,
    observing,
    of_kind,
    put,
    run_key_of,
)
from tests.unit.core import facts

COMMENT = format_comment(facts.comment_record())
SUBMITTED = facts.SUBMITTED
KEY = {"submit_time": SUBMITTED, "attempt": 0}


def managed(state: JobState | None, job_id: int = 7, **changes: Any) -> Job:
    """A job of the run as a sweep lists it."""
    values = {"comment": COMMENT, "nodes": facts.NODES[:3], "exit_code": 1, "run_time": 600}
    return facts.job(**{"job_id": job_id, "state": state} | values | changes)


def failed(job_id: int = 7, **changes: Any) -> Job:
    return managed(JobState.FAILED, job_id, reason="NonZeroExitCode", **changes)


def running(**changes: Any) -> Job:
    """Attempt 0, shown as RUNNING although it has reported its end."""
    return managed(JobState.RUNNING, **{"start_time": SUBMITTED + 1, "exit_code": 0} | changes)


def swept(controller: Controller, slurm: FakeSlurm, *jobs: Job) -> Sweep:
    slurm.jobs_by_id.clear()
    for job in jobs:
        slurm.show(job)
    return sweep(controller)


# --- which jobs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        failed(is_array=True),
        failed(comment=""),
        failed(comment="csx-restart/2 run=x"),
        failed(flags=frozenset({JobFlag.COMPLETING})),
        managed(None, flags=frozenset({JobFlag.COMPLETING})),
    ],
    ids=["array", "no comment", "another form", "completing", "completing on 22.05"],
)
def test_other_jobs_are_not_swept(controller: Controller, slurm: FakeSlurm, other: Job) -> None:
    assert swept(controller, slurm, other) == Sweep()
    assert slurm.calls == ["jobs"]


@pytest.mark.parametrize("state", [JobState.SUSPENDED, None])
def test_a_suspended_job_is_left_alone(
    controller: Controller, slurm: FakeSlurm, state: JobState | None
) -> None:
    assert swept(controller, slurm, managed(state)) == Sweep(managed=1)
    assert slurm.requests == []


def test_a_problem_with_one_job_leaves_the_others(controller: Controller, slurm: FakeSlurm) -> None:
    key = run_key_of(8)
    journal_path(controller.site.state_dir, key).mkdir(parents=True)
    result = swept(
        controller,
        slurm,
        failed(6, comment="csx-restart/1 run=broken"),
        failed(8),
        failed(9),
    )
    assert (result.managed, result.problems) == (3, 2)
    assert [request.job_id for request in slurm.requests if request.name == "requeue"] == [9]
    log = log_of(controller)
    assert "job 6: sweep: CommentRecordError: " in log
    assert "job 8: sweep: StateError: " in log


def test_a_job_that_slurm_has_dropped_meanwhile_leaves_the_others(
    controller: Controller, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    listed = (failed(6), failed(9))
    slurm.jobs_by_id.clear()
    slurm.show(failed(9))
    monkeypatch.setattr(slurm, "jobs", lambda: listed)
    assert sweep(controller).problems == 1
    assert [request.job_id for request in slurm.requests if request.name == "requeue"] == [9]


@pytest.mark.parametrize("query", ["jobs", "nodes", "job"])
def test_a_controller_that_does_not_answer_ends_the_sweep(
    controller: Controller, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    slurm.show(failed())

    def silent(*_arguments: Any) -> None:
        raise SlurmUnavailableError("no answer")

    monkeypatch.setattr(slurm, query, silent)
    with pytest.raises(SlurmUnavailableError):
        sweep(controller)


def test_observe_mode_changes_nothing_in_slurm(
    controller: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    observer = observing(controller)
    for _ in range(2):
        swept(
            observer,
            slurm,
            failed(7),
            managed(JobState.PENDING, 8, eligible_time=SUBMITTED),
            running(job_id=9),
        )
        clock.now += 1000
    assert slurm.requests == []
    ends = [end for n in (7, 9) for end in history_of(controller, run_key_of(n)).ends]
    assert {end.observed for end in ends} == {True}


# --- ended ---------------------------------------------------------------------------------------


def test_an_end_without_a_hook_is_processed(controller: Controller, slurm: FakeSlurm) -> None:
    assert swept(controller, slurm, failed()) == Sweep(managed=1, missed=1)
    assert slurm.names() == ["requeue", "update"]
    [end] = history_of(controller).ends
    assert (end.source, end.action, end.key) == ("sweep", Action.REQUEUE, (SUBMITTED, 0))


@pytest.mark.parametrize(
    "known",
    [
        facts.ended(action=Action.LEAVE),
        facts.ended(action=Action.CANCEL),
        facts.ended(observed=True),
    ],
    ids=["left", "cancelled", "observed"],
)
def test_an_end_that_stays_an_end_is_left(
    controller: Controller, slurm: FakeSlurm, known: EndEvent
) -> None:
    put(controller, known)
    assert swept(controller, slurm, failed()) == Sweep(managed=1)
    assert slurm.requests == []


def test_a_restart_without_an_outcome_is_repeated(controller: Controller, slurm: FakeSlurm) -> None:
    put(controller, facts.ended(), IntendEvent(at=1, operations=("requeue",), **KEY))
    assert swept(controller, slurm, failed()) == Sweep(managed=1)
    assert slurm.names() == ["requeue"]
    assert len(history_of(controller).ends) == 1


def test_an_end_after_a_settled_restart_is_another_one(
    controller: Controller, slurm: FakeSlurm
) -> None:
    put(
        controller,
        facts.ended(nodes=facts.NODES[:3]),
        IntendEvent(at=1, operations=("requeue",), **KEY),
        OutcomeEvent(at=1, done=("requeue",), **KEY),
    )
    assert swept(controller, slurm, failed()).missed == 1
    assert [end.attempt for end in history_of(controller).ends] == [0, None]


def test_an_ended_job_without_a_submit_time_is_left(
    controller: Controller, slurm: FakeSlurm
) -> None:
    assert swept(controller, slurm, failed(submit_time=None)) == Sweep(managed=1)
    assert slurm.requests == []


@pytest.mark.parametrize(
    "now", [managed(JobState.PENDING), failed(flags=frozenset({JobFlag.COMPLETING}))]
)
def test_a_job_that_has_changed_since_it_was_listed_is_left(
    controller: Controller, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch, now: Job
) -> None:
    slurm.show(now)
    monkeypatch.setattr(slurm, "jobs", lambda: (failed(),))
    sweep(controller)
    assert (slurm.requests, events_of(controller)) == ([], [])


# --- pending -------------------------------------------------------------------------------------


def test_a_pending_job_is_adjusted_and_its_later_phases_too(
    controller: Controller, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    propagated: list[int] = []
    monkeypatch.setattr(
        reconcile,
        "propagate_exclusions",
        lambda _controller, job, _record, _jobs: propagated.append(job.job_id),
    )
    put(controller, facts.ended(start_at=SUBMITTED, nodes=facts.NODES[:3]))
    job = managed(JobState.PENDING, eligible_time=SUBMITTED + 121)
    assert swept(controller, slurm, job) == Sweep(managed=1, pending=1)
    assert slurm.fields("StartTime") == ["now"]
    assert propagated == [7]


def test_a_pending_job_without_an_end_is_left(controller: Controller, slurm: FakeSlurm) -> None:
    record = replace(facts.comment_record(), attempt=None, submit=None, ended=False, exit=None)
    job = managed(JobState.PENDING, comment=format_comment(record))
    assert swept(controller, slurm, job) == Sweep(managed=1, pending=1)
    assert (slurm.requests, events_of(controller)) == ([], [])


def test_a_pending_job_whose_end_was_missed_is_processed(
    controller: Controller, slurm: FakeSlurm
) -> None:
    """Slurm has requeued it, so that it has a new SubmitTime; the record still has the old one."""
    job = managed(JobState.PENDING, submit_time=SUBMITTED + 700, restarts=1, exit_code=0)
    assert swept(controller, slurm, job) == Sweep(managed=1, pending=1, missed=1)
    [end] = history_of(controller).ends
    assert (end.key, end.requeued) == ((SUBMITTED, 0), True)
    assert "requeue" not in slurm.names()


def test_a_pending_job_that_starts_meanwhile_is_left(
    controller: Controller, slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(controller, facts.ended(start_at=SUBMITTED, nodes=facts.NODES[:3]))
    slurm.show(running())
    monkeypatch.setattr(slurm, "jobs", lambda: (managed(JobState.PENDING),))
    sweep(controller)
    assert slurm.requests == []


# --- running -------------------------------------------------------------------------------------


def test_a_stale_running_job_is_requeued_after_the_set_time(
    controller: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    after = int(controller.site.limits.stale_running_after)
    assert swept(controller, slurm, running()) == Sweep(managed=1)
    seen = [StaleRunningEvent(at=int(clock.now), **KEY)]
    assert events_of(controller) == seen
    clock.now += after - 1
    assert swept(controller, slurm, running()) == Sweep(managed=1)
    assert (slurm.requests, events_of(controller)) == ([], seen)
    clock.now += 1
    assert swept(controller, slurm, running()) == Sweep(managed=1, stale_running=1)
    assert slurm.names()[0] == "requeue"
    [end] = history_of(controller).ends
    assert (end.key, end.source) == ((SUBMITTED, 0), "sweep")
    assert "RUNNING although its trainer has ended" in log_of(controller)


def test_a_stale_running_job_that_is_not_to_restart_is_cancelled(
    controller: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    record = facts.comment_record(max_restarts=0, exit=1)
    job = running(comment=format_comment(record))
    for _ in range(2):
        swept(controller, slurm, job)
        clock.now += 100
    assert slurm.names() == ["update", "cancel"]
    assert len(slurm.fields("AdminComment")) == 1
    assert history_of(controller).ends[0].action is Action.CANCEL


@pytest.mark.parametrize(
    "changes",
    [
        {"comment": format_comment(facts.comment_record(ended=False, exit=None, cause=None))},
        {"submit_time": SUBMITTED + 1},
        {"submit_time": None},
    ],
    ids=["not ended", "the record of another attempt", "no SubmitTime"],
)
def test_a_running_job_is_left(
    controller: Controller, slurm: FakeSlurm, clock: Clock, changes: dict[str, Any]
) -> None:
    for _ in range(2):
        assert swept(controller, slurm, running(**changes)) == Sweep(managed=1)
        clock.now += 1000
    assert (slurm.requests, events_of(controller)) == ([], [])


def test_the_time_counts_from_the_attempt_that_is_shown(
    controller: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    """An attempt may start with the SubmitTime and the record of the one before."""
    swept(controller, slurm, running())
    first = int(clock.now)
    clock.now += 1000
    assert swept(controller, slurm, running(start_time=first + 500)) == Sweep(managed=1)
    assert slurm.requests == []
    seen = of_kind(events_of(controller), StaleRunningEvent)
    assert [event.at for event in seen] == [first, first + 1000]


def test_an_end_in_the_journal_shows_a_stale_running_job_as_well(
    controller: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    """The final report may be lost, although the hook has put the end in the journal."""
    record = facts.comment_record(ended=False, exit=None, cause=None)
    job = running(comment=format_comment(record))
    end = facts.ended(at=SUBMITTED + 500, nodes=facts.NODES[:3])
    put(controller, end, IntendEvent(at=1, operations=("requeue",), **KEY))
    swept(controller, slurm, job)
    clock.now += 60
    assert swept(controller, slurm, job).stale_running == 1
    assert slurm.names() == ["requeue"]


def test_an_end_before_the_attempt_started_shows_nothing(
    controller: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    record = facts.comment_record(ended=False, exit=None, cause=None)
    put(controller, facts.ended(at=SUBMITTED), NoteEvent(at=1, text="x"))
    for _ in range(2):
        swept(controller, slurm, running(comment=format_comment(record)))
        clock.now += 1000
    assert slurm.requests == []
