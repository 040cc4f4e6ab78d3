"""A pending job is adjusted to the nodes that are usable now; what people have set stays."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from slurm_restart.core.category import Category
from slurm_restart.core.history import replay
from slurm_restart.core.job import Job
from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    Event,
    ExcludeEvent,
    ReadmitEvent,
)
from slurm_restart.core.plan_pending import PendingCase, PendingPlan, plan_pending
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.slurm_operations import Verb
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED

NOW = SUBMITTED + 100
FAR = SUBMITTED * 2


def plan(job: Job | None = None, *events: Event, **changes: Any) -> PendingPlan:
    """The plan for a job whose restart is due."""
    values: dict[str, Any] = {
        "job": job or facts.pending(),
        "comment_record": facts.comment_record(),
        "history": replay([facts.ended(start_at=SUBMITTED, nodes=facts.NODES[:3]), *events]),
        "nodes": facts.nodes(),
        "reserved": None,
        "site": SitePolicy(),
        "now": NOW,
        "startable": True,
    }
    return plan_pending(PendingCase(**values | changes))


def excluded(node: str, *, since: int = SUBMITTED) -> tuple[Event, Event]:
    return (
        ExcludeEvent(at=since, node=node, until=FAR, evidence="e", submit_time=SUBMITTED),
        AppliedEvent(at=since, exc_nodes=(node,)),
    )


def test_a_job_without_an_end_is_left_alone() -> None:
    assert plan(history=replay([])) == PendingPlan()


def test_a_due_job_is_started_once() -> None:
    first = plan()
    assert first.start == "now"
    assert plan(None, AppliedEvent(at=NOW, start_time=NOW)).start is None


def test_slurms_own_delay_is_cut_short_and_a_persons_time_is_not() -> None:
    assert plan(facts.pending(eligible_time=SUBMITTED + 121)).start == "now"
    assert plan(facts.pending(eligible_time=SUBMITTED + 5000)).start is None


def test_a_begin_time_that_slurm_has_moved_is_set_again() -> None:
    moved = facts.pending(eligible_time=SUBMITTED + 121)
    assert plan(moved, AppliedEvent(at=NOW, start_time=NOW)).start == "now"


def test_no_start_in_the_second_of_the_kill() -> None:
    assert plan(startable=False).start is None


def test_a_later_begin_is_restored() -> None:
    history = replay([facts.ended(start_at=NOW + 60)])
    found = plan(facts.pending(eligible_time=SUBMITTED + 121), history=history)
    assert found.start == "now+60"


@pytest.mark.parametrize("reason", ["JobHeldUser", "JobHeldAdmin"])
def test_a_persons_hold_stays(reason: str) -> None:
    found = plan(facts.pending(priority=0, reason=reason))
    assert found.operations("") == ()
    assert len(found.events) == 1


def test_a_persons_size_stays() -> None:
    found = plan(facts.pending(num_nodes=1))
    assert found.job_update.num_nodes is None


def test_a_job_shrinks_with_the_node_pool() -> None:
    found = plan(nodes=facts.nodes(csx1="DOWN", csx4="DOWN"))
    assert found.job_update.num_nodes == 2


def test_a_node_found_down_later_is_excluded() -> None:
    found = plan(nodes=facts.nodes(csx2="DOWN+NOT_RESPONDING"))
    assert found.job_update.exc_nodes == ("csx2",)
    assert any(isinstance(event, ExcludeEvent) for event in found.events)


def test_too_few_nodes_hold_the_job_and_enough_release_it() -> None:
    sick = facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN")
    assert plan(nodes=sick).verbs == (Verb.HOLD,)
    held = facts.pending(priority=0, reason="JobHeldAdmin")
    again = plan(held, AppliedEvent(at=SUBMITTED, held=True))
    assert again.verbs == (Verb.RELEASE,)
    assert again.start == "now"


SICK = facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN")
HELD = facts.pending(priority=0, reason="JobHeldAdmin")
OURS = AppliedEvent(at=SUBMITTED, held=True)


def test_a_hold_that_a_person_released_is_not_set_again_and_their_own_hold_stays() -> None:
    released = plan(None, OURS, nodes=SICK)
    assert released.verbs == ()
    assert plan(None, OURS, *released.events, nodes=SICK).verbs == ()
    # A person holds the job again, and then enough nodes are usable.
    assert plan(HELD, OURS, *released.events).verbs == ()


def test_a_hold_in_a_later_wait_is_a_persons() -> None:
    later = facts.ended(attempt=1, submit_time=SUBMITTED + 50, start_at=NOW)
    assert plan(HELD, OURS, later).verbs == ()


def test_a_job_that_is_released_before_it_is_due_starts_when_it_is_due() -> None:
    due = facts.ended(start_at=NOW + 300)
    found = plan(HELD, due, OURS)
    assert (found.verbs, found.start) == ((Verb.RELEASE,), "now+300")


def test_a_release_leaves_a_persons_begin_time() -> None:
    tomorrow = facts.pending(priority=0, reason="JobHeldAdmin", eligible_time=NOW + 86_400)
    found = plan(tomorrow, OURS)
    assert (found.verbs, found.start) == ((Verb.RELEASE,), None)


def test_a_job_that_may_not_start_yet_does_not_wait_for_nodes() -> None:
    busy = facts.nodes(csx1="ALLOCATED", csx2="ALLOCATED")
    assert plan(nodes=busy, now=SUBMITTED + 3600).job_update.num_nodes == 2
    next_week = facts.pending(eligible_time=SUBMITTED + 600_000)
    assert plan(next_week, nodes=busy, now=SUBMITTED + 3600).job_update.num_nodes is None
    assert plan(next_week, nodes=SICK, now=SUBMITTED + 100_000).verbs == (Verb.HOLD,)


def test_a_forged_size_grows_no_job_beyond_what_slurm_has_granted() -> None:
    history = replay([facts.ended(num_nodes=3), AppliedEvent(at=1, num_nodes=2)])
    self_report = facts.comment_record(num_nodes=100_000)
    found = plan(facts.pending(num_nodes=2), history=history, comment_record=self_report)
    assert found.job_update.num_nodes == 3


def test_a_job_that_waits_too_long_is_cancelled() -> None:
    sick = facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN")
    assert plan(nodes=sick, now=SUBMITTED + 24 * 3600).verbs == (Verb.HOLD,)
    found = plan(nodes=sick, now=SUBMITTED + 24 * 3600 + 1)
    assert found.verbs == (Verb.CANCEL,)
    assert "gives up" in (found.job_update.admin_comment or "")


def test_bad_constraints_undo_the_oldest_exclusion() -> None:
    job = facts.pending(reason="BadConstraints", priority=0, exc_nodes=("csx1", "csx4"))
    events = [
        *excluded("csx4", since=SUBMITTED),
        ExcludeEvent(at=SUBMITTED + 1, node="csx1", until=FAR, evidence="e", submit_time=1),
        AppliedEvent(at=SUBMITTED + 1, exc_nodes=("csx1", "csx4")),
    ]
    found = plan(job, *events, comment_record=facts.comment_record(min_nodes=1))
    assert found.job_update.exc_nodes == ("csx1",)
    assert [event.node for event in found.events if isinstance(event, ReadmitEvent)] == ["csx4"]


def test_what_a_person_took_off_the_list_stays_off() -> None:
    found = plan(facts.pending(exc_nodes=()), *excluded("csx4"))
    assert found.job_update.exc_nodes is None


def test_what_a_person_added_to_the_list_stays_on() -> None:
    job = facts.pending(exc_nodes=("csx4", "csx3"))
    assert plan(job, *excluded("csx4")).job_update.exc_nodes is None


# --- properties ----------------------------------------------------------------------------------

NAMES = st.sampled_from([*facts.NODES, "csx9"])
LISTS = st.sets(NAMES, max_size=3).map(lambda found: tuple(sorted(found)))
OWN = st.sets(st.sampled_from(facts.NODES), max_size=2).map(lambda found: tuple(sorted(found)))
NODE_STATES = st.sampled_from(["IDLE", "ALLOCATED", "DOWN", "IDLE+DRAIN", "MIXED+NOT_RESPONDING"])
CLUSTERS = st.fixed_dictionaries(dict.fromkeys(facts.NODES, NODE_STATES)).map(
    lambda states: facts.nodes(**states)
)
TIMES = st.integers(SUBMITTED - 10, SUBMITTED + 700)
REASONS = ["None", "Priority", "JobHeldUser", "JobHeldAdmin", "BadConstraints", "BeginTime"]
HISTORIES = st.tuples(
    st.builds(
        facts.ended,
        st.sampled_from(Category),
        action=st.sampled_from(Action),
        nodes=OWN,
        num_nodes=st.just(4),  # of an earlier time, when it was larger
        start_at=st.none() | TIMES,
    ),
    st.lists(
        st.one_of(
            st.builds(
                ExcludeEvent,
                at=TIMES,
                node=st.sampled_from(facts.NODES),
                until=st.sampled_from([SUBMITTED + 50, FAR]),
                evidence=st.just("e"),
                submit_time=TIMES,
            ),
            st.builds(
                AppliedEvent,
                at=TIMES,
                exc_nodes=st.none() | OWN,
                num_nodes=st.none() | st.integers(2, 3),
                start_time=st.none() | TIMES,
                held=st.none() | st.booleans(),
            ),
        ),
        max_size=4,
    ),
).map(lambda parts: replay([parts[0], *parts[1]]))
WAITS = st.builds(
    PendingCase,
    job=st.builds(
        facts.pending,
        exc_nodes=LISTS,
        num_nodes=st.integers(1, 4),
        priority=st.sampled_from([0, 100]),
        reason=st.sampled_from(REASONS),
        eligible_time=st.none() | TIMES | st.just(SUBMITTED + 50_000),
        admin_comment=st.text(max_size=10),
    ),
    comment_record=st.builds(facts.comment_record, min_nodes=st.integers(1, 3)),
    history=HISTORIES,
    nodes=CLUSTERS,
    reserved=st.none() | LISTS,
    site=st.just(SitePolicy()),
    now=st.integers(SUBMITTED, SUBMITTED + 100_000),
    startable=st.booleans(),
)


@given(case=WAITS)
def test_there_is_a_plan_for_every_wait(case: PendingCase) -> None:
    found = plan_pending(case)
    assert len(found.verbs) <= 1
    size = found.job_update.num_nodes
    assert size is None or case.comment_record.min_nodes <= size <= case.comment_record.num_nodes


@given(case=WAITS)
def test_what_a_person_holds_stays_held_and_as_it_is(case: PendingCase) -> None:
    theirs = case.job.reason in {"JobHeldUser", "JobHeldAdmin", "Priority", "None", "BeginTime"}
    if case.job.priority == 0 and theirs and not case.history.applied.held:
        assert plan_pending(case).operations("") == ()


@given(case=WAITS)
def test_what_people_exclude_stays_excluded(case: PendingCase) -> None:
    wanted = plan_pending(case).job_update.exc_nodes
    if wanted is not None:
        assert set(case.job.exc_nodes) - set(case.history.applied.exc_nodes or ()) <= set(wanted)


@given(case=WAITS)
def test_only_nodes_of_the_last_attempt_are_found_down(case: PendingCase) -> None:
    down = {node.name for node in case.nodes if node.down}
    last = case.history.ends[-1]
    for event in plan_pending(case).events:
        if isinstance(event, ExcludeEvent):
            assert event.node in down & set(last.nodes)


@given(case=WAITS)
def test_a_begin_time_that_is_neither_slurms_nor_ours_stays(case: PendingCase) -> None:
    chosen = replace(case, job=replace(case.job, eligible_time=SUBMITTED + 50_000))
    assert plan_pending(chosen).start is None


@given(case=WAITS)
def test_a_size_that_is_neither_the_submitted_one_nor_ours_stays(case: PendingCase) -> None:
    chosen = replace(case, job=replace(case.job, num_nodes=7))
    assert plan_pending(chosen).job_update.num_nodes is None


CLOCK_SET_BACK = PendingCase(
    job=facts.pending(num_nodes=1, eligible_time=None),
    comment_record=facts.comment_record(min_nodes=1),
    # The last values were applied at a time that is after `now`.
    history=replay(
        [
            facts.ended(num_nodes=4),
            ExcludeEvent(at=1, node="csx1", until=FAR, evidence="e", submit_time=1),
            AppliedEvent(at=SUBMITTED + 1, start_time=SUBMITTED + 1),
        ]
    ),
    nodes=facts.nodes(),
    reserved=None,
    site=SitePolicy(),
    now=SUBMITTED,
    startable=True,
)
"""Found by Hypothesis: the exclusion list was applied, and the begin time counted as not passed."""


@given(case=WAITS)
@example(case=CLOCK_SET_BACK)
def test_a_plan_that_is_applied_leaves_nothing_to_plan(case: PendingCase) -> None:
    bad = case.job.reason == "BadConstraints"  # each plan ends one exclusion
    first = plan_pending(case)
    if bad or Verb.CANCEL in first.verbs:
        return
    again = plan_pending(after(case, first))
    assert again.operations("") == ()
    assert again.events == ()


def after(case: PendingCase, found: PendingPlan) -> PendingCase:
    """The wait after Slurm has accepted the whole plan."""
    job_update, job = found.job_update, case.job
    if job_update.exc_nodes is not None:
        job = replace(job, exc_nodes=job_update.exc_nodes)
    if job_update.num_nodes is not None:
        job = replace(job, num_nodes=job_update.num_nodes)
    if job_update.start_time is not None:
        job = replace(job, eligible_time=job_update.start_time)
    held = None
    if found.verbs:
        held = found.verbs == (Verb.HOLD,)
        job = replace(job, priority=0 if held else 100, reason="JobHeldAdmin" if held else "None")
    applied = AppliedEvent(
        at=case.now,
        exc_nodes=job_update.own_nodes if job_update.exc_nodes is not None else None,
        num_nodes=job_update.num_nodes,
        start_time=job_update.start_time,
        held=held,
    )
    written = (applied,) if found.operations("") else ()
    return replace(case, job=job, history=replay([*found.events, *written], case.history))
