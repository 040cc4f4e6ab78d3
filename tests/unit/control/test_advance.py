"""Advance a job until it is at rest: each end is judged once, and what was wanted is repeated."""

import shutil
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.control import advance as module
from slurm_restart.control.advance import MAX_STEPS, RETRY, VERIFY, advance
from slurm_restart.control.controller import Controller
from slurm_restart.control.guarded_advance import guarded_advance
from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.control.journal import journal_path
from slurm_restart.control.run_phases import later_phases
from slurm_restart.core.array_task import run_of_task
from slurm_restart.core.category import Category
from slurm_restart.core.fit_pending import Plan
from slurm_restart.core.history import History
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, format_comment
from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    EndEvent,
    ExcludeEvent,
    IntendEvent,
    NoteEvent,
    ReadmitEvent,
)
from slurm_restart.core.plan import RunPlan, RunView
from slurm_restart.core.slurm_operations import Verb
from slurm_restart.errors import (
    CommentRecordError,
    JobNotFoundError,
    JobNotPendingError,
    SlurmError,
    StateError,
)
from slurm_restart.slurm.interface import JobName
from tests.unit.control.conftest import (
    ActingSlurm,
    Clock,
    Request,
    events_of,
    history_of,
    log_of,
    observing,
    of_kind,
    put,
    run_key_of,
)
from tests.unit.core import facts

SUBMITTED = facts.SUBMITTED
COMPLETING = frozenset({facts.COMPLETING})
FAR = SUBMITTED * 2
KEY = {"submit_time": SUBMITTED, "attempt": 0}
OTHER_RUN = "fedcba9876543210"


def comment(**changes: Any) -> str:
    return format_comment(facts.comment_record(**changes))


def hook(**changes: Any) -> HookEnvironment:
    values: dict[str, Any] = {
        "cluster": "c",
        "job_id": 7,
        "uid": 1000,
        "comment": comment(),
        "exit_code": 1,
        "signal": 0,
        "restarts": 0,
        "nodelist": "csx[1-3]",
    }
    return HookEnvironment(**values | changes)


def ending(**changes: Any) -> Job:
    """Attempt 0 after it has failed, COMPLETING."""
    values: dict[str, Any] = {
        "state": JobState.FAILED,
        "flags": COMPLETING,
        "comment": comment(),
        "reason": "NonZeroExitCode",
        "exit_code": 1,
        "nodes": facts.NODES[:3],
    }
    return facts.job(**values | changes)


def waiting(job_id: int = 7, **changes: Any) -> Job:
    """The job after its first requeue."""
    values: dict[str, Any] = {
        "comment": comment(),
        "restarts": 1,
        "submit_time": SUBMITTED + 300,
        "eligible_time": SUBMITTED + 421,
    }
    return facts.pending(job_id=job_id, **values | changes)


RESTARTED = facts.ended(start_at=SUBMITTED, nodes=facts.NODES[:3], num_nodes=3)


@pytest.fixture
def slurm(clock: Clock) -> ActingSlurm:
    return ActingSlurm(clock, ending())


def ends(controller: Controller) -> list[EndEvent]:
    return of_kind(events_of(controller), EndEvent)


# --- an end, the first time ----------------------------------------------------------------------


@pytest.mark.parametrize("hides_state", [False, True], ids=["from 24.11", "before 24.11"])
def test_a_failed_job_is_requeued_and_started(
    controller: Controller, slurm: ActingSlurm, clock: Clock, hides_state: bool
) -> None:
    slurm.hides_state = hides_state
    look_again = advance(controller, 7, hook=hook())
    assert slurm.names() == ["requeue", "update"]
    assert slurm.fields("StartTime") == ["now+2"]
    assert look_again is not None
    clock.now += 1
    slurm.complete()
    look_again = advance(controller, 7)
    assert slurm.names() == ["requeue", "update"]
    clock.now = look_again or 0.0
    assert advance(controller, 7) is None
    assert slurm.fields("StartTime") == ["now+2", "now"]
    assert advance(controller, 7) is None
    assert len(slurm.requests) == 3
    assert len(ends(controller)) == 1


def test_the_decision_and_what_is_wanted_are_on_disk_before_the_requeue(
    controller: Controller, slurm: ActingSlurm, fsyncs: list[str]
) -> None:
    path = journal_path(controller.site.state_dir, run_key_of())
    on_disk: list[str] = []
    slurm.on_request = lambda _request: on_disk.append(path.read_text())
    advance(controller, 7, hook=hook())
    changes = [call for call in fsyncs if call not in ("job", "jobs")]
    assert changes[:4] == ["fsync", "requeue", "update", "fsync"]
    assert ['"event":"end"' in on_disk[0], '"event":"intend"' in on_disk[0]] == [True, True]


