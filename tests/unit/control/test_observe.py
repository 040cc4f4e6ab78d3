"""Observe a job: the end of its last attempt from every source, and what is read when."""

import time
from dataclasses import replace
from typing import Any

import pytest

from slurm_restart.control import kept_answers
from slurm_restart.control.controller import Controller
from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.control.kept_answers import KeptAnswers
from slurm_restart.control.observe import RunContext, Snapshot, observe, require_submit_time
from slurm_restart.core.category import Category
from slurm_restart.core.history import History, replay
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, format_comment
from slurm_restart.core.journal_events import Action, AppliedEvent, StartedEvent
from slurm_restart.core.plan import RunView, plan
from slurm_restart.errors import CsxError
from slurm_restart.slurm.commands import Commands
from tests.unit.control.conftest import Clock, FakeSlurm
from tests.unit.core import facts

SUBMITTED = facts.SUBMITTED
RECORD = facts.comment_record()
STARTED = StartedEvent(
    at=SUBMITTED + 1, restarts=0, submit_time=SUBMITTED - 50, nodes=("csx1", "csx2")
)
COMPLETING = frozenset({facts.COMPLETING})


def hook(**changes: Any) -> HookEnvironment:
    values: dict[str, Any] = {
        "cluster": "c",
        "job_id": 7,
        "uid": 1000,
        "comment": format_comment(RECORD),
        "exit_code": 5,
        "signal": 0,
        "restarts": 0,
        "nodelist": "csx[1-3]",
    }
    return HookEnvironment(**values | changes)


def waiting(**changes: Any) -> Job:
    """The job after its first requeue, with a SubmitTime of its own."""
    return facts.pending(**{"restarts": 1, "submit_time": SUBMITTED + 300} | changes)


def view(
    controller: Controller,
    job: Job,
    history: History | None = None,
    *,
    record: CommentRecord = RECORD,
    **context: Any,
) -> RunView:
    snapshot = Snapshot(controller=controller)
    return observe(snapshot, job, record, history or History(), RunContext(**context))


# --- the end -------------------------------------------------------------------------------------


def test_the_hooks_facts_are_those_of_the_end(controller: Controller) -> None:
    end = view(controller, facts.job(flags=COMPLETING, nodes=()), hook=hook()).end
    assert (end.exit_code, end.env_restarts, end.nodes) == (5, 0, facts.NODES[:3])
    assert end.submit_time == SUBMITTED


@pytest.mark.parametrize(("restarts", "used"), [(0, True), (1, True), (2, False), (7, False)])
def test_the_hook_of_a_former_attempt_is_ignored(
    controller: Controller, restarts: int, used: bool
) -> None:
    """Slurm's count in the environment is the attempt's own, or one more after its own requeue."""
    end = view(controller, waiting(), hook=hook(restarts=restarts)).end
    assert (end.exit_code == 5) is used


def test_the_hook_of_an_attempt_before_the_last_is_ignored(controller: Controller) -> None:
    job = waiting(restarts=4)
    assert view(controller, job, hook=hook(restarts=0)).end.nodes == ()
    assert view(controller, job, hook=hook(restarts=3)).end.nodes == facts.NODES[:3]


def test_the_end_before_a_pending_job_has_the_attempts_nodes_and_submit_time(
    controller: Controller, slurm: FakeSlurm
) -> None:
    slurm.all_nodes = facts.nodes(csx2="DOWN", csx4="DOWN")
    end = view(controller, waiting(), replay([STARTED])).end
    assert (end.submit_time, end.nodes) == (SUBMITTED - 50, ("csx1", "csx2"))
    assert [node.name for node in end.down_nodes] == ["csx2"]


@pytest.mark.parametrize("restarts", [2, 5])
def test_the_nodes_of_another_attempt_are_not_those_of_the_end(
    controller: Controller, restarts: int
) -> None:
    end = view(controller, waiting(restarts=restarts), replay([STARTED])).end
    assert (end.submit_time, end.nodes) == (SUBMITTED, ())  # that of the comment record


