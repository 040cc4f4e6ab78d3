"""What is wanted is on disk before Slurm is asked, and nothing follows a refused requeue."""

import fcntl
from collections.abc import Iterator
from dataclasses import replace

import pytest

from slurm_restart.control import journal as journal_module
from slurm_restart.control.apply import MAX_FAILED, apply_plan
from slurm_restart.control.controller import Controller
from slurm_restart.control.journal import Journal, open_journal
from slurm_restart.core.fit_pending import Plan
from slurm_restart.core.journal_events import (
    AppliedEvent,
    EndKey,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
)
from slurm_restart.core.slurm_operations import JobUpdate, Verb
from slurm_restart.errors import (
    JobNotPendingError,
    SlurmError,
    SlurmUnavailableError,
    StateError,
)
from tests.unit.control.conftest import (
    Clock,
    FakeSlurm,
    Request,
    events_of,
    of_kind,
    run_key_of,
)
from tests.unit.core import facts

KEY = EndKey(facts.SUBMITTED, 0)
NOTE = NoteEvent(at=1, text="beside the intent")
NOW = facts.SUBMITTED + 600
UPDATE = JobUpdate(
    exc_nodes=("csx1", "csx2"), own_nodes=("csx2",), num_nodes=2, start_time=NOW + 30
)
WHOLE = Plan(before=(Verb.REQUEUE,), job_update=UPDATE, start="now+30", after=(Verb.RELEASE,))
REQUEUE = Plan(before=(Verb.REQUEUE,))


@pytest.fixture
def journal(controller: Controller) -> Iterator[Journal]:
    with open_journal(controller.site.state_dir, run_key_of()) as opened:
        yield opened


def applied(slurm: FakeSlurm, journal: Journal, plan: Plan) -> str | None:
    return apply_plan(slurm, journal, 7, KEY, plan)  # type: ignore[arg-type]


def test_what_is_wanted_is_on_disk_before_slurm_is_asked(
    slurm: FakeSlurm, journal: Journal, fsyncs: list[str]
) -> None:
    on_disk: list[str] = []
    slurm.on_request = lambda _request: on_disk.append(journal.path.read_text())
    started = Plan(
        events=(NOTE,),
        before=(Verb.REQUEUE,),
        job_update=JobUpdate(start_time=NOW + 30),
        start="now+30",
    )
    assert applied(slurm, journal, started) is None
    assert fsyncs == ["fsync", "requeue", "update", "fsync"]
    assert "beside the intent" in on_disk[0]
    assert '"event":"intend"' in on_disk[0]
    assert '"requeue","update\\tStartTime=now+30"' in on_disk[0]
    assert '"event":"outcome"' not in on_disk[1]


def test_the_values_are_on_disk_before_slurm_is_asked(slurm: FakeSlurm, journal: Journal) -> None:
    """A process that dies after the request must still know the values as this plugin's."""

    def die(_request: Request) -> None:
        raise KeyboardInterrupt

    slurm.on_request = die
    with pytest.raises(KeyboardInterrupt):
        applied(slurm, journal, WHOLE)
    intended = journal.history.intended
    assert (intended.exc_nodes, intended.sizes, intended.starts) == ({"csx2"}, {2}, {NOW + 30})
    assert of_kind(journal.events, OutcomeEvent) == []


def test_no_other_process_reads_or_writes_the_journal_meanwhile(
    slurm: FakeSlurm, journal: Journal
) -> None:
    refused: list[bool] = []

    def try_lock(_request: Request) -> None:
        with journal.path.open() as other:
            try:
                fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
            except BlockingIOError:
                refused.append(True)

    slurm.on_request = try_lock
    applied(slurm, journal, REQUEUE)
    assert refused == [True]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_slurm_is_not_asked_without_the_intent_on_disk(
    slurm: FakeSlurm, journal: Journal, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module.os, call, fail)
    with pytest.raises(StateError, match="No space"):
        applied(slurm, journal, WHOLE)
    assert slurm.calls == []


def test_nothing_follows_a_refused_requeue(slurm: FakeSlurm, journal: Journal) -> None:
    slurm.refused["requeue"] = SlurmError("Job is not requeueable")
    assert applied(slurm, journal, WHOLE) == "requeue: Job is not requeueable"
    assert slurm.names() == ["requeue"]
    [outcome] = of_kind(journal.events, OutcomeEvent)
    assert (outcome.done, outcome.failed) == ((), "requeue: Job is not requeueable")


