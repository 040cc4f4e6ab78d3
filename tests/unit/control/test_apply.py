"""The intent is on disk before Slurm is asked, and nothing follows a requeue that was refused."""

import fcntl
from collections.abc import Iterator

import pytest

from slurm_restart.control import journal as journal_module
from slurm_restart.control.apply import (
    MAX_FAILED,
    OperationBatch,
    apply_operations,
    end_operations,
    start_text,
)
from slurm_restart.control.controller import Controller
from slurm_restart.control.journal import Journal, open_journal
from slurm_restart.core.category import Category
from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    EndKey,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
)
from slurm_restart.core.plan_end import plan_end
from slurm_restart.core.slurm_operations import JobUpdate, Operation, Verb
from slurm_restart.errors import SlurmError, StateError
from tests.unit.control.conftest import Clock, FakeSlurm, Request, events_of, of_kind, run_key_of
from tests.unit.core import facts

KEY = EndKey(facts.SUBMITTED, 0)
NOTE = NoteEvent(at=1, text="beside the intent")
REQUEUE = Operation(verb=Verb.REQUEUE)
EXCLUDE = Operation(verb=Verb.UPDATE, fields=(("ExcNodeList", "csx[1-2]"),))
SIZE = Operation(verb=Verb.UPDATE, fields=(("NumNodes", "2-2"), ("NumCPUs", "2")))
START = Operation(verb=Verb.UPDATE, fields=(("StartTime", "now+30"),))
HOLD = Operation(verb=Verb.HOLD)
RELEASE = Operation(verb=Verb.RELEASE)
CANCEL = Operation(verb=Verb.CANCEL)


def batch(*operations: Operation, **job_update: object) -> OperationBatch:
    update = JobUpdate(**job_update)  # type: ignore[arg-type]
    return OperationBatch(job_id=7, end=KEY, operations=operations, job_update=update)


@pytest.fixture
def journal(controller: Controller) -> Iterator[Journal]:
    with open_journal(controller.site.state_dir, run_key_of()) as opened:
        yield opened


def test_the_intent_is_on_disk_before_slurm_is_asked(
    slurm: FakeSlurm, journal: Journal, fsyncs: list[str]
) -> None:
    on_disk: list[str] = []

    def read(_request: Request) -> None:
        on_disk.append(journal.path.read_text())

    slurm.on_request = read
    apply_operations(slurm, journal, batch(REQUEUE, START), NOTE)
    assert fsyncs == ["fsync", "requeue", "update", "fsync"]
    assert "beside the intent" in on_disk[0]
    assert '"event":"intend"' in on_disk[0]
    assert '"requeue","update\\tStartTime=now+30"' in on_disk[0]
    assert '"event":"outcome"' not in on_disk[1]


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
    apply_operations(slurm, journal, batch(REQUEUE))
    assert refused == [True]


@pytest.mark.parametrize("call", ["write", "fsync"])
def test_slurm_is_not_asked_without_the_intent_on_disk(
    slurm: FakeSlurm, journal: Journal, monkeypatch: pytest.MonkeyPatch, call: str
) -> None:
    def fail(*_arguments: object) -> int:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(journal_module.os, call, fail)
    with pytest.raises(StateError, match="No space"):
        apply_operations(slurm, journal, batch(REQUEUE))
    assert slurm.calls == []


def test_nothing_follows_a_refused_requeue(slurm: FakeSlurm, journal: Journal) -> None:
    slurm.refused["requeue"] = SlurmError("Job is not requeueable")
    refused = apply_operations(slurm, journal, batch(REQUEUE, EXCLUDE, START, HOLD))
    assert refused == ("requeue: Job is not requeueable",)
    assert slurm.names() == ["requeue"]
    [outcome] = of_kind(journal.events, OutcomeEvent)
    assert (outcome.done, outcome.failed) == ((), "requeue: Job is not requeueable")


def test_any_other_refusal_leaves_the_rest(slurm: FakeSlurm, journal: Journal) -> None:
    slurm.refused["update"] = SlurmError("Invalid node name")
    refused = apply_operations(slurm, journal, batch(REQUEUE, EXCLUDE, SIZE, HOLD))
    assert len(refused) == 2
    assert slurm.names() == ["requeue", "update", "update", "hold"]
    [outcome] = of_kind(journal.events, OutcomeEvent)
    assert outcome.done == ("requeue", "hold")
    assert "ExcNodeList" in outcome.failed
    assert "NumNodes" in outcome.failed


def test_without_operations_only_the_events_are_kept(slurm: FakeSlurm, journal: Journal) -> None:
    assert apply_operations(slurm, journal, batch(), NOTE) == ()
    assert slurm.calls == []
    assert journal.events == [NOTE]


@pytest.mark.parametrize(
    ("operation", "request_"),
    [
        (REQUEUE, Request("requeue", 7)),
        (SIZE, Request("update", 7, {"NumNodes": "2-2", "NumCPUs": "2"})),
        (HOLD, Request("hold", 7)),
        (RELEASE, Request("release", 7)),
        (CANCEL, Request("cancel", 7)),
    ],
)
def test_each_verb_is_one_request(
    slurm: FakeSlurm, journal: Journal, operation: Operation, request_: Request
) -> None:
    apply_operations(slurm, journal, batch(operation))
    assert slurm.requests == [request_]