def test_the_node_of_a_failed_prolog_is_awaited_until_the_end_is_judged(
    controller: Controller, slurm: FakeSlurm, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    awaited: list[int] = []

    def wait(env: HookEnvironment, _nodes: Any, read_nodes: Any) -> Any:
        awaited.append(env.job_id)
        clock.now += 1
        slurm.all_nodes = facts.nodes(csx2="IDLE+DRAIN")
        return read_nodes()

    monkeypatch.setattr("slurm_restart.control.observe.await_failed_prolog", wait)
    held = waiting(reason="launch_failed_requeued_held")
    seen = view(controller, held, hook=hook())
    assert awaited == [7]
    assert seen.end.drained
    assert seen.seen.nodes == slurm.all_nodes
    judged = replay([facts.ended()])
    view(controller, held, judged, hook=hook())
    view(controller, held)
    assert awaited == [7]


@pytest.mark.parametrize(
    ("holds", "reported", "awaits"),
    [(False, False, True), (True, False, False), (False, True, False)],
)
@pytest.mark.parametrize("shown", [JobState.PENDING, None], ids=["from 24.11", "before 24.11"])
def test_a_failed_prolog_that_holds_no_job_is_awaited_if_no_supervisor_has_begun(
    controller: Controller,
    slurm: FakeSlurm,
    monkeypatch: pytest.MonkeyPatch,
    holds: bool,
    reported: bool,
    awaits: bool,
    shown: JobState | None,
) -> None:
    """Slurm shows no reason then (nohold_on_prolog_fail)."""
    awaited: list[int] = []

    def wait(env: HookEnvironment, nodes: Any, _read_nodes: Any) -> Any:
        awaited.append(env.job_id)
        return nodes

    monkeypatch.setattr("slurm_restart.control.observe.await_failed_prolog", wait)
    slurm.cluster = replace(slurm.cluster, holds_on_prolog_fail=holds)
    record = facts.comment_record(submit=SUBMITTED if reported else None, attempt=None, ended=False)
    requeued = facts.job(state=shown, flags=frozenset({facts.COMPLETING}), restarts=1)
    view(controller, requeued, hook=hook(restarts=1), record=record)
    assert (awaited == [7]) is awaits


def test_a_running_job_keeps_its_own_nodes_and_submit_time(controller: Controller) -> None:
    job = facts.job(state=JobState.RUNNING, nodes=("csx4",), restarts=1)
    end = view(controller, job, replay([STARTED])).end
    assert (end.submit_time, end.nodes) == (SUBMITTED, ("csx4",))


def test_a_node_failure_that_only_a_sweep_finds_blames_the_node(
    controller: Controller, slurm: FakeSlurm
) -> None:
    slurm.all_nodes = facts.nodes(csx2="DOWN")
    record = facts.comment_record(ended=False, exit=None, cause=None)
    seen = view(controller, waiting(), replay([STARTED]), source="sweep")
    step = plan(replace(seen, seen=replace(seen.seen, comment_record=record)))
    assert step.judgement is not None
    assert step.judgement.attribution.category is Category.HARDWARE_NODE
    assert [blame.node for blame in step.judgement.attribution.blamed] == ["csx2"]
    assert step.judgement.decision.action is Action.ADJUST


def test_a_job_without_a_submit_time_cannot_be_observed() -> None:
    require_submit_time(facts.job())
    with pytest.raises(CsxError, match="job 7: Slurm shows no SubmitTime"):
        require_submit_time(facts.job(submit_time=None))


# --- what is read --------------------------------------------------------------------------------


@pytest.fixture
def reads(slurm: FakeSlurm, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """The queries beside the job, in order."""
    names: list[str] = []
    for name in ("nodes", "cluster_facts", "partitions"):
        original = getattr(slurm, name)

        def query(name: str = name, original: Any = original) -> Any:
            names.append(name)
            return original()

        monkeypatch.setattr(slurm, name, query)
    return names


@pytest.mark.parametrize(
    ("submitted", "again"), [(-10, False), (-2, False), (-1, False), (0, True), (5, True)]
)
def test_nodes_that_were_read_before_the_job_left_completing_are_read_again(
    controller: Controller, clock: Clock, reads: list[str], submitted: int, again: bool
) -> None:
    snapshot = Snapshot(controller=controller)
    snapshot.nodes()
    job = waiting(submit_time=int(clock.now) + submitted)
    clock.now += 10
    observe(snapshot, job, RECORD, History(), RunContext())
    assert reads.count("nodes") == 1 + again
    observe(snapshot, job, RECORD, History(), RunContext())
    assert reads.count("nodes") == 1 + again


@pytest.mark.parametrize(("shown", "times"), [((), 2), (("csx2",), 1)])
def test_the_configuration_is_read_again_where_an_exclusion_is_missing(
    controller: Controller, reads: list[str], clock: Clock, shown: tuple[str, ...], times: int
) -> None:
    """slurmctld was started again between the two queries, with an older list: no person's act."""
    history = replay([facts.ended(), AppliedEvent(at=SUBMITTED, exc_nodes=("csx2",))])
    snapshot = Snapshot(controller=controller)
    snapshot.cluster()
    clock.now += 1
    observe(snapshot, waiting(exc_nodes=shown), RECORD, history, RunContext())
    assert reads.count("cluster_facts") == times


def test_a_job_that_ends_needs_no_configuration(controller: Controller, reads: list[str]) -> None:
    """The requeue, which the job waits for, does not depend on it."""
    view(controller, facts.job(flags=COMPLETING), hook=hook())
    assert reads == ["nodes"]
    view(controller, waiting(flags=COMPLETING), hook=hook())
    assert "cluster_facts" in reads


def test_a_job_and_its_nodes_are_read_together_once(
    controller: Controller, slurm: FakeSlurm, reads: list[str]
) -> None:
    snapshot = Snapshot(controller=controller)
    for _ in range(3):
        assert snapshot.read_job(7, since=0) == facts.pending()
    assert snapshot.nodes() == slurm.all_nodes
    assert reads == []


class Asking(KeptAnswers):
    """Slurm that was asked for job 7 in advance, long before a person requeued it."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        super().__init__()
        monkeypatch.setattr(kept_answers, "KEEP", float("inf"))  # the machine may be busy
        shown = [facts.job(flags=COMPLETING), facts.pending()]
        monkeypatch.setattr(Commands, "job", lambda _self, _job_id: shown.pop(0))
        monkeypatch.setattr(Commands, "nodes", lambda _self: ())
        both = lambda self, job_id: (Commands.job(self, job_id), facts.nodes())  # noqa: E731
        monkeypatch.setattr(Commands, "job_end_facts", both)
        self.expect(7)
        self.shown = self.job(7)


@pytest.mark.parametrize("with_nodes", [False, True])
def test_a_job_that_was_read_before_the_journals_last_event_is_read_again(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, with_nodes: bool
) -> None:
    for later, expected in ((-10, facts.job(flags=COMPLETING)), (10, facts.pending())):
        slurm = Asking(monkeypatch)
        snapshot = Snapshot(controller=replace(controller, slurm=slurm))
        if with_nodes:
            snapshot.nodes()
        assert slurm.shown == facts.job(flags=COMPLETING)
        assert snapshot.read_job(7, since=time.time() + later) == expected


@pytest.mark.parametrize("with_nodes", [False, True])
def test_what_was_asked_in_advance_is_used_once(
    controller: Controller, monkeypatch: pytest.MonkeyPatch, with_nodes: bool
) -> None:
    snapshot = Snapshot(controller=replace(controller, slurm=Asking(monkeypatch)))
    if with_nodes:
        snapshot.nodes()
    assert snapshot.read_job(7, since=0) == facts.job(flags=COMPLETING)
    assert snapshot.read_job(7, since=0) == facts.pending()


def test_nodes_that_are_needed_anew_are_not_the_kept_ones(
    controller: Controller, monkeypatch: pytest.MonkeyPatch
) -> None:
    snapshot = Snapshot(controller=replace(controller, slurm=Asking(monkeypatch)))
    assert snapshot.nodes() == facts.nodes()
    assert snapshot.nodes(since=float("inf")) == ()


def test_jobs_of_a_user_are_taken_from_those_of_all(
    controller: Controller, slurm: FakeSlurm
) -> None:
    slurm.show(facts.pending(job_id=8, uid=1001))
    snapshot = Snapshot(controller=controller)
    assert [job.job_id for job in snapshot.jobs(1001)] == [8]
    assert len(snapshot.jobs()) == 2
    assert [job.job_id for job in snapshot.jobs(1001)] == [8]
    assert [job.job_id for job in snapshot.jobs(1000)] == [7]
    assert slurm.calls == ["jobs", "jobs"]


def test_a_reservation_that_slurm_does_not_know_has_no_nodes(
    controller: Controller, slurm: FakeSlurm
) -> None:
    slurm.reservations["r"] = ("csx1", "csx2")
    assert view(controller, waiting(reservation="r")).seen.reserved == ("csx1", "csx2")
    assert view(controller, waiting(reservation="gone")).seen.reserved == ()
    assert view(controller, waiting()).seen.reserved is None


def test_the_settings_of_the_site_reach_the_plan(controller: Controller) -> None:
    site = replace(
        controller.site,
        observe=True,
        limits=replace(controller.site.limits, margin=3.5, stale_running_after=7.0),
    )
    seen = view(replace(controller, site=site), waiting(), born=5, source="sweep")
    assert (seen.observe, seen.seen.margin, seen.stale_running_after) == (True, 3.5, 7.0)
    assert (seen.born, seen.source) == (5, "sweep")