def test_any_other_refusal_leaves_the_rest(slurm: FakeSlurm, journal: Journal) -> None:
    slurm.refused["update"] = SlurmError("Invalid node name")
    failed = applied(slurm, journal, WHOLE) or ""
    together, alone = (
        [{"ExcNodeList", "NumNodes", "NumCPUs", "StartTime"}],
        [
            {"ExcNodeList"},
            {"NumNodes", "NumCPUs"},
            {"StartTime"},
        ],
    )
    assert slurm.names() == ["requeue", *["update"] * 4, "release"]
    assert [set(request.fields) for request in slurm.requests[1:5]] == [*together, *alone]
    [outcome] = of_kind(journal.events, OutcomeEvent)
    assert outcome.done == ("requeue", "release")
    assert outcome.failed == failed
    assert [failed.count(name) for name in ("ExcNodeList", "NumNodes", "StartTime")] == [1, 1, 1]


def test_updates_in_a_row_are_one_request(slurm: FakeSlurm, journal: Journal) -> None:
    assert applied(slurm, journal, WHOLE) is None
    fields = {"ExcNodeList": "csx1,csx2", "NumNodes": "2-2", "NumCPUs": "2", "StartTime": "now+30"}
    assert slurm.requests[1:] == [Request("update", 7, fields), Request("release", 7)]
    [intent], [outcome] = (of_kind(journal.events, kind) for kind in (IntendEvent, OutcomeEvent))
    assert outcome.done == intent.operations
    assert len(outcome.done) == 5


def test_a_dependency_is_a_request_of_its_own(slurm: FakeSlurm, journal: Journal) -> None:
    plan = Plan(job_update=replace(UPDATE, dependency="afterok:6"), start="now+30")
    applied(slurm, journal, plan)
    assert [set(request.fields) for request in slurm.requests] == [
        {"ExcNodeList", "NumNodes", "NumCPUs"},
        {"Dependency"},
        {"StartTime"},
    ]


def test_slurm_that_does_not_answer_is_not_asked_for_each_update(
    slurm: FakeSlurm, journal: Journal
) -> None:
    slurm.refused["update"] = SlurmUnavailableError("no answer within 10 s")
    failed = applied(slurm, journal, WHOLE) or ""
    assert slurm.names() == ["requeue", "update", "release"]
    assert failed.count("no answer") == 3
    [outcome] = of_kind(journal.events, OutcomeEvent)
    assert outcome.done == ("requeue", "release")


def test_a_job_that_has_started_meanwhile_is_no_refusal(slurm: FakeSlurm, journal: Journal) -> None:
    slurm.refused["update"] = JobNotPendingError("Job is no longer pending execution")
    assert applied(slurm, journal, WHOLE) is None
    assert slurm.names() == ["requeue", "update"]
    [outcome] = of_kind(journal.events, OutcomeEvent)
    assert (outcome.done, outcome.failed) == (("requeue",), None)
    assert of_kind(journal.events, AppliedEvent) == []


def test_without_requests_only_the_events_are_kept(slurm: FakeSlurm, journal: Journal) -> None:
    assert applied(slurm, journal, Plan(events=(NOTE,))) is None
    assert slurm.calls == []
    assert journal.events == [NOTE]


@pytest.mark.parametrize(
    ("plan", "request_"),
    [
        (REQUEUE, Request("requeue", 7)),
        (
            Plan(job_update=JobUpdate(num_nodes=2)),
            Request("update", 7, {"NumNodes": "2-2", "NumCPUs": "2"}),
        ),
        (
            Plan(job_update=JobUpdate(exc_nodes=("csx1", "csx2"))),
            Request("update", 7, {"ExcNodeList": "csx1,csx2"}),
        ),
        (Plan(job_update=JobUpdate(exc_nodes=())), Request("update", 7, {"ExcNodeList": ""})),
        (Plan(start="now"), Request("update", 7, {"StartTime": "now"})),
        (
            Plan(job_update=JobUpdate(admin_comment="a")),
            Request("update", 7, {"AdminComment": "a"}),
        ),
        (Plan(after=(Verb.HOLD,)), Request("hold", 7)),
        (Plan(after=(Verb.RELEASE,)), Request("release", 7)),
        (Plan(after=(Verb.CANCEL,)), Request("cancel", 7)),
    ],
)
def test_each_part_of_a_plan_is_one_request(
    slurm: FakeSlurm, journal: Journal, plan: Plan, request_: Request
) -> None:
    applied(slurm, journal, plan)
    assert slurm.requests == [request_]


