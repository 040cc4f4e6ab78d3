"""A pending job is adjusted only after a restart was decided, and never in observe mode."""

from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.control.adjust_pending import WHOLE_SECOND, PendingJob, adjust_pending
from slurm_restart.control.controller import Controller
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    EndEvent,
    ExcludeEvent,
    IntendEvent,
    OutcomeEvent,
    ReadmitEvent,
)
from slurm_restart.errors import SlurmError
from tests.unit.control.conftest import (
    Clock,
    FakeSlurm,
    events_of,
    log_of,
    observing,
    of_kind,
    put,
)
from tests.unit.core import facts

RESTARTED = facts.ended(start_at=facts.SUBMITTED, nodes=facts.NODES[:3])
REQUESTED = OutcomeEvent(
    at=facts.SUBMITTED, submit_time=facts.SUBMITTED, attempt=0, done=("requeue",)
)


def waiting(job: Job | None = None, *, startable: bool | None = True) -> PendingJob:
    return PendingJob(
        job=job or facts.pending(),
        comment_record=facts.comment_record(),
        nodes=facts.nodes(),
        startable=startable,
    )


def test_a_due_job_is_started(controller: Controller, slurm: FakeSlurm) -> None:
    put(controller, RESTARTED)
    assert adjust_pending(controller, waiting()) == facts.SUBMITTED
    assert slurm.fields("StartTime") == ["now"]
    assert "job 7: adjust: update StartTime=now" in log_of(controller)


def test_the_intent_is_on_disk_first(controller: Controller, fsyncs: list[str]) -> None:
    put(controller, RESTARTED, REQUESTED)
    fsyncs.clear()
    adjust_pending(controller, waiting())
    assert fsyncs == ["job", "fsync", "update", "fsync"]


@pytest.mark.parametrize("action", [Action.LEAVE, Action.CANCEL])
def test_a_job_that_is_not_to_restart_is_left_alone(
    controller: Controller, slurm: FakeSlurm, action: Action
) -> None:
    put(controller, replace(RESTARTED, action=action))
    before = events_of(controller)
    assert adjust_pending(controller, waiting()) is None
    assert (slurm.requests, events_of(controller)) == ([], before)


def test_a_job_without_an_end_is_left_alone(controller: Controller, slurm: FakeSlurm) -> None:
    assert adjust_pending(controller, waiting()) is None
    assert (slurm.requests, events_of(controller)) == ([], [])


def test_observe_mode_changes_nothing(controller: Controller, slurm: FakeSlurm) -> None:
    put(controller, RESTARTED)
    assert adjust_pending(observing(controller), waiting()) is None
    assert slurm.calls == []
    assert events_of(controller) == [RESTARTED]
    assert log_of(controller) == ""


@pytest.mark.parametrize(("passed", "started"), [(0, False), (1, False), (WHOLE_SECOND, True)])
def test_no_start_before_a_full_second_has_passed(
    controller: Controller, slurm: FakeSlurm, clock: Clock, passed: int, started: bool
) -> None:
    submitted = int(clock.now) - passed
    put(controller, replace(RESTARTED, submit_time=submitted - 1000))
    job = facts.pending(submit_time=submitted, eligible_time=submitted + 121)
    slurm.show(job)
    adjust_pending(controller, waiting(job, startable=None))
    assert slurm.fields("StartTime") == ["now"] * started


def test_no_start_without_a_submit_time(controller: Controller, slurm: FakeSlurm) -> None:
    put(controller, RESTARTED)
    job = facts.pending(submit_time=None)
    slurm.show(job)
    adjust_pending(controller, waiting(job, startable=None))
    assert slurm.requests == []


def test_an_interrupted_requeue_is_closed_once(controller: Controller, clock: Clock) -> None:
    put(
        controller,
        RESTARTED,
        IntendEvent(at=1, submit_time=facts.SUBMITTED, attempt=0, operations=("requeue",)),
    )
    for _ in range(2):
        adjust_pending(controller, waiting())
    closed = [
        event
        for event in of_kind(events_of(controller), OutcomeEvent)
        if "seen pending" in event.done
    ]
    assert [(event.key, event.at) for event in closed] == [(RESTARTED.key, int(clock.now))]


def test_a_requeue_with_an_outcome_is_not_closed_again(controller: Controller) -> None:
    put(controller, RESTARTED, REQUESTED)
    adjust_pending(controller, waiting())
    outcomes = of_kind(events_of(controller), OutcomeEvent)
    assert [event.done for event in outcomes] == [("requeue",), ("update\tStartTime=now",)]


def test_an_adjusted_job_is_not_adjusted_again(controller: Controller, slurm: FakeSlurm) -> None:
    put(controller, RESTARTED, REQUESTED)
    adjust_pending(controller, waiting())
    before = events_of(controller)
    adjust_pending(controller, waiting())
    assert (slurm.names(), events_of(controller)) == (["update"], before)


def test_a_refusal_is_logged(controller: Controller, slurm: FakeSlurm) -> None:
    put(controller, RESTARTED)
    slurm.refused["update"] = SlurmError("Access denied")
    adjust_pending(controller, waiting())
    assert "job 7: refused by Slurm: update StartTime=now: Access denied" in log_of(controller)


def test_the_reservation_bounds_the_nodes(controller: Controller, slurm: FakeSlurm) -> None:
    slurm.reservations["r"] = ("csx1", "csx2")
    put(controller, RESTARTED)
    job = facts.pending(reservation="r")
    slurm.show(job)
    adjust_pending(controller, waiting(job))
    assert slurm.fields("NumNodes") == ["2-2"]


def test_what_another_process_excluded_meanwhile_is_no_persons_act(
    controller: Controller, slurm: FakeSlurm
) -> None:
    listed_before = facts.pending()
    excluded = ExcludeEvent(
        at=1, node="csx3", until=facts.SUBMITTED * 2, evidence="e", submit_time=1
    )
    put(controller, RESTARTED, excluded, AppliedEvent(at=1, exc_nodes=("csx3",)))
    slurm.show(replace(listed_before, exc_nodes=("csx3",)))
    adjust_pending(controller, waiting(listed_before))
    assert of_kind(events_of(controller), ReadmitEvent) == []
    assert slurm.fields("ExcNodeList") == []


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.CANCELLED])
def test_a_job_that_has_started_or_ended_meanwhile_is_left_alone(
    controller: Controller, slurm: FakeSlurm, state: JobState
) -> None:
    put(controller, RESTARTED)
    slurm.show(replace(facts.pending(), state=state))
    assert adjust_pending(controller, waiting()) is None
    assert slurm.requests == []


def test_the_journal_is_exported(controller: Controller, tmp_path: Path) -> None:
    public = tmp_path / "public"
    public.mkdir()
    put(controller, RESTARTED)
    exporting = replace(controller, site=replace(controller.site, export_dir=public))
    adjust_pending(exporting, waiting())
    [copy] = public.glob("c/*.jsonl")
    assert '"event":"outcome"' in copy.read_text()
    assert of_kind(events_of(controller), EndEvent) == [RESTARTED]