def test_a_job_that_requeues_itself_is_left_alone(
    controller: Controller, slurm: ActingSlurm
) -> None:
    own = comment(self_requeue=True)
    slurm.show(ending(comment=own))
    assert advance(controller, 7, hook=hook(comment=own)) is None
    assert slurm.requests == []
    assert events_of(controller) == []


def test_an_end_that_stays_an_end_is_put_in_the_journal(
    controller: Controller, slurm: ActingSlurm
) -> None:
    slurm.show(ending(comment=comment(max_restarts=0)))
    assert advance(controller, 7, hook=hook(comment=comment(max_restarts=0))) is None
    assert slurm.requests == []
    assert [type(event) for event in events_of(controller)] == [EndEvent]


def test_the_log_has_category_rule_action_reason_and_requests(controller: Controller) -> None:
    advance(controller, 7, hook=hook())
    log = log_of(controller)
    assert "job 7: unknown (" in log
    assert ") -> requeue (" in log
    assert "job 7: request: requeue" in log


def test_nodes_of_others_are_logged_and_not_excluded(
    controller: Controller, slurm: ActingSlurm
) -> None:
    text = comment(cause=Category.HARDWARE_NODE, nodes="csx2,elsewhere")
    slurm.show(ending(comment=text))
    advance(controller, 7, hook=hook(comment=text))
    assert slurm.fields("ExcNodeList") == ["csx2"]
    assert "nodes that are not this job's, not excluded: elsewhere" in log_of(controller)


def test_a_job_without_a_valid_record_is_refused(
    controller: Controller, slurm: ActingSlurm
) -> None:
    slurm.show(ending(comment="csx-restart/1 run=broken"))
    with pytest.raises(CommentRecordError):
        advance(controller, 7)
    assert slurm.requests == []


def test_a_record_that_another_run_has_replaced_meanwhile_is_not_used(
    controller: Controller, slurm: ActingSlurm
) -> None:
    slurm.show(ending(comment=comment(run=OTHER_RUN, max_restarts=0)))
    advance(controller, 7, hook=hook())
    assert "requeue" in slurm.names()
    assert events_of(controller, run_key_of(run=OTHER_RUN)) == []


def test_a_final_update_after_the_hook_has_started_counts(
    controller: Controller, slurm: ActingSlurm
) -> None:
    slurm.show(ending(comment=comment(cause=Category.CONFIG, exit=1)))
    advance(controller, 7, hook=hook(comment=comment(ended=False, exit=None, cause=None)))
    assert [end.category for end in ends(controller)] == [Category.CONFIG]


# --- a task of an array --------------------------------------------------------------------------


@pytest.fixture
def array(slurm: ActingSlurm) -> ActingSlurm:
    """Job array 7: task 2, which started last and has the id of the array, and two others."""
    slurm.show(ending(array_job_id=7, array_task_id=2))
    for job_id, task in ((8, 0), (9, 1)):
        running = {"state": JobState.RUNNING, "comment": comment(ended=False)}
        slurm.show(facts.job(job_id=job_id, array_job_id=7, array_task_id=task, **running))
    return slurm


def test_only_the_task_that_has_ended_is_requeued(
    controller: Controller, array: ActingSlurm, clock: Clock
) -> None:
    others = {job_id: array.real(job_id) for job_id in (8, 9)}
    blames = comment(cause=Category.HARDWARE_NODE, nodes="csx2")
    array.change(comment=blames)
    advance(controller, 7, hook=hook(array_task_id=2, comment=blames))
    clock.now += 3
    array.complete()
    advance(controller, 7)
    assert {request.job_id for request in array.requests} == {"7_2"}
    assert array.fields("ExcNodeList") == ["csx2"]
    assert {job_id: array.real(job_id) for job_id in (8, 9)} == others


def test_each_task_has_a_journal_of_its_own(controller: Controller, array: ActingSlurm) -> None:
    advance(controller, 7, hook=hook(array_task_id=2))
    array.show(ending(job_id=8, array_job_id=7, array_task_id=0))
    advance(controller, 8, hook=hook(job_id=8, array_task_id=0))
    for job_id, task in ((7, 2), (8, 0)):
        key = run_key_of(job_id, run_of_task(facts.RUN, task))
        assert len(of_kind(events_of(controller, key), EndEvent)) == 1
    assert ends(controller) == []


@pytest.mark.parametrize("shown", [None, 4], ids=["tasks that wait", "another task"])
def test_a_job_id_that_slurmctld_has_given_to_others_is_left_alone(
    controller: Controller, array: ActingSlurm, shown: int | None
) -> None:
    array.change(array_task_id=shown)
    with pytest.raises(JobNotFoundError, match="another task"):
        advance(controller, 7, hook=hook(array_task_id=2))
    assert array.requests == []


# --- an end again --------------------------------------------------------------------------------