def test_a_requeue_comes_before_every_update_and_a_cancellation_last() -> None:
    plan = Plan(before=(Verb.REQUEUE,), job_update=UPDATE, start="now+30", after=(Verb.CANCEL,))
    verbs = [operation.verb.value for operation in plan.operations("csx[1-2]")]
    assert verbs == ["requeue", "update", "update", "update", "cancel"]


def test_the_events_name_the_end(slurm: FakeSlurm, journal: Journal, clock: Clock) -> None:
    applied(slurm, journal, REQUEUE)
    [intent], [outcome] = (of_kind(journal.events, kind) for kind in (IntendEvent, OutcomeEvent))
    assert (intent.key, outcome.key) == (KEY, KEY)
    assert (intent.at, outcome.at) == (int(clock.now), int(clock.now))
    assert (intent.operations, outcome.done, outcome.failed) == (("requeue",), ("requeue",), None)


def test_the_applied_values_are_those_that_slurm_took(slurm: FakeSlurm, journal: Journal) -> None:
    applied(slurm, journal, WHOLE)
    [event] = of_kind(journal.events, AppliedEvent)
    assert event == AppliedEvent(
        at=NOW, exc_nodes=("csx2",), num_nodes=2, start_time=NOW + 30, held=False
    )


@pytest.mark.parametrize(
    ("start", "wanted", "asked", "begin"),
    [
        ("now+3600", 3600, "now+3590", 3600),
        ("now+12", 12, "now+2", 12),
        ("now+2", 2, "now+2", 12),
        ("now+1", 1, "now+1", 11),
        ("now", 0, "now", 10),
    ],
)
def test_a_begin_time_is_kept_where_slurm_answers_late(
    slurm: FakeSlurm,
    journal: Journal,
    clock: Clock,
    start: str,
    wanted: int,
    asked: str,
    begin: int,
) -> None:
    """The requeue takes ten seconds, as slurmctld is being restarted; `now+N` counts from then."""

    def delay(request: Request) -> None:
        clock.now += 10 if request.name == "requeue" else 0

    slurm.on_request = delay
    update = JobUpdate(start_time=NOW + wanted)
    applied(slurm, journal, Plan(before=(Verb.REQUEUE,), job_update=update, start=start))
    assert slurm.requests[-1] == Request("update", 7, {"StartTime": asked})
    assert journal.history.applied.start_time == NOW + begin
    assert journal.history.start_applied_at == NOW + 10
    assert {NOW + begin} <= journal.history.intended.starts


def test_values_that_slurm_refused_are_not_applied(slurm: FakeSlurm, journal: Journal) -> None:
    slurm.refused["update"] = SlurmError("no")
    applied(slurm, journal, WHOLE)
    assert of_kind(journal.events, AppliedEvent) == [AppliedEvent(at=NOW, held=False)]


def test_one_refused_value_does_not_take_the_others_with_it(
    slurm: FakeSlurm, journal: Journal
) -> None:
    def refuse(request: Request) -> None:
        if "NumNodes" in request.fields:
            raise SlurmError("no")

    slurm.on_request = refuse
    applied(slurm, journal, WHOLE)
    [event] = of_kind(journal.events, AppliedEvent)
    assert (event.exc_nodes, event.num_nodes, event.start_time) == (("csx2",), None, NOW + 30)


def test_a_long_refusal_is_cut_in_the_journal(slurm: FakeSlurm, journal: Journal) -> None:
    slurm.refused["cancel"] = SlurmError("x" * 5000)
    applied(slurm, journal, Plan(after=(Verb.CANCEL,)))
    [outcome] = of_kind(journal.events, OutcomeEvent)
    assert len(outcome.failed) == MAX_FAILED


def test_the_journal_is_read_again_as_it_was_written(
    slurm: FakeSlurm, controller: Controller
) -> None:
    with open_journal(controller.site.state_dir, run_key_of()) as opened:
        applied(slurm, opened, WHOLE)
        written = list(opened.events)
    assert events_of(controller) == written
