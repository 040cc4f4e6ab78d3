"""A sweep advances each managed job, leaves those at rest alone, and no job harms the others."""

from dataclasses import asdict, replace
from typing import Any

import pytest

from slurm_restart.control.controller import Controller
from slurm_restart.control.journal import journal_path
from slurm_restart.control.reconcile import Sweep, sweep
from slurm_restart.control.state_dir import BIRTH
from slurm_restart.core.category import Category
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.job_comment import format_comment
from slurm_restart.core.journal_events import (
    Action,
    EndEvent,
    FinalEvent,
    NoteEvent,
    StaleRunningEvent,
    StartedEvent,
)
from slurm_restart.errors import SlurmError, SlurmUnavailableError
from tests.unit.control.conftest import (
    ActingSlurm,
    Clock,
    events_of,
    history_of,
    log_of,
    observing,
    of_kind,
    put,
    run_key_of,
)
from tests.unit.control.test_end_queue import queue
from tests.unit.core import facts

SUBMITTED = facts.SUBMITTED
RECORD = facts.comment_record()
COMMENT = format_comment(RECORD)
RUNS = format_comment(facts.comment_record(ended=False, exit=None, cause=None))
KEY = {"submit_time": SUBMITTED, "attempt": 0}


@pytest.fixture
def slurm(clock: Clock) -> ActingSlurm:
    """A Slurm without jobs."""
    return ActingSlurm(clock)


@pytest.fixture(autouse=True)
def _long_ago(controller: Controller) -> None:
    """The state directory is older than every end."""
    (controller.site.state_dir / BIRTH).write_text("1\n")


def managed(state: JobState | None, job_id: int = 7, **changes: Any) -> Job:
    """A job of the run as a sweep lists it."""
    values = {"comment": COMMENT, "nodes": facts.NODES[:3], "exit_code": 1, "run_time": 600}
    return facts.job(**{"job_id": job_id, "state": state} | values | changes)


def failed(job_id: int = 7, **changes: Any) -> Job:
    return managed(JobState.FAILED, job_id, reason="NonZeroExitCode", **changes)


def running(**changes: Any) -> Job:
    """Attempt 0, shown as RUNNING although it has reported its end."""
    return managed(JobState.RUNNING, **{"start_time": SUBMITTED + 1, "exit_code": 0} | changes)


def waiting(job_id: int = 7, **changes: Any) -> Job:
    """The job after the requeue that followed attempt 0."""
    values = {"submit_time": SUBMITTED + 300, "eligible_time": SUBMITTED + 421, "restarts": 1}
    return managed(JobState.PENDING, job_id, **values | {"nodes": ()} | changes)


def swept(controller: Controller, slurm: ActingSlurm, *jobs: Job) -> Sweep:
    """Sweep over these jobs only."""
    slurm.jobs_by_id.clear()
    slurm.calls.clear()
    for job in jobs:
        slurm.show(job)
    return sweep(controller)


# --- which jobs ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "other",
    [
        failed(array_job_id=7),
        failed(comment=""),
        failed(comment="csx-restart/2 run=x"),
        failed(flags=frozenset({JobFlag.COMPLETING})),
        managed(None, flags=frozenset({JobFlag.COMPLETING})),
    ],
    ids=["array", "no comment", "another form", "completing", "completing on 22.05"],
)
def test_other_jobs_are_not_swept(controller: Controller, slurm: ActingSlurm, other: Job) -> None:
    assert swept(controller, slurm, other) == Sweep()
    assert slurm.calls == ["jobs"]


@pytest.mark.parametrize("state", [JobState.SUSPENDED, None])
def test_a_suspended_job_is_left_alone(
    controller: Controller, slurm: ActingSlurm, state: JobState | None
) -> None:
    assert swept(controller, slurm, managed(state)) == Sweep(managed=1)
    assert (slurm.requests, events_of(controller)) == ([], [])


def test_a_problem_with_one_job_leaves_the_others(
    controller: Controller, slurm: ActingSlurm
) -> None:
    journal_path(controller.site.state_dir, run_key_of(8)).mkdir(parents=True)
    jobs = (failed(6, comment="csx-restart/1 run=broken"), failed(8), failed(9))
    result = swept(controller, slurm, *jobs)
    assert (result.managed, result.problems) == (3, 2)
    assert [request.job_id for request in slurm.requests if request.name == "requeue"] == [9]
    for _ in range(3):
        swept(controller, slurm, *jobs)
    log = log_of(controller)
    assert log.count("job 6: sweep: CommentRecordError: ") == 1
    assert log.count("job 8: sweep: StateError: ") == 1


