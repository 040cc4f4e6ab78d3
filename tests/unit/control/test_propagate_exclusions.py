"""Later phases of the same user and run exclude the same nodes; other jobs are never changed."""

from dataclasses import replace

import pytest

from slurm_restart.control.controller import Controller
from slurm_restart.control.propagate_exclusions import later_phases, propagate_exclusions
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, format_comment
from slurm_restart.core.journal_events import AppliedEvent, Event, ExcludeEvent, ReadmitEvent
from slurm_restart.errors import SlurmError
from tests.unit.control.conftest import (
    Clock,
    FakeSlurm,
    Request,
    events_of,
    log_of,
    of_kind,
    put,
    run_key_of,
)
from tests.unit.core import facts

THIS = facts.comment_record(phase=1)
JOB = facts.pending()
FAR = facts.SUBMITTED * 2


def phase(job_id: int = 8, *, comment: str | None = None, **changes: object) -> Job:
    """A pending job of the same run that has not started yet."""
    record = CommentRecord(run=facts.RUN, max_restarts=3, num_nodes=3, min_nodes=2, phase=2)
    fields = {name: changes.pop(name) for name in ("run", "phase", "attempt") if name in changes}
    return facts.pending(
        job_id=job_id,
        comment=format_comment(replace(record, **fields)) if comment is None else comment,
        **changes,
    )


def exclusion(node: str = "csx2", since: int = facts.SUBMITTED, until: int = FAR) -> ExcludeEvent:
    return ExcludeEvent(at=since, node=node, until=until, evidence="e", submit_time=1)


def propagate(controller: Controller, *jobs: Job) -> None:
    propagate_exclusions(controller, JOB, THIS, jobs)


# --- which jobs ----------------------------------------------------------------------------------


def test_a_later_phase_is_found() -> None:
    job = phase()
    [(found, record)] = later_phases([job], 1000, THIS)
    assert (found, record.phase) == (job, 2)


@pytest.mark.parametrize(
    "other",
    [
        phase(uid=1001),
        phase(state=JobState.RUNNING),
        phase(state=JobState.CANCELLED),
        phase(run="fedcba9876543210"),
        phase(phase=1),
        phase(phase=0),
        phase(attempt=0),
        phase(comment="a person's own"),
        phase(comment=""),
        phase(comment="csx-restart/1 run=broken"),
    ],
    ids=[
        "another user",
        "running",
        "ended",
        "another run",
        "this phase",
        "an earlier phase",
        "has run before",
        "unmanaged",
        "no comment",
        "invalid record",
    ],
)
def test_other_jobs_are_no_later_phases(
    controller: Controller, slurm: FakeSlurm, other: Job
) -> None:
    assert later_phases([other, phase(9)], 1000, THIS)[0][0].job_id == 9
    put(controller, exclusion())
    propagate(controller, other)
    assert slurm.requests == []


# --- what they exclude ---------------------------------------------------------------------------


def test_a_later_phase_excludes_the_same_nodes(
    controller: Controller, slurm: FakeSlurm, clock: Clock
) -> None:
    put(controller, exclusion("csx2"), exclusion("csx3", since=5))
    propagate(controller, phase())
    assert slurm.requests == [Request("update", 8, {"ExcNodeList": "csx2,csx3"})]
    events = events_of(controller, run_key_of(8))
    assert [(event.node, event.at, event.until) for event in of_kind(events, ExcludeEvent)] == [
        ("csx2", facts.SUBMITTED, FAR),
        ("csx3", 5, FAR),
    ]
    assert events[-1] == AppliedEvent(at=int(clock.now), exc_nodes=("csx2", "csx3"))


def test_it_is_done_once(controller: Controller, slurm: FakeSlurm) -> None:
    put(controller, exclusion())
    propagate(controller, phase())
    propagate(controller, phase(exc_nodes=("csx2",)))
    propagate(controller, phase())  # a person has cleared the list
    assert len(slurm.requests) == 1


def test_every_later_phase_has_its_own_journal(controller: Controller, slurm: FakeSlurm) -> None:
    put(controller, exclusion())
    propagate(controller, phase(8), phase(9, phase=3))
    assert [request.job_id for request in slurm.requests] == [8, 9]
    for job_id in (8, 9):
        assert len(of_kind(events_of(controller, run_key_of(job_id)), ExcludeEvent)) == 1


def test_what_people_exclude_stays(controller: Controller, slurm: FakeSlurm) -> None:
    put(controller, exclusion())
    propagate(controller, phase(exc_nodes=("csx4",)))
    assert slurm.fields("ExcNodeList") == ["csx2,csx4"]
    [applied] = of_kind(events_of(controller, run_key_of(8)), AppliedEvent)
    assert applied.exc_nodes == ("csx2",)


def test_a_node_that_people_exclude_already_asks_for_nothing(
    controller: Controller, slurm: FakeSlurm
) -> None:
    put(controller, exclusion())
    propagate(controller, phase(exc_nodes=("csx2",)))
    assert slurm.requests == []


def test_a_node_that_the_phase_readmitted_is_not_excluded_again(
    controller: Controller, slurm: FakeSlurm
) -> None:
    put(controller, exclusion())
    put(controller, ReadmitEvent(at=1, node="csx2", why="cleared"), key=run_key_of(8))
    propagate(controller, phase())
    assert slurm.requests == []


@pytest.mark.parametrize(
    "over", [exclusion(until=facts.SUBMITTED + 600), ReadmitEvent(at=2, node="csx2", why="x")]
)
def test_an_exclusion_that_is_over_is_not_propagated(
    controller: Controller, slurm: FakeSlurm, over: Event
) -> None:
    put(controller, exclusion(), over)
    propagate(controller, phase())
    assert slurm.requests == []


def test_a_refusal_is_logged_and_leaves_the_other_phases(
    controller: Controller, slurm: FakeSlurm
) -> None:
    put(controller, exclusion())

    def refuse(request: Request) -> None:
        if request.job_id == 8:
            raise SlurmError("Invalid job state")

    slurm.on_request = refuse
    propagate(controller, phase(8), phase(9, phase=3))
    assert events_of(controller, run_key_of(8)) == []
    assert len(of_kind(events_of(controller, run_key_of(9)), ExcludeEvent)) == 1
    assert "job 8: exclusions not set on this later phase: Invalid job state" in log_of(controller)


def test_slurm_is_queried_only_for_an_exclusion(controller: Controller, slurm: FakeSlurm) -> None:
    propagate_exclusions(controller, JOB, THIS)
    assert slurm.calls == []
    put(controller, exclusion())
    slurm.show(phase(8))
    slurm.show(phase(9, uid=1001))
    propagate_exclusions(controller, JOB, THIS)
    assert slurm.calls == ["jobs", "update"]
    assert [request.job_id for request in slurm.requests] == [8]