def test_the_events_name_the_end(slurm: FakeSlurm, journal: Journal, clock: Clock) -> None:
    apply_operations(slurm, journal, batch(REQUEUE))
    [intent], [outcome] = (of_kind(journal.events, kind) for kind in (IntendEvent, OutcomeEvent))
    assert (intent.key, outcome.key) == (KEY, KEY)
    assert (intent.at, outcome.at) == (int(clock.now), int(clock.now))
    assert (intent.operations, outcome.done, outcome.failed) == (("requeue",), ("requeue",), None)


def test_the_applied_values_are_those_that_slurm_took(
    slurm: FakeSlurm, journal: Journal, clock: Clock
) -> None:
    update = {"exc_nodes": ("csx1", "csx2"), "own_nodes": ("csx2",), "num_nodes": 2}
    apply_operations(slurm, journal, batch(EXCLUDE, SIZE, START, HOLD, **update))
    now = int(clock.now)
    [applied] = of_kind(journal.events, AppliedEvent)
    assert applied == AppliedEvent(
        at=now, exc_nodes=("csx2",), num_nodes=2, start_time=now + 30, held=True
    )


def test_values_that_slurm_refused_are_not_applied(
    slurm: FakeSlurm, journal: Journal, clock: Clock
) -> None:
    slurm.refused["update"] = SlurmError("no")
    update = {"exc_nodes": ("csx1", "csx2"), "own_nodes": ("csx2",), "num_nodes": 2}
    apply_operations(slurm, journal, batch(EXCLUDE, SIZE, START, RELEASE, **update))
    [applied] = of_kind(journal.events, AppliedEvent)
    assert applied == AppliedEvent(at=int(clock.now), held=False)


def test_a_start_at_once_is_kept_as_the_present_time(
    slurm: FakeSlurm, journal: Journal, clock: Clock
) -> None:
    apply_operations(
        slurm, journal, batch(Operation(verb=Verb.UPDATE, fields=(("StartTime", "now"),)))
    )
    [applied] = of_kind(journal.events, AppliedEvent)
    assert (applied.start_time, applied.held) == (int(clock.now), None)


def test_a_long_refusal_is_cut_in_the_journal(slurm: FakeSlurm, journal: Journal) -> None:
    slurm.refused["hold"] = SlurmError("x" * 5000)
    apply_operations(slurm, journal, batch(HOLD))
    [outcome] = of_kind(journal.events, OutcomeEvent)
    assert len(outcome.failed) == MAX_FAILED


# --- the operations of a plan --------------------------------------------------------------------


@pytest.mark.parametrize(
    ("start_at", "text"), [(100, "now+2"), (101, "now+2"), (103, "now+3"), (0, "now+2")]
)
def test_a_begin_time_is_relative_and_never_too_early(start_at: int, text: str) -> None:
    assert start_text(start_at, 100) == text


def operations_of(action: Action, **changes: object) -> tuple[str, ...]:
    """The operations of a plan with this action."""
    by_action = {
        Action.REQUEUE: {},
        Action.ADJUST: {
            "end": facts.end(state=None, reason="None", exit_code=0, restarts=1, signal=1)
        },
        Action.RELEASE: {
            "end": facts.end(reason="launch_failed_requeued_held", restarts=1, exit_code=0)
        },
        Action.LEAVE: {"comment_record": facts.comment_record(max_restarts=0)},
    }
    plan = plan_end(facts.case(**by_action[action] | changes))
    assert plan.decision.action is action
    found = end_operations(7, KEY, plan, facts.SUBMITTED + 600)
    return tuple(str(operation).split(" AdminComment")[0] for operation in found.operations)


def test_a_requeue_comes_before_every_update() -> None:
    first, *rest = operations_of(Action.REQUEUE)
    assert first == "requeue"
    assert rest == ["update StartTime=now+2"]


def test_an_end_that_stays_an_end_asks_for_nothing() -> None:
    assert operations_of(Action.LEAVE) == ()


def test_a_release_is_followed_by_the_begin_time_once_more() -> None:
    found = operations_of(Action.RELEASE)
    assert found[-2:] == ("release", "update StartTime=now+2")
    assert "requeue" not in found


def test_too_few_nodes_end_in_a_hold() -> None:
    sick = facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN")
    assert operations_of(Action.REQUEUE, nodes=sick)[-1] == "hold"


def test_the_exclusions_are_one_hostlist() -> None:
    blamed = facts.comment_record(
        cause=Category.HARDWARE_NODE, nodes="csx[1-2]", max_restarts=3, min_nodes=1
    )
    found = operations_of(Action.REQUEUE, comment_record=blamed, named=("csx1", "csx2"))
    assert found[:3] == (
        "requeue",
        "update ExcNodeList=csx1,csx2",
        "update NumNodes=2-2 NumCPUs=2",
    )


def test_the_journal_is_read_again_as_it_was_written(
    slurm: FakeSlurm, controller: Controller
) -> None:
    with open_journal(controller.site.state_dir, run_key_of()) as opened:
        apply_operations(slurm, opened, batch(REQUEUE, SIZE))
        written = list(opened.events)
    assert events_of(controller) == written