def test_a_job_that_slurm_has_dropped_meanwhile_leaves_the_others(
    controller: Controller, slurm: ActingSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    slurm.show(failed(9))
    monkeypatch.setattr(slurm, "jobs", lambda **_: (failed(6), failed(9)))
    assert sweep(controller).problems == 1
    assert [request.job_id for request in slurm.requests if request.name == "requeue"] == [9]


@pytest.mark.parametrize("query", ["jobs", "nodes", "job"])
def test_a_controller_that_does_not_answer_ends_the_sweep(
    controller: Controller, slurm: ActingSlurm, monkeypatch: pytest.MonkeyPatch, query: str
) -> None:
    slurm.show(failed())

    def fail(*_arguments: Any, **_named: Any) -> None:
        raise SlurmUnavailableError("no answer")

    monkeypatch.setattr(slurm, query, fail)
    with pytest.raises(SlurmUnavailableError):
        sweep(controller)


def test_nodes_and_configuration_are_read_once_for_all_jobs(
    controller: Controller, slurm: ActingSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    read: list[str] = []
    for name in ("nodes", "cluster_facts", "partitions"):
        answer = getattr(slurm, name)()
        monkeypatch.setattr(slurm, name, lambda n=name, a=answer: read.append(n) or a)
    swept(controller, slurm, *(waiting(number) for number in range(5)))
    assert len(slurm.requests) >= 5
    assert sorted(read) == ["cluster_facts", "nodes", "partitions"]


def test_observe_mode_changes_nothing_in_slurm(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    observer = observing(controller)
    for _ in range(2):
        swept(observer, slurm, failed(7), waiting(8), running(job_id=9))
        clock.now += 1000
    assert slurm.requests == []
    ends = [end for n in (7, 8, 9) for end in history_of(controller, run_key_of(n)).ends]
    assert {end.observed for end in ends} == {True}


# --- at rest -------------------------------------------------------------------------------------


FINAL = FinalEvent(at=SUBMITTED + 5, restarts=0, submit_time=SUBMITTED, state="FAILED")
STARTED = StartedEvent(at=SUBMITTED + 1, restarts=0, submit_time=SUBMITTED, nodes=facts.NODES[:3])
LEFT = facts.ended(action=Action.LEAVE)


@pytest.mark.parametrize(
    ("job", "events", "rests"),
    [
        (failed(), (LEFT, FINAL), True),
        (failed(), (LEFT,), False),
        (failed(), (FINAL,), False),
        (failed(submit_time=SUBMITTED + 9), (LEFT, FINAL), False),
        (failed(), (FINAL, replace(LEFT, at=SUBMITTED + 6)), False),
        (running(comment=RUNS), (STARTED,), True),
        (running(comment=RUNS, nodes=("csx1", "csx2"), batch_host="csx1"), (STARTED,), True),
        (running(comment=RUNS, nodes=("csx2", "csx3"), batch_host="csx1"), (STARTED,), False),
        (running(comment=RUNS), (), False),
        (running(comment=RUNS), (replace(STARTED, submit_time=1),), False),
        (running(), (STARTED,), False),
        (running(comment=RUNS), (STARTED, replace(LEFT, at=SUBMITTED + 2)), False),
        (running(comment=RUNS), (STARTED, replace(LEFT, submit_time=1)), False),
        (running(comment=RUNS), (STARTED, facts.ended(submit_time=1)), True),
        (waiting(), (facts.ended(),), False),
    ],
    ids=[
        "final, and recorded",
        "final, not recorded",
        "final, not judged",
        "final, another attempt",
        "final, judged after the record",
        "running",
        "running, with its batch host",
        "running, without its batch host",
        "running, nodes not recorded",
        "running, nodes of another attempt",
        "running, has reported its end",
        "running, its end is in the journal",
        "running after a final end",
        "running after a restart",
        "pending",
    ],
)
def test_a_job_at_rest_is_not_asked_for(
    controller: Controller, slurm: ActingSlurm, job: Job, events: tuple[Any, ...], rests: bool
) -> None:
    put(controller, *events)
    swept(controller, slurm, job)
    assert ("job" not in slurm.calls) is rests


@pytest.mark.parametrize("observe", [False, True], ids=["acting", "observing"])
@pytest.mark.parametrize("job", [failed(), running(comment=RUNS)], ids=["ended", "running"])
def test_a_job_comes_to_rest(
    controller: Controller, slurm: ActingSlurm, job: Job, observe: bool
) -> None:
    """The sweep itself records what the next one needs in order to leave the job alone."""
    put(controller, *((LEFT,) if job.state is JobState.FAILED else ()))
    sweeper = observing(controller) if observe else controller
    swept(sweeper, slurm, job)
    swept(sweeper, slurm, job)
    assert slurm.calls == ["jobs"]


def test_an_end_that_was_only_observed_comes_to_rest(
    controller: Controller, slurm: ActingSlurm
) -> None:
    swept(observing(controller), slurm, failed())
    for sweeper in (observing(controller), controller):
        swept(sweeper, slurm, failed())
        assert slurm.calls == ["jobs"]
    assert [end.observed for end in history_of(controller).ends] == [True]


# --- ended ---------------------------------------------------------------------------------------


def test_an_end_without_a_hook_is_judged_and_restarted(
    controller: Controller, slurm: ActingSlurm
) -> None:
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
    controller: Controller, slurm: ActingSlurm, known: EndEvent
) -> None:
    put(controller, known)
    assert swept(controller, slurm, failed()) == Sweep(managed=1)
    assert slurm.requests == []


def test_an_end_from_before_the_state_directory_is_not_judged(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    """Nor is an end of the same second: which of the two was first cannot be told."""
    born = int(clock.now) - 1
    (controller.site.state_dir / BIRTH).write_text(f"{born}\n")
    old, new = failed(6, end_time=born), failed(8, end_time=born + 1)
    assert swept(controller, slurm, old, new) == Sweep(managed=2, missed=1)
    assert [request.job_id for request in slurm.requests if request.name == "requeue"] == [8]


def test_an_ended_job_without_a_submit_time_is_reported(
    controller: Controller, slurm: ActingSlurm
) -> None:
    assert swept(controller, slurm, failed(submit_time=None)) == Sweep(managed=1, problems=1)
    assert (slurm.requests, events_of(controller)) == ([], [])


# --- pending -------------------------------------------------------------------------------------


def test_a_pending_job_is_started(controller: Controller, slurm: ActingSlurm) -> None:
    put(controller, facts.ended(start_at=SUBMITTED, nodes=facts.NODES[:3]))
    assert swept(controller, slurm, waiting()) == Sweep(managed=1, pending=1)
    assert slurm.fields("StartTime") == ["now"]


def test_a_pending_job_that_has_not_run_yet_is_left(
    controller: Controller, slurm: ActingSlurm
) -> None:
    record = replace(RECORD, attempt=None, submit=None, ended=False, exit=None, cause=None)
    job = managed(JobState.PENDING, comment=format_comment(record))
    assert swept(controller, slurm, job) == Sweep(managed=1, pending=1)
    assert (slurm.requests, events_of(controller)) == ([], [])


def test_a_pending_job_whose_end_was_missed_is_judged(
    controller: Controller, slurm: ActingSlurm
) -> None:
    """Slurm has requeued it, so that it has a new SubmitTime; the record still has the old one."""
    assert swept(controller, slurm, waiting(exit_code=0)) == Sweep(managed=1, pending=1, missed=1)
    [end] = history_of(controller).ends
    assert (end.key, end.requeued) == ((SUBMITTED, 0), True)
    assert "requeue" not in slurm.names()


@pytest.mark.parametrize("run", [facts.RUN, "fedcba9876543210"], ids=["its own", "another run's"])
def test_an_end_that_its_hook_has_only_written_down_is_judged_with_its_nodes(
    controller: Controller, slurm: ActingSlurm, run: str
) -> None:
    """A pending job shows no nodes; a job id is used again after a crash of slurmctld."""
    blames = facts.comment_record(cause=Category.HARDWARE_ACCELERATOR, rule="a.b", nodes="csx1")
    comment = format_comment(replace(blames, run=run))
    path = queue(controller.site.state_dir, comment=comment)
    swept(controller, slurm, waiting(comment=format_comment(blames)))
    own = run == facts.RUN
    [end] = history_of(controller).ends
    assert (end.nodes, end.exit_code) == ((("csx1",), 3) if own else ((), 1))
    excluded = [exclusion.node for exclusion in history_of(controller).exclusions]
    assert excluded == (["csx1"] if own else [])
    assert path.exists() is not own


def test_a_job_that_has_started_since_it_was_listed_is_left(
    controller: Controller, slurm: ActingSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    put(controller, facts.ended(start_at=SUBMITTED, nodes=facts.NODES[:3]))
    slurm.show(running(comment=RUNS, restarts=1, submit_time=SUBMITTED + 300))
    monkeypatch.setattr(slurm, "jobs", lambda **_: (waiting(),))
    sweep(controller)
    assert slurm.requests == []


# --- running -------------------------------------------------------------------------------------


def test_a_stale_running_job_is_requeued_after_the_set_time(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    after = int(controller.site.limits.stale_running_after)
    assert swept(controller, slurm, running()) == Sweep(managed=1)
    seen = [StaleRunningEvent(at=int(clock.now), **KEY)]
    assert events_of(controller) == seen
    clock.now += after - 1
    assert swept(controller, slurm, running()) == Sweep(managed=1)
    assert (slurm.requests, events_of(controller)) == ([], seen)
    clock.now += 1
    assert swept(controller, slurm, running()) == Sweep(managed=1, missed=1, stale_running=1)
    assert slurm.names()[0] == "requeue"
    [end] = history_of(controller).ends
    assert (end.key, end.source) == ((SUBMITTED, 0), "sweep")


def test_a_stale_running_job_that_is_not_to_restart_is_cancelled(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    job = running(comment=format_comment(facts.comment_record(max_restarts=0, exit=1)))
    for _ in range(2):
        swept(controller, slurm, job)
        clock.now += 100
    assert slurm.names() == ["cancel"]
    assert not history_of(controller).ends[0].action.restarts


@pytest.mark.parametrize(
    "changes",
    [{"comment": RUNS}, {"submit_time": SUBMITTED + 1}],
    ids=["not ended", "the record of another attempt"],
)
def test_a_running_job_is_left(
    controller: Controller, slurm: ActingSlurm, clock: Clock, changes: dict[str, Any]
) -> None:
    for _ in range(2):
        assert swept(controller, slurm, running(**changes)) == Sweep(managed=1)
        clock.now += 1000
    assert slurm.requests == []
    assert [type(event) for event in events_of(controller)] == [StartedEvent]


def test_the_time_counts_from_the_attempt_that_is_shown(
    controller: Controller, slurm: ActingSlurm, clock: Clock
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
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    """The final report may be lost, although the hook has put the end in the journal."""
    job = running(comment=RUNS)
    put(controller, facts.ended(at=SUBMITTED + 500, nodes=facts.NODES[:3]))
    swept(controller, slurm, job)
    clock.now += 60
    swept(controller, slurm, job)
    assert slurm.names()[0] == "requeue"
    assert len(history_of(controller).ends) == 1


def test_an_end_before_the_attempt_started_shows_nothing(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    put(controller, facts.ended(at=SUBMITTED), NoteEvent(at=1, text="x"))
    for _ in range(2):
        swept(controller, slurm, running(comment=RUNS))
        clock.now += 1000
    assert slurm.requests == []


def test_a_finished_run_that_slurm_shows_running_is_requeued_once_more(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    """Its next attempt ends as success at once, which a cancellation would take from dependents."""
    record = facts.comment_record(exit=0, cause=Category.COMPLETED)
    for _ in range(2):
        swept(controller, slurm, running(comment=format_comment(record)))
        clock.now += 100
    assert slurm.names()[0] == "requeue"


# --- old journals --------------------------------------------------------------------------------


def test_old_journals_are_removed_and_counted(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    put(controller, NoteEvent(at=1, text="x"))
    put(controller, NoteEvent(at=1, text="x"), key=run_key_of(8))
    clock.now = 10.0**10
    assert swept(controller, slurm, failed(8, comment="")).removed == 1
    assert asdict(swept(controller, slurm))["removed"] == 0  # once an hour
    assert not journal_path(controller.site.state_dir, run_key_of(7)).exists()
    assert journal_path(controller.site.state_dir, run_key_of(8)).exists()


def test_a_refusal_leaves_the_other_jobs(controller: Controller, slurm: ActingSlurm) -> None:
    slurm.refused["requeue"] = SlurmError("Access denied")
    assert swept(controller, slurm, failed(6), failed(9)) == Sweep(managed=2, missed=2)
    assert slurm.names() == ["requeue", "requeue"]