@pytest.mark.parametrize("hides_state", [False, True], ids=["from 24.11", "before 24.11"])
def test_the_same_end_is_judged_once(
    controller: Controller, slurm: ActingSlurm, hides_state: bool
) -> None:
    slurm.hides_state = hides_state
    for _ in range(3):
        advance(controller, 7, hook=hook())
    assert slurm.names() == ["requeue", "update"]
    assert len(ends(controller)) == 1


def test_a_crash_after_what_is_wanted_was_written_repeats_the_requeue(
    controller: Controller, slurm: ActingSlurm
) -> None:
    def die(_request: Request) -> None:
        raise KeyboardInterrupt

    slurm.on_request = die
    with pytest.raises(KeyboardInterrupt):
        advance(controller, 7, hook=hook())
    assert [type(event) for event in events_of(controller)] == [EndEvent, IntendEvent]
    slurm.on_request = lambda _request: None
    slurm.requests.clear()
    advance(controller, 7, hook=hook())
    assert slurm.names() == ["requeue", "update"]
    assert len(ends(controller)) == 1


def test_a_crash_before_the_outcome_does_not_repeat_what_slurm_shows(
    controller: Controller, slurm: ActingSlurm, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A request that Slurm carried out is seen in the job, also without its outcome on disk."""
    text = comment(cause=Category.HARDWARE_NODE, nodes="csx2")
    slurm.show(ending(comment=text))

    def update_and_die(job: JobName, fields: Mapping[str, str]) -> None:
        ActingSlurm.update(slurm, job, fields)
        raise KeyboardInterrupt

    with monkeypatch.context() as patched:
        patched.setattr(slurm, "update", update_and_die)
        with pytest.raises(KeyboardInterrupt):
            advance(controller, 7, hook=hook(comment=text))
    assert slurm.real().exc_nodes == ("csx2",)
    slurm.complete()
    clock.now += 10
    advance(controller, 7)
    assert slurm.fields("ExcNodeList") == ["csx2"]
    # A person who clears the list afterwards is believed.
    slurm.change(exc_nodes=())
    advance(controller, 7)
    assert slurm.fields("ExcNodeList") == ["csx2"]
    assert of_kind(events_of(controller), ReadmitEvent) != []


def test_a_job_that_slurm_has_restored_is_requeued_again(
    controller: Controller, slurm: ActingSlurm
) -> None:
    """slurmctld was killed before it had saved the requeue."""
    advance(controller, 7, hook=hook())
    slurm.show(ending())
    advance(controller, 7, hook=hook())
    assert slurm.names() == ["requeue", "update"] * 2
    assert len(ends(controller)) == 1


def test_the_hook_of_a_former_attempt_is_ignored(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    """It was late, and finds the job requeued for the third time."""
    put(
        controller,
        *(replace(RESTARTED, restarts=n, attempt=n, submit_time=SUBMITTED - 9 + n) for n in (0, 1)),
    )
    record = {"attempt": 2, "restarts": 2, "cause": Category.CONFIG, "submit": SUBMITTED}
    slurm.show(waiting(restarts=3, comment=comment(**record)))
    advance(controller, 7, hook=hook(restarts=0, exit_code=99))
    found = ends(controller)
    assert [end.index for end in found] == [0, 1, 2]
    assert found[-1].exit_code != 99
    clock.now += 1


def test_a_late_hook_leaves_the_end_of_the_next_attempt_to_its_own_hook(
    controller: Controller, slurm: ActingSlurm
) -> None:
    put(controller, RESTARTED)
    record = {"attempt": 1, "restarts": 1, "submit": SUBMITTED + 300}
    slurm.show(ending(restarts=1, submit_time=SUBMITTED + 300, comment=comment(**record)))
    advance(controller, 7, hook=hook(exit_code=0))
    assert [end.index for end in ends(controller)] == [0]
    assert slurm.requests == []
    advance(controller, 7, hook=hook(restarts=1, comment=comment(**record)))
    assert [(end.index, end.exit_code) for end in ends(controller)] == [(0, None), (1, 1)]


# --- an end that slurmctld has lost --------------------------------------------------------------

NOT_REPORTED: dict[str, Any] = {"ended": False, "exit": None, "cause": None}
NOT_BEGUN: dict[str, Any] = NOT_REPORTED | {"attempt": None, "submit": None, "restarts": None}


def restored(**changes: Any) -> Job:
    """The job as a slurmctld shows it that was killed before it had saved the end."""
    values: dict[str, Any] = {
        "state": JobState.RUNNING,
        "flags": frozenset(),
        "reason": "None",
        "exit_code": 0,
        "start_time": SUBMITTED,
    }
    return ending(**values | changes)


@pytest.mark.parametrize("shown", [{}, NOT_REPORTED, NOT_BEGUN])
def test_an_end_that_slurmctld_has_lost_is_judged_by_what_the_hook_was_given(
    controller: Controller, slurm: ActingSlurm, shown: dict[str, Any]
) -> None:
    reported = {"cause": Category.HARDWARE_ACCELERATOR, "rule": "a.b", "nodes": "csx2"}
    slurm.show(restored(comment=comment(**reported | shown)))
    advance(controller, 7, hook=hook(comment=comment(**reported)))
    [end] = ends(controller)
    assert (end.category, end.action) == (Category.HARDWARE_ACCELERATOR, Action.REQUEUE)
    assert (end.exit_code, end.attempt) == (1, 0)
    assert [event.node for event in of_kind(events_of(controller), ExcludeEvent)] == ["csx2"]
    assert slurm.names()[0] == "requeue"


def test_a_final_end_that_slurmctld_has_lost_is_cancelled(
    controller: Controller, slurm: ActingSlurm
) -> None:
    slurm.show(restored(comment=comment(**NOT_BEGUN)))
    advance(controller, 7, hook=hook(comment=comment(cause=Category.CONFIG)))
    assert [end.action for end in ends(controller)] == [Action.CANCEL]
    assert slurm.names() == ["cancel"]


def test_an_end_that_slurmctld_has_lost_and_requeued_is_judged_by_what_the_hook_was_given(
    controller: Controller, slurm: ActingSlurm
) -> None:
    slurm.show(waiting(comment=comment(**NOT_BEGUN)))
    advance(controller, 7, hook=hook(comment=comment(cause=Category.SOFTWARE_CRASH)))
    [end] = ends(controller)
    assert (end.category, end.exit_code, end.attempt) == (Category.SOFTWARE_CRASH, 1, 0)


def test_an_attempt_whose_start_slurmctld_has_lost_is_judged_by_its_report(
    controller: Controller, slurm: ActingSlurm
) -> None:
    """Its restart count is that of the attempt that the job waits for."""
    put(controller, RESTARTED)
    submit = SUBMITTED + 300
    report = {"attempt": 1, "restarts": 1, "submit": submit, "cause": Category.COMPLETED, "exit": 0}
    slurm.show(waiting(submit_time=submit, comment=comment(attempt=0)))
    advance(controller, 7, hook=hook(restarts=1, exit_code=0, comment=comment(**report)))
    assert [end.category for end in ends(controller)] == [Category.UNKNOWN, Category.COMPLETED]


def test_an_attempt_whose_start_slurmctld_has_lost_excludes_the_node_that_it_blames(
    controller: Controller, slurm: ActingSlurm
) -> None:
    """Slurm has no record of it: what the hook was given is all that is known."""
    slurm.show(waiting(restarts=0, submit_time=SUBMITTED, comment=comment(**NOT_BEGUN)))
    report = {"cause": Category.HARDWARE_ACCELERATOR, "rule": "a.b", "nodes": "csx2", "exit": 9}
    advance(controller, 7, hook=hook(exit_code=2, comment=comment(**report)))
    [end] = ends(controller)
    assert (end.category, end.index, end.exit_code) == (Category.HARDWARE_ACCELERATOR, 0, 2)
    assert end.nodes == facts.NODES[:3]
    assert slurm.fields("ExcNodeList") == ["csx2"]
    assert slurm.names()[-1] == "update"
    assert "requeue" not in slurm.names()


@pytest.mark.parametrize(
    "given",
    [
        hook(restarts=0, comment=comment()),
        hook(restarts=1, comment=comment()),
        hook(restarts=1, comment=comment(**NOT_REPORTED, attempt=1, restarts=1)),
    ],
    ids=["earlier attempt", "requeued by Slurm", "no report of an end"],
)
def test_a_running_attempt_with_the_same_submit_time_is_left_alone(
    controller: Controller, slurm: ActingSlurm, given: HookEnvironment
) -> None:
    """A job that waited in COMPLETING for a dead node keeps the SubmitTime (measured on 22.05)."""
    put(controller, RESTARTED)
    running = comment(**NOT_REPORTED, attempt=1, restarts=1)
    slurm.show(restored(restarts=1, comment=running))
    advance(controller, 7, hook=given)
    assert slurm.requests == []
    assert len(ends(controller)) == 1


# --- refusals ------------------------------------------------------------------------------------


def test_a_refusal_is_logged_once_and_retried(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    slurm.refused["requeue"] = SlurmError("Requested operation is presently disabled")
    for _ in range(3):
        with pytest.raises(SlurmError, match="presently disabled"):  # the front tries it itself
            advance(controller, 7, hook=hook())
        clock.now += RETRY
    assert slurm.names() == ["requeue"] * 3
    line = "job 7: refused by Slurm: requeue: Requested operation is presently disabled"
    assert log_of(controller).count(line) == 1
    del slurm.refused["requeue"]
    advance(controller, 7, hook=hook())
    assert slurm.names()[3:] == ["requeue", "update"]


def test_a_refused_update_is_retried(
    controller: Controller, slurm: ActingSlurm, clock: Clock
) -> None:
    put(controller, RESTARTED)
    slurm.show(waiting())
    slurm.refused["update"] = SlurmError("busy")
    assert advance(controller, 7) == clock.now + RETRY
    del slurm.refused["update"]
    advance(controller, 7)
    assert slurm.names() == ["update"] * 2


def test_another_refusal_is_logged_as_well(controller: Controller, slurm: ActingSlurm) -> None:
    for text in ("Access denied", "Invalid job id"):
        slurm.refused["requeue"] = SlurmError(text)
        with pytest.raises(SlurmError, match=text):
            advance(controller, 7, hook=hook())
        assert f"refused by Slurm: requeue: {text}" in log_of(controller)


def test_a_job_that_starts_meanwhile_is_no_refusal(
    controller: Controller, slurm: ActingSlurm
) -> None:
    put(controller, RESTARTED)
    slurm.show(waiting())

    def start(_request: Request) -> None:
        slurm.change(state=JobState.RUNNING, start_time=SUBMITTED + 599, nodes=facts.NODES[:3])
        raise JobNotPendingError("Job is no longer pending execution")

    slurm.on_request = start
    advance(controller, 7)
    assert slurm.names() == ["update"]
    assert "refused" not in log_of(controller)


def test_after_one_step_of_several_the_job_is_looked_at_again(
    controller: Controller, slurm: ActingSlurm, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = RunPlan(plan=Plan(after=(Verb.RELEASE,)), end=RESTARTED.key)
    monkeypatch.setattr(module, "plan", lambda _view: endless)
    assert advance(controller, 7, hook=hook(), steps=1) == clock.now + VERIFY
    assert slurm.names() == ["release"]


def test_one_step_that_asks_for_nothing_is_the_last(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    at_rest = RunPlan(plan=Plan(), end=RESTARTED.key)
    monkeypatch.setattr(module, "plan", lambda _view: at_rest)
    assert advance(controller, 7, hook=hook(), steps=1) is None


def test_a_plan_that_never_comes_to_rest_ends(
    controller: Controller, slurm: ActingSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    endless = RunPlan(plan=Plan(after=(Verb.RELEASE,)), end=RESTARTED.key)

    def plan(_view: RunView) -> RunPlan:
        return endless

    monkeypatch.setattr(module, "plan", plan)
    advance(controller, 7, hook=hook())
    assert slurm.names() == ["release"] * MAX_STEPS


# --- journal and export --------------------------------------------------------------------------


@pytest.mark.parametrize("job", [ending(), waiting()], ids=["ending", "pending"])
def test_an_unusable_journal_asks_for_nothing(
    controller: Controller, slurm: ActingSlurm, job: Job
) -> None:
    slurm.show(job)
    journal_path(controller.site.state_dir, run_key_of()).mkdir(parents=True)
    with pytest.raises(StateError):
        advance(controller, 7, hook=hook())
    assert slurm.requests == []


def test_an_unreadable_line_is_logged_once(controller: Controller) -> None:
    put(controller, NoteEvent(at=1, text="x"))
    path = journal_path(controller.site.state_dir, run_key_of())
    path.write_text("half a li\n" + path.read_text())
    for _ in range(2):
        advance(controller, 7, hook=hook())
    assert log_of(controller).count(f"{path}:1: ") == 1


def test_the_journal_is_exported_and_a_failure_only_logged(
    controller: Controller, slurm: ActingSlurm, tmp_path: Path
) -> None:
    public = tmp_path / "public"
    public.mkdir()
    exporting = replace(controller, site=replace(controller.site, export_dir=public))
    advance(exporting, 7, hook=hook())
    [copy] = public.glob("c/7-1000-*.jsonl")
    assert '"event":"end"' in copy.read_text()
    shutil.rmtree(public)
    public.write_text("not a directory")
    slurm.show(ending(job_id=8))
    advance(exporting, 8, hook=hook(job_id=8))
    assert "job 8: the exported copy of the journal was not written" in log_of(controller)
    assert slurm.requests[-1].job_id == 8


def test_a_journal_that_has_not_changed_is_not_exported(
    controller: Controller, slurm: ActingSlurm, tmp_path: Path
) -> None:
    public = tmp_path / "public"
    public.mkdir()
    put(controller, replace(RESTARTED, start_at=FAR))
    slurm.show(waiting(eligible_time=FAR))
    exporting = replace(controller, site=replace(controller.site, export_dir=public))
    advance(exporting, 7)
    assert list(public.rglob("*.jsonl")) == []


# --- observe mode --------------------------------------------------------------------------------


@pytest.mark.parametrize("job", [ending(), waiting()], ids=["ending", "pending"])
def test_observe_mode_only_writes_the_decision(
    controller: Controller, slurm: ActingSlurm, job: Job
) -> None:
    slurm.show(job)
    assert advance(observing(controller), 7, hook=hook()) is None
    assert slurm.requests == []
    [end] = events_of(controller)
    assert (end.action.restarts, end.observed) == (True, True)


def test_what_was_observed_is_not_done_later(controller: Controller, slurm: ActingSlurm) -> None:
    advance(observing(controller), 7, hook=hook())
    for job in (ending(), waiting()):
        slurm.show(job)
        assert advance(controller, 7) is None
    assert slurm.requests == []


def test_what_was_decided_is_not_repeated_in_observe_mode(
    controller: Controller, slurm: ActingSlurm
) -> None:
    put(controller, RESTARTED)
    for job in (ending(), waiting()):
        slurm.show(job)
        assert advance(observing(controller), 7) is None
    assert slurm.requests == []


# --- a pending job -------------------------------------------------------------------------------


def test_a_due_job_is_started_once(controller: Controller, slurm: ActingSlurm) -> None:
    put(controller, RESTARTED)
    slurm.show(waiting())
    for _ in range(3):
        assert advance(controller, 7) is None
    assert slurm.fields("StartTime") == ["now"]


@pytest.mark.parametrize("action", [Action.LEAVE, Action.CANCEL])
def test_a_person_who_requeues_a_run_that_had_ended_is_obeyed(
    controller: Controller, slurm: ActingSlurm, action: Action
) -> None:
    put(controller, replace(RESTARTED, action=action))
    slurm.show(waiting())
    advance(controller, 7)
    assert slurm.names() == (["update", "cancel"] if action is Action.CANCEL else [])


def test_the_reservation_bounds_the_nodes(controller: Controller, slurm: ActingSlurm) -> None:
    slurm.reservations["r"] = ("csx1", "csx2")
    put(controller, RESTARTED)
    slurm.show(waiting(reservation="r"))
    advance(controller, 7)
    assert slurm.real().num_nodes == 2


def test_what_another_process_excluded_meanwhile_is_no_persons_act(
    controller: Controller, slurm: ActingSlurm
) -> None:
    listed_before = waiting()
    excluded = ExcludeEvent(at=1, node="csx3", until=FAR, evidence="e", submit_time=1)
    put(controller, RESTARTED, excluded, AppliedEvent(at=1, exc_nodes=("csx3",)))
    slurm.show(replace(listed_before, exc_nodes=("csx3",)))
    advance(controller, 7, listed=listed_before)
    assert of_kind(events_of(controller), ReadmitEvent) == []
    assert slurm.fields("ExcNodeList") == []


@pytest.mark.parametrize("state", [JobState.RUNNING, JobState.CANCELLED])
def test_a_job_that_has_started_or_ended_meanwhile_is_left_alone(
    controller: Controller, slurm: ActingSlurm, state: JobState
) -> None:
    put(controller, RESTARTED)
    slurm.show(replace(waiting(comment=comment(ended=False, exit=None, cause=None)), state=state))
    assert advance(controller, 7, listed=waiting()) is None
    assert slurm.requests == []


# --- the phases of a run -------------------------------------------------------------------------

THIS = facts.comment_record(phase=1)


def phase(job_id: int = 8, *, text: str | None = None, **changes: Any) -> Job:
    """A pending job of the same run that has not started yet."""
    record = CommentRecord(run=facts.RUN, max_restarts=3, num_nodes=3, min_nodes=2, phase=1)
    fields = {name: changes.pop(name) for name in ("run", "phase") if name in changes}
    shown = format_comment(replace(record, **fields)) if text is None else text
    values: dict[str, Any] = {"reason": "Dependency", "eligible_time": None, "comment": shown}
    return facts.pending(job_id=job_id, **values | changes)


def blamed(controller: Controller, slurm: ActingSlurm, *jobs: Job) -> None:
    """Let phase 0 fail on node csx2, beside these jobs."""
    text = comment(cause=Category.HARDWARE_NODE, nodes="csx2")
    for job in (ending(comment=text), *jobs):
        slurm.show(job)
    advance(controller, 7, hook=hook(comment=text))


def requested(slurm: ActingSlurm, job_id: int) -> list[Request]:
    return [request for request in slurm.requests if request.job_id == job_id]


@pytest.mark.parametrize(
    "other",
    [
        phase(uid=1001),
        phase(state=JobState.RUNNING),
        phase(state=JobState.CANCELLED),
        phase(state=None),
        phase(run=OTHER_RUN),
        phase(phase=0),
        phase(text="a person's own"),
        phase(text=""),
        phase(text="csx-restart/1 run=broken"),
    ],
    ids=[
        "another user",
        "running",
        "ended",
        "no state",
        "another run",
        "this phase",
        "unmanaged",
        "no comment",
        "invalid record",
    ],
)
def test_later_phases_are_of_the_same_user_and_run(
    controller: Controller, slurm: ActingSlurm, other: Job
) -> None:
    blamed(controller, slurm, other, phase(9))
    assert requested(slurm, 8) == []
    assert len(requested(slurm, 9)) == 1


def test_later_phases_come_after_this_one() -> None:
    others = (phase(5, phase=2, uid=1001), phase(6, phase=2, run=OTHER_RUN))
    jobs = (phase(1, phase=0), phase(2, phase=1), phase(3, phase=2), phase(4, phase=3), *others)
    assert [job.job_id for job, _ in later_phases(jobs, 1000, THIS)] == [3, 4]


def test_a_later_phase_excludes_the_same_nodes_once(
    controller: Controller, slurm: ActingSlurm
) -> None:
    blamed(controller, slurm, phase(8), phase(9, phase=2))
    for _ in range(2):
        advance(controller, 7)
    for job_id in (8, 9):
        assert requested(slurm, job_id) == [Request("update", job_id, {"ExcNodeList": "csx2"})]
        events = events_of(controller, run_key_of(job_id))
        assert [event.node for event in of_kind(events, ExcludeEvent)] == ["csx2"]


def test_a_later_phase_excludes_the_nodes_before_the_earlier_one_may_start(
    controller: Controller, slurm: ActingSlurm
) -> None:
    """A hook that is killed in between leaves a run that ends before any sweep comes."""
    blamed(controller, slurm, phase(8))
    excludes = next(n for n, request in enumerate(slurm.requests) if request.job_id == 8)
    starts = next(n for n, each in enumerate(slurm.requests) if "StartTime" in each.fields)
    requeues = slurm.requests.index(Request("requeue", 7))
    assert requeues < excludes < starts


def test_a_later_phase_that_cannot_be_asked_for_does_not_delay_the_earlier_one(
    controller: Controller, slurm: ActingSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fail(*_: Any) -> Any:
        raise SlurmError("no answer")

    monkeypatch.setattr(module, "later_phases", fail)
    blamed(controller, slurm, phase(8))
    assert any("StartTime" in request.fields for request in requested(slurm, 7))
    assert "later phases: no answer" in log_of(controller)


def test_a_later_phase_that_cannot_be_asked_for_does_not_undo_a_final_end(
    controller: Controller, slurm: ActingSlurm, monkeypatch: pytest.MonkeyPatch
) -> None:
    """csx-epilog requeues a failed job whose end could not be judged."""

    def fail(*_: Any) -> Any:
        raise StateError("cannot be read")

    monkeypatch.setattr(module, "later_phases", fail)
    text = comment(max_restarts=0)
    slurm.show(ending(comment=text))
    advanced = guarded_advance(controller, 7, hook=hook(comment=text))
    assert advanced.done
    assert [end.action for end in ends(controller)] == [Action.LEAVE]


# --- job ids that are used again -----------------------------------------------------------------


@pytest.mark.parametrize("text", ["", comment()], ids=["unmanaged", "managed"])
def test_an_end_that_waited_concerns_no_job_of_another_user(
    controller: Controller, slurm: ActingSlurm, text: str
) -> None:
    slurm.show(ending(uid=1001, comment=text))
    with pytest.raises(JobNotFoundError, match="another job"):
        advance(controller, 7, hook=hook())
    assert (slurm.requests, ends(controller)) == ([], [])


@pytest.mark.parametrize(
    ("after_submission", "restarts", "same"),
    [(-90_000, 0, False), (-90, 0, False), (-30, 0, True), (60, 0, True), (-90, 1, True)],
)
def test_an_end_that_waited_concerns_no_job_that_was_submitted_later(
    controller: Controller, slurm: ActingSlurm, after_submission: int, restarts: int, same: bool
) -> None:
    """The same user's next job may have the same id. A requeue changes SubmitTime too."""
    at = float(SUBMITTED + after_submission)
    slurm.show(ending(comment="", restarts=restarts))
    if same:
        advance(controller, 7, hook=hook(queued_at=at, restarts=restarts))
        assert "requeue" in slurm.names()
        return
    with pytest.raises(JobNotFoundError):
        advance(controller, 7, hook=hook(queued_at=at))
    assert slurm.requests == []


def test_a_later_phase_takes_exclusions_itself(controller: Controller, slurm: ActingSlurm) -> None:
    """The sweep of the phase finds them in the journals of the earlier phases."""
    put(controller, ExcludeEvent(at=1, node="csx2", until=FAR, evidence="e", submit_time=1))
    slurm.show(phase(8))
    advance(controller, 8)
    assert slurm.fields("ExcNodeList") == ["csx2"]


@pytest.mark.parametrize(
    "earlier",
    [
        ExcludeEvent(at=1, node="csx2", until=SUBMITTED + 600, evidence="e", submit_time=1),
        ReadmitEvent(at=2, node="csx2", why="x"),
    ],
    ids=["expired", "readmitted"],
)
def test_an_exclusion_that_is_over_is_not_taken(
    controller: Controller, slurm: ActingSlurm, earlier: Any
) -> None:
    if isinstance(earlier, ReadmitEvent):
        put(controller, ExcludeEvent(at=1, node="csx2", until=FAR, evidence="e", submit_time=1))
    put(controller, earlier)
    slurm.show(phase(8))
    advance(controller, 8)
    assert slurm.requests == []


def test_a_list_that_a_person_clears_for_the_later_phase_stays_cleared(
    controller: Controller, slurm: ActingSlurm
) -> None:
    blamed(controller, slurm, phase(8))
    slurm.change(8, exc_nodes=())
    for job_id in (8, 7, 8):
        advance(controller, job_id)
    assert len(requested(slurm, 8)) == 1


def test_what_people_exclude_stays(controller: Controller, slurm: ActingSlurm) -> None:
    blamed(controller, slurm, phase(8, exc_nodes=("csx4",)), phase(9, exc_nodes=("csx2",)))
    assert set(slurm.real(8).exc_nodes) == {"csx2", "csx4"}
    [applied] = of_kind(events_of(controller, run_key_of(8)), AppliedEvent)
    assert applied.exc_nodes == ("csx2",)
    assert requested(slurm, 9) == []


def test_a_later_phase_that_slurm_cannot_grant_shrinks(
    controller: Controller, slurm: ActingSlurm
) -> None:
    slurm.all_nodes = facts.nodes(csx4="DOWN")
    blamed(controller, slurm, phase(8))
    assert (slurm.real(8).exc_nodes, slurm.real(8).num_nodes) == (("csx2",), 2)


def test_a_refusal_is_logged_and_leaves_the_other_phases(
    controller: Controller, slurm: ActingSlurm
) -> None:
    def refuse(request: Request) -> None:
        if request.job_id == 8:
            raise SlurmError("Invalid job state")

    slurm.on_request = refuse
    blamed(controller, slurm, phase(8), phase(9, phase=2))
    assert slurm.real(9).exc_nodes == ("csx2",)
    assert "job 8: refused by Slurm: update ExcNodeList=csx2: Invalid" in log_of(controller)


def test_other_jobs_are_not_listed_without_need(controller: Controller, slurm: ActingSlurm) -> None:
    advance(controller, 7, hook=hook())
    assert "jobs" not in slurm.calls


@pytest.mark.parametrize("concern", [{"named": True}, {"max_restarts": 0}])
def test_other_jobs_are_listed_if_they_are_concerned(
    controller: Controller, slurm: ActingSlurm, concern: dict[str, Any]
) -> None:
    named = {"cause": Category.HARDWARE_NODE, "nodes": "csx2"}
    text = comment(**named if "named" in concern else concern)
    slurm.show(ending(comment=text))
    advance(controller, 7, hook=hook(comment=text))
    assert slurm.calls.count("jobs") == 1


@pytest.mark.parametrize(
    ("end", "cancelled"),
    [
        (replace(RESTARTED, action=Action.LEAVE), True),
        (replace(RESTARTED, action=Action.LEAVE, category=Category.COMPLETED), False),
        (RESTARTED, False),
    ],
    ids=["failed", "completed", "restarted"],
)
def test_a_phase_of_a_run_that_has_failed_is_cancelled(
    controller: Controller, slurm: ActingSlurm, end: EndEvent, cancelled: bool
) -> None:
    put(controller, end)
    slurm.show(phase(8, reason="DependencyNeverSatisfied"))
    advance(controller, 8)
    assert "cancel" not in slurm.names()  # job 7 is pending: a person has requeued it
    slurm.show(over(comment()))
    advance(controller, 8)
    assert ("cancel" in slurm.names()) is cancelled


def over(text: str) -> Job:
    """Job 7 in a final state."""
    return replace(ending(comment=text), state=JobState.FAILED, flags=frozenset())


def test_a_final_end_reaches_the_later_phases(controller: Controller, slurm: ActingSlurm) -> None:
    text = comment(max_restarts=0)
    slurm.show(ending(comment=text))
    slurm.show(phase(8, reason="DependencyNeverSatisfied"))
    advance(controller, 7, hook=hook(comment=text))
    assert requested(slurm, 8) == []  # job 7 is COMPLETING
    slurm.show(over(text))
    advance(controller, 8)
    assert [request.name for request in requested(slurm, 8)] == ["update", "cancel"]
    assert slurm.real(8).state is JobState.CANCELLED
    assert history_of(controller, run_key_of(8)) != History()
