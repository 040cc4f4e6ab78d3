"""Each end is decided about once; what was decided is repeated, for that end only."""

import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.control.controller import Controller
from slurm_restart.control.journal import journal_path
from slurm_restart.control.process_end import EndedJob, process_end
from slurm_restart.core.category import Category
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    EndEvent,
    ExcludeEvent,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
)
from slurm_restart.errors import CommentRecordError, SlurmError, StateError
from tests.unit.control.conftest import (
    FakeSlurm,
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

FAILED = {"exit_code": 1, "cause": Category.UNKNOWN}
RESTARTABLE = FAILED | {"max_restarts": 3}
COMPLETED = {"exit_code": 0, "cause": Category.COMPLETED}
# As on 22.05, which shows COMPLETING only, and from 24.11 on.
REQUEUED = ({"restarts": 1, "signal": 1}, {"restarts": 1, "state": JobState.PENDING})
OTHER_RUN = "fedcba9876543210"


def ended_job(
    *,
    exit_code: int = 1,
    cause: Category = Category.UNKNOWN,
    max_restarts: int = 0,
    run: str = facts.RUN,
    named: str | None = None,
    **end: Any,
) -> EndedJob:
    """An end of attempt 0 as the hook finds it."""
    record = facts.comment_record(
        run=run, max_restarts=max_restarts, exit=exit_code, cause=cause, nodes=named
    )
    return EndedJob(
        end=facts.end(exit_code=exit_code, **end),
        job=facts.job(flags=frozenset({JobFlag.COMPLETING})),
        comment_record=record,
        nodes=facts.nodes(),
        source="hook",
    )


def process(controller: Controller, **end: Any) -> bool:
    return process_end(controller, ended_job(**end))


def actions(controller: Controller) -> list[Action]:
    """The actions that were decided, by end."""
    return [end.action for end in history_of(controller).ends]


# --- the first time ------------------------------------------------------------------------------


def test_the_decision_and_the_intent_are_on_disk_before_the_requeue(
    controller: Controller, slurm: FakeSlurm, fsyncs: list[str]
) -> None:
    path = journal_path(controller.site.state_dir, run_key_of())
    on_disk: list[str] = []
    slurm.on_request = lambda _request: on_disk.append(path.read_text())
    assert process(controller, **RESTARTABLE) is True
    assert fsyncs == ["fsync", "requeue", "update", "fsync"]
    assert ['"event":"end"' in on_disk[0], '"event":"intend"' in on_disk[0]] == [True, True]


def test_an_end_that_stays_an_end_is_put_in_the_journal(
    controller: Controller, slurm: FakeSlurm
) -> None:
    assert process(controller, **FAILED) is False
    assert slurm.requests == []
    assert [type(event) for event in events_of(controller)] == [EndEvent]


def test_the_log_has_category_rule_action_and_reason(controller: Controller) -> None:
    process(controller, **RESTARTABLE)
    assert "job 7: unknown (" in log_of(controller)
    assert ") -> requeue (" in log_of(controller)


def test_nodes_of_others_are_logged_and_not_excluded(
    controller: Controller, slurm: FakeSlurm
) -> None:
    blamed = RESTARTABLE | {"cause": Category.HARDWARE_NODE}
    process(controller, **blamed, named="csx2,elsewhere")
    assert slurm.fields("ExcNodeList") == ["csx2"]
    assert "nodes that are not this job's, not excluded: elsewhere" in log_of(controller)


def test_nothing_follows_a_refused_requeue(controller: Controller, slurm: FakeSlurm) -> None:
    slurm.refused["requeue"] = SlurmError("Requested operation is presently disabled")
    process(controller, **RESTARTABLE)
    assert slurm.names() == ["requeue"]
    assert "job 7: refused by Slurm: requeue: Requested operation" in log_of(controller)


def test_observe_mode_only_writes_the_decision(controller: Controller, slurm: FakeSlurm) -> None:
    assert process(observing(controller), **RESTARTABLE) is False
    assert slurm.requests == []
    [end] = events_of(controller)
    assert (end.action, end.observed) == (Action.REQUEUE, True)


def test_what_was_observed_is_not_done_later(controller: Controller, slurm: FakeSlurm) -> None:
    process(observing(controller), **RESTARTABLE)
    assert process(controller, **RESTARTABLE) is False
    assert process(controller, **RESTARTABLE | REQUEUED[1]) is False
    assert slurm.requests == []


def test_what_was_decided_is_not_repeated_in_observe_mode(
    controller: Controller, slurm: FakeSlurm
) -> None:
    process(controller, **RESTARTABLE)
    slurm.requests.clear()
    assert process(observing(controller), **RESTARTABLE) is False
    assert slurm.requests == []


@pytest.mark.parametrize("restarts", [1, 7])
def test_a_new_run_id_on_a_job_that_has_run_before_is_refused(
    controller: Controller, slurm: FakeSlurm, restarts: int
) -> None:
    process(controller, **RESTARTABLE)
    slurm.requests.clear()
    with pytest.raises(CommentRecordError, match=f"from {facts.RUN} to {OTHER_RUN}"):
        process(controller, **RESTARTABLE, run=OTHER_RUN, restarts=restarts)
    assert slurm.requests == []
    assert events_of(controller, run_key_of(run=OTHER_RUN)) == []


def test_a_job_id_that_slurm_has_given_again_is_another_run(
    controller: Controller, slurm: FakeSlurm
) -> None:
    process(controller, **RESTARTABLE)
    assert process(controller, **RESTARTABLE, run=OTHER_RUN) is True
    assert slurm.names().count("requeue") == 2


def test_a_first_end_that_was_missed_is_no_new_run_id(controller: Controller) -> None:
    assert process(controller, **RESTARTABLE, restarts=1) is True


def test_an_unreadable_line_is_logged_once(controller: Controller) -> None:
    put(controller, NoteEvent(at=1, text="x"))
    path = journal_path(controller.site.state_dir, run_key_of())
    path.write_text("half a li\n" + path.read_text())
    process(controller, **FAILED)
    process(controller, **FAILED)
    assert log_of(controller).count(f"job 7: line left out: {path}:1: ") == 1


def test_an_unusable_journal_asks_for_nothing(controller: Controller, slurm: FakeSlurm) -> None:
    journal_path(controller.site.state_dir, run_key_of()).mkdir(parents=True)
    with pytest.raises(StateError):
        process(controller, **RESTARTABLE)
    assert slurm.requests == []


def test_the_journal_is_exported_and_a_failure_only_logged(
    controller: Controller, slurm: FakeSlurm, tmp_path: Path
) -> None:
    public = tmp_path / "public"
    public.mkdir()
    exporting = replace(controller, site=replace(controller.site, export_dir=public))
    process(exporting, **FAILED)
    [copy] = public.glob("c/7-1000-*.jsonl")
    assert '"event":"end"' in copy.read_text()
    shutil.rmtree(public)
    public.write_text("not a directory")
    assert process(exporting, **RESTARTABLE, submit_time=facts.SUBMITTED + 1) is True
    assert "the exported copy of the journal was not written" in log_of(controller)
    assert "requeue" in slurm.names()


# --- the same end again --------------------------------------------------------------------------


@pytest.mark.parametrize("requeued", REQUEUED)
def test_a_run_that_was_to_stop_is_cancelled(
    controller: Controller, slurm: FakeSlurm, requeued: dict[str, Any]
) -> None:
    assert process(controller, **FAILED) is False
    assert slurm.requests == []
    assert process(controller, **FAILED | {"exit_code": 0} | requeued) is False
    assert slurm.requests == [Request("cancel", 7)]
    assert actions(controller) == [Action.CANCEL]


@pytest.mark.parametrize("requeued", REQUEUED)
def test_a_run_that_had_completed_ends_once_more(
    controller: Controller, slurm: FakeSlurm, requeued: dict[str, Any]
) -> None:
    assert process(controller, **COMPLETED) is False
    assert process(controller, **COMPLETED | requeued) is True
    assert slurm.requests == [Request("update", 7, {"StartTime": "now+2"})]
    assert actions(controller) == [Action.ADJUST]


def test_an_end_that_is_processed_twice_asks_for_nothing(
    controller: Controller, slurm: FakeSlurm
) -> None:
    process(controller, **FAILED)
    process(controller, **FAILED)
    assert slurm.requests == []
    assert actions(controller) == [Action.LEAVE]


def test_a_job_that_a_person_has_requeued_on_hold_is_left_alone(
    controller: Controller, slurm: FakeSlurm
) -> None:
    held = {"reason": "job_requeued_in_held_state", "restarts": 1, "state": JobState.PENDING}
    process(controller, **FAILED | held)
    process(controller, **FAILED | held)
    assert slurm.requests == []


def test_an_attempt_without_a_report_on_other_nodes_is_a_later_one(
    controller: Controller, slurm: FakeSlurm
) -> None:
    assert process(controller, **RESTARTABLE) is True
    prolog = {"reason": "launch_failed_requeued_held", "restarts": 2, "exit_code": 0}
    again = {"nodes": ("csx2", "csx3", "csx4"), "state": JobState.PENDING}
    assert process(controller, **RESTARTABLE | prolog | again) is True
    assert actions(controller) == [Action.REQUEUE, Action.RELEASE]
    assert slurm.names().count("requeue") == 1


@pytest.mark.parametrize("nodes", [facts.NODES[:2], facts.NODES[:3], ()])
def test_an_end_on_the_same_nodes_or_fewer_is_the_same(
    controller: Controller, nodes: tuple[str, ...]
) -> None:
    """Slurm releases the nodes of a COMPLETING job one by one."""
    process(controller, **RESTARTABLE)
    process(controller, **RESTARTABLE, nodes=nodes)
    assert actions(controller) == [Action.REQUEUE]


@pytest.mark.parametrize("requeued", [{"restarts": 1}, {"state": JobState.PENDING}])
def test_a_job_that_is_requeued_is_not_requeued_once_more(
    controller: Controller, slurm: FakeSlurm, requeued: dict[str, Any]
) -> None:
    process(controller, **RESTARTABLE)
    assert process(controller, **RESTARTABLE | requeued) is True
    assert slurm.names() == ["requeue", "update", "update"]


@pytest.mark.parametrize("requeued", REQUEUED)
def test_a_requeue_that_is_all_there_was_to_do_is_not_repeated(
    controller: Controller, slurm: FakeSlurm, requeued: dict[str, Any]
) -> None:
    """The next attempt may run already: neither a requeue nor another decision is due."""
    put(
        controller,
        facts.ended(nodes=facts.NODES[:3]),
        IntendEvent(at=1, operations=("requeue",), submit_time=facts.SUBMITTED, attempt=0),
    )
    before = events_of(controller)
    assert process(controller, **RESTARTABLE | requeued) is True
    assert (slurm.requests, of_kind(events_of(controller), EndEvent)) == ([], before[:1])


def test_a_requeue_that_slurm_does_not_show_is_asked_for_again(
    controller: Controller, slurm: FakeSlurm
) -> None:
    for _ in range(2):
        process(controller, **RESTARTABLE)
    assert slurm.names() == ["requeue", "update"] * 2
    assert "the end is in the journal: its operations are repeated" in log_of(controller)
    [end] = of_kind(events_of(controller), EndEvent)
    assert end.action is Action.REQUEUE


def test_only_the_last_end_is_repeated(controller: Controller, slurm: FakeSlurm) -> None:
    process(controller, **RESTARTABLE)
    put(controller, facts.ended(submit_time=facts.SUBMITTED + 500, attempt=1))
    slurm.requests.clear()
    assert process(controller, **RESTARTABLE) is False
    assert slurm.requests == []


def test_a_decision_without_its_operations_is_decided_again(
    controller: Controller, slurm: FakeSlurm
) -> None:
    put(controller, facts.ended(nodes=facts.NODES[:3]))
    assert process(controller, **RESTARTABLE) is True
    assert slurm.names() == ["requeue", "update"]
    assert "the journal holds the decision without its operations" in log_of(controller)
    assert len(history_of(controller).ends) == 1


def test_repeated_operations_keep_the_applied_values(
    controller: Controller, slurm: FakeSlurm
) -> None:
    """The nodes that people exclude are not taken for this plugin's."""
    operations = (
        "requeue",
        "update\tExcNodeList=csx1,csx4",
        "update\tNumNodes=2-2\tNumCPUs=2",
        "hold",
    )
    key = {"submit_time": facts.SUBMITTED, "attempt": 0}
    put(
        controller,
        facts.ended(nodes=facts.NODES[:3]),
        ExcludeEvent(at=1, node="csx1", until=9**9, evidence="e", submit_time=1),
        IntendEvent(at=1, operations=operations, **key),
    )
    process(controller, **RESTARTABLE)
    assert slurm.names() == ["requeue", "update", "update", "hold"]
    [applied] = of_kind(events_of(controller), AppliedEvent)
    assert (applied.exc_nodes, applied.num_nodes, applied.held) == (("csx1",), 2, True)


def test_the_first_intent_of_an_end_is_repeated(controller: Controller, slurm: FakeSlurm) -> None:
    """Later intents of the end are adjustments of the pending job."""
    key = {"submit_time": facts.SUBMITTED, "attempt": 0}
    put(
        controller,
        facts.ended(nodes=facts.NODES[:3]),
        IntendEvent(at=1, operations=("requeue", "update\tStartTime=now+9"), **key),
        OutcomeEvent(at=1, done=("requeue",), **key),
        IntendEvent(at=2, operations=("update\tStartTime=now",), **key),
    )
    process(controller, **RESTARTABLE)
    assert slurm.names() == ["requeue", "update"]
    assert slurm.fields("StartTime") == ["now+9"]


@pytest.mark.parametrize(
    ("known", "recorded", "requests"),
    [
        (facts.ended(), ("requeue", "update\tStartTime=now+2"), ["requeue", "update"]),
        (facts.ended(action=Action.ADJUST), ("update\tStartTime=now+2",), ["requeue", "update"]),
        (facts.ended(Category.COMPLETED, action=Action.LEAVE), (), ["requeue"]),
        (facts.ended(action=Action.LEAVE), (), ["cancel"]),
        (facts.ended(action=Action.CANCEL), ("cancel",), ["cancel"]),
    ],
    ids=["requeue", "adjust", "completed", "leave", "cancel"],
)
def test_a_stale_running_job_whose_end_is_in_the_journal(
    controller: Controller,
    slurm: FakeSlurm,
    known: EndEvent,
    recorded: tuple[str, ...],
    requests: list[str],
) -> None:
    key = {"submit_time": facts.SUBMITTED, "attempt": 0}
    put(controller, replace(known, nodes=facts.NODES[:3]))
    if recorded:
        put(controller, IntendEvent(at=1, operations=recorded, **key))
    process(controller, **RESTARTABLE, stale_running=True)
    assert slurm.names() == requests


def test_a_refusal_at_the_repetition_is_logged(controller: Controller, slurm: FakeSlurm) -> None:
    process(controller, **RESTARTABLE)
    slurm.refused["update"] = SlurmError("Access denied")
    process(controller, **RESTARTABLE)
    assert "refused by Slurm: update StartTime=now+2" in log_of(controller)
