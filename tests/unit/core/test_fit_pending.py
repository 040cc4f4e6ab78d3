"""A job that waits is fitted to the nodes of now; what people have set stays."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import assume, example, given
from hypothesis import strategies as st

from slurm_restart.core.category import Category
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.fit_pending import (
    BAD_CONSTRAINTS,
    PROLOG_HELD,
    RENEW,
    RETRY_RELEASE,
    WAIT,
    Fit,
    Observation,
    Plan,
    due_time,
    fit,
    is_held_by_people,
    note_once,
    plan_pending,
    restart_comment,
)
from slurm_restart.core.history import Exclusion, History, replay
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.core.journal_events import (
    CLEARED,
    Action,
    AppliedEvent,
    EndEvent,
    Event,
    ExcludeEvent,
    NoteEvent,
    ReadmitEvent,
)
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.slurm_operations import JobUpdate, SearchMark, Verb, read_search_mark
from tests.unit.core import facts
from tests.unit.core.facts import NODES, SUBMITTED

NOW = SUBMITTED + 100
FAR = SUBMITTED * 2
SICK = facts.nodes(csx1="DOWN", csx2="DOWN", csx3="DOWN")
LAST = facts.ended(start_at=SUBMITTED, nodes=NODES[:3], num_nodes=3)


def planned(
    job: Job | None = None,
    *events: Event,
    last: EndEvent | None = LAST,
    first: tuple[Event, ...] | None = None,
    **changes: Any,
) -> Plan:
    """The plan for a job whose restart is due, after these further events."""
    before = (() if last is None else (last,)) if first is None else first
    seen = facts.observation(**{"job": job or waiting(), "now": float(NOW)} | changes)
    return plan_pending(seen, replay([*before, *events]), last)


def waiting(**changes: Any) -> Job:
    """The job with the begin time that Slurm gives a requeued one."""
    return facts.pending(**{"restarts": 1, "eligible_time": SUBMITTED + 121} | changes)


def excluded(node: str, *, since: int = SUBMITTED, evidence: str = "e") -> tuple[Event, ...]:
    return (
        ExcludeEvent(at=since, node=node, until=FAR, evidence=evidence, submit_time=SUBMITTED),
        facts.intent(exc_nodes=(node,)),
        AppliedEvent(at=since, exc_nodes=(node,)),
    )


# --- begin time ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("eligible", "events", "start"),
    [
        (SUBMITTED + 121, (), "now"),  # Slurm's own delay is cut short
        (SUBMITTED, (), "now"),  # a begin time that has passed starts no scheduler
        (SUBMITTED + 5000, (), None),  # a person's
        (SUBMITTED + 5000, (facts.intent(start_time=SUBMITTED + 5000),), "now"),  # of a wait
        (SUBMITTED + 40, (facts.intent(start_time=SUBMITTED + 40),), "now"),
        (NOW, (AppliedEvent(at=NOW, start_time=NOW),), None),  # started once
        (SUBMITTED + 121, (AppliedEvent(at=NOW, start_time=NOW),), "now"),  # Slurm moved it
        (SUBMITTED, (AppliedEvent(at=SUBMITTED - 1, start_time=SUBMITTED - 1),), "now"),  # before
    ],
)
def test_a_due_job_is_started_once(
    eligible: int, events: tuple[Event, ...], start: str | None
) -> None:
    found = planned(waiting(eligible_time=eligible), *events)
    assert (found.start, found.job_update.start_time) == (start, NOW if start else None)


@pytest.mark.parametrize(
    ("now", "margin", "startable"),
    [
        (SUBMITTED + 1.0, 1.1, False),
        (SUBMITTED + 2.0, 1.1, False),
        (SUBMITTED + 2.1, 1.1, True),
        (SUBMITTED + 2.1, 3.0, False),
    ],
)
def test_no_start_in_the_second_of_the_kill(now: float, margin: float, startable: bool) -> None:
    found = planned(now=now, margin=margin)
    assert (found.start == "now") is startable
    assert found.look_again == (None if startable else SUBMITTED + 1 + margin)


@pytest.mark.parametrize(
    ("eligible", "start"),
    [(SUBMITTED + 121, "now+60"), (NOW + 60, None), (NOW + 62, None), (NOW + 57, "now+60")],
)
def test_a_later_start_is_set_and_restored(eligible: int, start: str | None) -> None:
    later = replace(LAST, start_at=NOW + 60)
    own = facts.intent(start_time=eligible)
    found = planned(waiting(eligible_time=eligible), own, last=later)
    assert (found.start, found.look_again) == (start, NOW + 60)


def test_a_start_is_due_when_the_end_says_so() -> None:
    assert due_time(None) == 0
    assert due_time(facts.ended(at=5)) == 5
    assert due_time(facts.ended(at=5, start_at=9)) == 9


# --- too few nodes -------------------------------------------------------------------------------


def test_a_job_without_nodes_waits_with_a_begin_time_and_the_reason() -> None:
    found = planned(nodes=SICK)
    assert (found.start, found.after) == (f"now+{WAIT}", ())
    assert "waits: 1 usable nodes, 2 are needed" in (found.job_update.admin_comment or "")


@pytest.mark.parametrize(
    ("left", "renewed"), [(WAIT, False), (RENEW + 1, False), (RENEW, True), (0, True)]
)
def test_the_wait_is_renewed_in_time(left: int, renewed: bool) -> None:
    own = facts.intent(start_time=NOW + left)
    found = planned(waiting(eligible_time=NOW + left), own, nodes=SICK)
    assert found.start == (f"now+{WAIT}" if renewed else None)


def test_a_wait_ends_when_there_are_nodes() -> None:
    own = facts.intent(start_time=NOW + WAIT)
    assert planned(waiting(eligible_time=NOW + WAIT), own).start == "now"


def test_a_later_phase_waits_for_nodes_too_and_begins_when_its_user_wants() -> None:
    first = facts.pending(eligible_time=None)
    assert planned(first, last=None, nodes=SICK).start == f"now+{WAIT}"
    own = facts.intent(start_time=NOW + WAIT)
    assert planned(facts.pending(eligible_time=NOW + WAIT), own, last=None).start == "now"
    tomorrow = facts.pending(eligible_time=NOW + 86_400)
    assert planned(tomorrow, last=None).start is None
    assert planned(tomorrow, last=None, nodes=SICK).start is None


def test_a_persons_begin_time_is_no_wait_for_nodes() -> None:
    next_week = waiting(eligible_time=SUBMITTED + 600_000)
    found = planned(next_week, nodes=SICK, now=SUBMITTED + 100_000.0)
    assert (found.start, found.after) == (None, ())


@pytest.mark.parametrize(("waited", "gives_up"), [(24 * 3600, False), (24 * 3600 + 1, True)])
def test_a_job_that_waits_too_long_is_cancelled(waited: int, gives_up: bool) -> None:
    found = planned(nodes=SICK, now=float(SUBMITTED + waited))
    assert found.after == ((Verb.CANCEL,) if gives_up else ())
    assert ("gives up waiting" in (found.job_update.admin_comment or "")) is gives_up


def test_a_first_attempt_is_never_given_up() -> None:
    first = facts.pending(eligible_time=None)
    assert planned(first, last=None, nodes=SICK, now=float(FAR)).after == ()


# --- holds ---------------------------------------------------------------------------------------

OURS = AppliedEvent(at=SUBMITTED, held=True)  # of a release up to 0.2


@pytest.mark.parametrize(
    ("reason", "action", "events", "theirs"),
    [
        ("JobHeldUser", Action.REQUEUE, (), True),
        ("JobHeldAdmin", Action.REQUEUE, (), True),
        ("JobHeldAdmin", Action.REQUEUE, (OURS,), False),
        ("JobHeldAdmin", Action.REQUEUE, (OURS, AppliedEvent(at=NOW, held=False)), True),
        ("JobHeldAdmin", Action.REQUEUE, (OURS, facts.ended(attempt=1)), True),
        (PROLOG_HELD, Action.RELEASE, (), False),
        (PROLOG_HELD, Action.REQUEUE, (), True),
        (BAD_CONSTRAINTS, Action.REQUEUE, (), False),
        ("Priority", Action.REQUEUE, (), True),
    ],
)
def test_whose_a_hold_is(
    reason: str, action: Action, events: tuple[Event, ...], theirs: bool
) -> None:
    last = replace(LAST, action=action)
    held = waiting(priority=0, reason=reason)
    assert is_held_by_people(held, replay([last, *events]), last) is theirs
    found = planned(held, *events, last=last)
    if theirs:
        assert found.operations("") == ()
        assert [type(event) for event in found.events] == [NoteEvent]
    assert not is_held_by_people(replace(held, priority=1), replay([last, *events]), last)


def test_a_hold_of_a_prolog_failure_before_the_first_end_is_a_persons_to_release() -> None:
    held = facts.pending(priority=0, reason=PROLOG_HELD)
    assert is_held_by_people(held, History(), None)


def test_a_note_is_written_once() -> None:
    note = note_once(facts.observation(), History(), "x")
    assert [event.text for event in note] == ["x"]
    assert note_once(facts.observation(), replay(note), "x") == ()


def test_a_former_releases_hold_is_released_only_with_nodes() -> None:
    held = waiting(priority=0, reason="JobHeldAdmin")
    assert planned(held, OURS).after == (Verb.RELEASE,)
    assert planned(held, OURS, nodes=SICK).after == ()


# --- size ----------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("shown", "nodes", "events", "size"),
    [
        (3, facts.nodes(), (), None),
        (3, facts.nodes(csx1="DOWN", csx4="DOWN"), (), 2),
        (2, facts.nodes(), (facts.intent(num_nodes=2),), 3),  # it grows back
        (2, facts.nodes(), (), None),  # a person's
        (1, facts.nodes(), (facts.intent(num_nodes=2),), None),  # a person's
        (3, SICK, (), None),
    ],
)
def test_the_size_follows_the_nodes_unless_it_is_a_persons(
    shown: int, nodes: Any, events: tuple[Event, ...], size: int | None
) -> None:
    found = planned(waiting(num_nodes=shown), *events, nodes=nodes)
    assert found.job_update.num_nodes == size


def test_a_persons_size_is_noted_once() -> None:
    text = "a person set 1 nodes: left alone"
    found = planned(waiting(num_nodes=1))
    assert text in [event.text for event in found.events if isinstance(event, NoteEvent)]
    again = planned(waiting(num_nodes=1), *found.events)
    assert [event for event in again.events if isinstance(event, NoteEvent)] == []


@pytest.mark.parametrize(
    ("asked", "held_before", "size"),
    [(3, 3, 3), (4, 3, 3), (100_000, 3, 3), (100_000, 2, None), (100_000, None, None)],
)
def test_a_forged_size_grows_no_job_beyond_what_slurm_has_granted(
    asked: int, held_before: int | None, size: int | None
) -> None:
    last = replace(LAST, num_nodes=held_before, nodes=())
    record = facts.comment_record(num_nodes=asked, min_nodes=2)
    own = facts.intent(num_nodes=2)
    found = planned(waiting(num_nodes=2), own, last=last, comment_record=record)
    assert found.job_update.num_nodes == size


def test_a_job_that_may_not_start_yet_does_not_wait_for_nodes() -> None:
    busy = facts.nodes(csx1="ALLOCATED", csx2="ALLOCATED")
    late = float(SUBMITTED + 3600)
    begun = waiting(eligible_time=SUBMITTED + 10)
    started = AppliedEvent(at=SUBMITTED + 10, start_time=SUBMITTED + 10)
    assert planned(begun, started, nodes=busy, now=late).job_update.num_nodes == 2
    # Until it is started, it has not waited: its begin time has not woken the scheduler.
    assert planned(nodes=busy, now=late).job_update.num_nodes is None
    tomorrow = waiting(eligible_time=SUBMITTED + 600)
    assert planned(tomorrow, nodes=busy, now=late).job_update.num_nodes == 2
    next_week = waiting(eligible_time=SUBMITTED + 600_000)
    assert planned(next_week, nodes=busy, now=late).job_update.num_nodes is None


# --- exclusions ----------------------------------------------------------------------------------


def readmitted(found: Plan) -> list[str]:
    return [event.node for event in found.events if isinstance(event, ReadmitEvent)]


def test_a_node_found_down_later_is_excluded_and_replaced() -> None:
    found = planned(nodes=facts.nodes(csx2="DOWN+NOT_RESPONDING"))
    assert (found.job_update.exc_nodes, found.job_update.num_nodes) == (("csx2",), None)
    [event] = [event for event in found.events if isinstance(event, ExcludeEvent)]
    assert (event.node, event.submit_time) == ("csx2", LAST.submit_time)


@pytest.mark.parametrize(
    ("last", "events", "down"),
    [
        (LAST, (), "csx4"),  # not of the last attempt
        (replace(LAST, category=Category.TIMEOUT), (), "csx2"),  # such an end blames no node
        (LAST, (ReadmitEvent(at=SUBMITTED + 1, node="csx2", why=CLEARED),), "csx2"),
        (None, (), "csx2"),
    ],
)
def test_a_node_found_down_that_is_not_excluded(
    last: EndEvent | None, events: tuple[Event, ...], down: str
) -> None:
    found = planned(None, *events, last=last, nodes=facts.nodes(**{down: "DOWN"}))
    assert [event for event in found.events if isinstance(event, ExcludeEvent)] == []


def test_bad_constraints_undo_one_exclusion_at_a_time_the_oldest_first() -> None:
    job = waiting(reason=BAD_CONSTRAINTS, priority=0, exc_nodes=("csx1", "csx4"))
    events = (*excluded("csx4"), *excluded("csx1", since=SUBMITTED + 1))
    record = facts.comment_record(min_nodes=1)
    applied = AppliedEvent(at=SUBMITTED + 1, exc_nodes=("csx1", "csx4"))
    found = planned(job, *events, applied, comment_record=record)
    assert (found.job_update.exc_nodes, readmitted(found)) == (("csx1",), ["csx4"])
    assert found.after == (Verb.RELEASE,)


@pytest.mark.parametrize(
    ("evidence", "min_nodes", "down", "back"),
    [
        # Of the four nodes two are excluded: a third one is needed.
        ("Slurm: DOWN Not responding", 3, {}, ["csx4"]),
        ("Slurm, after the end: DOWN", 3, {}, ["csx4"]),
        ("Slurm: DOWN Not responding", 3, {"csx4": "DOWN"}, ["csx1"]),
        ("Slurm: DOWN Not responding", 3, {"csx4": "DOWN", "csx1": "IDLE+DRAIN"}, []),
        # Another one could become healthy.
        ("Slurm: DOWN Not responding", 2, {"csx2": "DOWN"}, []),
        # A node that the log or a search names stays excluded.
        ("search: all 4 attempts on it failed", 3, {}, []),
    ],
)
def test_a_node_that_is_healthy_again_replaces_itself_if_no_other_can(
    evidence: str, min_nodes: int, down: dict[str, str], back: list[str]
) -> None:
    events = (
        *excluded("csx4", evidence=evidence),
        *excluded("csx1", evidence=evidence, since=SUBMITTED + 1),
    )
    job = waiting(exc_nodes=("csx1", "csx4"))
    record = facts.comment_record(min_nodes=min_nodes)
    applied = AppliedEvent(at=SUBMITTED + 1, exc_nodes=("csx1", "csx4"))
    found = planned(job, *events, applied, comment_record=record, nodes=facts.nodes(**down))
    assert readmitted(found) == back


@pytest.mark.parametrize(
    ("asked", "nodes", "released"),
    [
        (None, facts.nodes(), False),
        (NOW - RETRY_RELEASE + 1, facts.nodes(), False),
        (NOW - RETRY_RELEASE, facts.nodes(), True),
        (NOW - RETRY_RELEASE, SICK, False),
    ],
)
def test_bad_constraints_that_no_change_of_ours_can_help_are_tried_now_and_then(
    asked: int | None, nodes: Any, released: bool
) -> None:
    job = waiting(reason=BAD_CONSTRAINTS, priority=0)
    own = () if asked is None else (facts.intent(at=asked),)
    assert planned(job, *own, nodes=nodes).after == ((Verb.RELEASE,) if released else ())


def test_the_exclusions_of_earlier_phases_are_taken_once() -> None:
    earlier = (Exclusion(node="csx2", since=1, until=FAR, evidence="e"),)
    first = facts.pending(eligible_time=None)
    found = planned(first, last=None, run_exclusions=earlier)
    assert found.job_update.exc_nodes == ("csx2",)
    for why in (CLEARED, "it expired"):
        over = ReadmitEvent(at=NOW, node="csx2", why=why)
        assert planned(first, over, last=None, run_exclusions=earlier).events == ()


@pytest.mark.parametrize(
    ("shown", "applied", "boot_time", "confirmed"),
    [
        (("csx2",), None, None, True),  # the outcome was lost in a crash
        (("csx2",), ("csx2",), None, False),
        (("csx2",), ("csx2",), NOW - 51, False),
        (("csx2",), ("csx2",), NOW - 50, True),
        (("csx2",), ("csx2",), NOW - 5, True),  # after a restart of slurmctld it is recorded anew
        (("csx4",), None, None, False),
    ],
)
def test_a_list_that_slurm_shows_is_confirmed(
    shown: tuple[str, ...],
    applied: tuple[str, ...] | None,
    boot_time: int | None,
    confirmed: bool,
) -> None:
    events = list(excluded("csx2")[:2])
    if applied:
        events.append(AppliedEvent(at=NOW - 50, exc_nodes=applied))
    cluster = ClusterFacts(boot_time=boot_time)
    found = planned(waiting(exc_nodes=shown), *events, cluster=cluster)
    expected = [AppliedEvent(at=NOW, exc_nodes=("csx2",))] if confirmed else []
    assert [event for event in found.events if isinstance(event, AppliedEvent)] == expected


def test_short_failures_on_the_same_node_move_the_job_elsewhere() -> None:
    record = facts.comment_record(num_nodes=1, min_nodes=1)
    last = facts.ended(nodes=("csx1",), num_nodes=1, run_time=2, start_at=SUBMITTED)
    seen = facts.observation(job=waiting(num_nodes=1), comment_record=record, now=float(NOW))
    fitted = fit(seen, replay([last]), last, waited=0)
    assert (fitted.own, fitted.avoidance is not None) == (("csx1",), True)
    assert [event for event in fitted.events if isinstance(event, ExcludeEvent)] == []
    assert "a guess" in restart_comment(seen, fitted, last)
    cleared = replay([last, ReadmitEvent(at=NOW, node="csx1", why=CLEARED)])
    assert fit(seen, cleared, last, waited=0).own == ()
    stuck = replace(seen, job=replace(seen.job, reason=BAD_CONSTRAINTS))
    assert fit(stuck, replay([last]), last, waited=0).own == ()


def test_the_comment_of_a_restart_names_new_exclusions_and_keeps_an_admins_text() -> None:
    old, new = excluded("csx1", since=SUBMITTED - 9), excluded("csx2", since=SUBMITTED + 9)
    history = replay([LAST, old[0], new[0]])
    job = waiting(admin_comment="ticket 12 | csx-restart: failures=0/3", exc_nodes=("csx1",))
    seen = facts.observation(job=job, now=float(NOW))
    text = restart_comment(seen, fit(seen, history, LAST, waited=0), LAST)
    assert text.startswith("ticket 12 | csx-restart: failures=0/3")
    assert text.count("csx-restart: ") == 1
    assert ("excluded csx2 (e)" in text, "csx1" in text) == (True, False)


# --- properties ----------------------------------------------------------------------------------

NAMES = st.sampled_from([*NODES, "csx9"])
LISTS = st.sets(NAMES, max_size=3).map(lambda found: tuple(sorted(found)))
OWN = st.sets(st.sampled_from(NODES), max_size=2).map(lambda found: tuple(sorted(found)))
NODE_STATES = st.sampled_from(["IDLE", "ALLOCATED", "DOWN", "IDLE+DRAIN", "MIXED+NOT_RESPONDING"])
CLUSTERS = st.fixed_dictionaries(dict.fromkeys(NODES, NODE_STATES)).map(
    lambda states: facts.nodes(**states)
)
TIMES = st.integers(SUBMITTED - 10, SUBMITTED + 700)
REASONS = ["None", "Priority", "JobHeldUser", "JobHeldAdmin", BAD_CONSTRAINTS, "BeginTime"]
ENDS = st.builds(
    facts.ended,
    st.sampled_from(Category),
    action=st.sampled_from([Action.REQUEUE, Action.ADJUST, Action.RELEASE]),
    nodes=OWN,
    num_nodes=st.just(4),  # of an earlier time, when it was larger
    start_at=st.none() | TIMES,
)
PAST = st.lists(
    st.one_of(
        st.builds(
            ExcludeEvent,
            at=TIMES,
            node=st.sampled_from(NODES),
            until=st.sampled_from([SUBMITTED + 50, FAR]),
            evidence=st.just("e"),
            submit_time=TIMES,
        ),
        st.builds(
            facts.intent,
            exc_nodes=st.none() | OWN,
            num_nodes=st.none() | st.integers(2, 3),
            start_time=st.none() | TIMES,
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
)
SEEN = st.builds(
    facts.observation,
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
    nodes=CLUSTERS,
    reserved=st.none() | LISTS,
    site=st.just(SitePolicy()),
    now=st.integers(SUBMITTED, SUBMITTED + 100_000).map(float),
)


@given(seen=SEEN, last=ENDS, past=PAST)
def test_every_wait_has_a_plan(seen: Observation, last: EndEvent, past: list[Event]) -> None:
    found = plan_pending(seen, replay([last, *past]), last)
    assert len(found.after) <= 1
    assert found.before == ()
    size = found.job_update.num_nodes
    assert size is None or seen.comment_record.min_nodes <= size <= seen.comment_record.num_nodes


@given(seen=SEEN, last=ENDS, past=PAST)
def test_what_a_person_holds_stays_held_and_as_it_is(
    seen: Observation, last: EndEvent, past: list[Event]
) -> None:
    history = replay([last, *past])
    assume(not history.applied.held)
    theirs = replace(seen, job=replace(seen.job, priority=0, reason="JobHeldUser"))
    assert plan_pending(theirs, history, last).operations("") == ()


@given(seen=SEEN, last=ENDS, past=PAST)
def test_what_people_exclude_stays_excluded(
    seen: Observation, last: EndEvent, past: list[Event]
) -> None:
    history = replay([last, *past])
    wanted = plan_pending(seen, history, last).job_update.exc_nodes
    if wanted is not None:
        theirs = set(seen.job.exc_nodes) - history.intended.exc_nodes
        assert theirs & seen.names <= set(wanted)
        assert set(wanted) <= seen.names


@given(seen=SEEN, last=ENDS, past=PAST)
def test_only_nodes_of_the_last_attempt_are_found_down(
    seen: Observation, last: EndEvent, past: list[Event]
) -> None:
    down = {node.name for node in seen.nodes if node.down}
    for event in plan_pending(seen, replay([last, *past]), last).events:
        if isinstance(event, ExcludeEvent):
            assert event.node in down & set(last.nodes)


@given(seen=SEEN, last=ENDS, past=PAST)
def test_a_begin_time_that_is_neither_slurms_nor_ours_stays(
    seen: Observation, last: EndEvent, past: list[Event]
) -> None:
    chosen = replace(seen, job=replace(seen.job, eligible_time=SUBMITTED + 50_000))
    assert plan_pending(chosen, replay([last, *past]), last).start is None


@given(seen=SEEN, last=ENDS, past=PAST)
def test_a_size_that_is_neither_the_submitted_one_nor_ours_stays(
    seen: Observation, last: EndEvent, past: list[Event]
) -> None:
    chosen = replace(seen, job=replace(seen.job, num_nodes=7))
    assert plan_pending(chosen, replay([last, *past]), last).job_update.num_nodes is None


CLOCK_SET_BACK = (
    facts.observation(
        job=facts.pending(num_nodes=1, eligible_time=None),
        comment_record=facts.comment_record(min_nodes=1),
        now=float(SUBMITTED),
    ),
    facts.ended(num_nodes=4),
    # The last values were applied at a time that is after `now`.
    [
        ExcludeEvent(at=1, node="csx1", until=FAR, evidence="e", submit_time=1),
        AppliedEvent(at=SUBMITTED + 1, start_time=SUBMITTED + 1),
    ],
)
"""Found by Hypothesis: the exclusion list was applied, and the begin time counted as not passed."""


LONG_DUE = (
    facts.observation(
        job=facts.pending(eligible_time=SUBMITTED),
        comment_record=facts.comment_record(min_nodes=1),
        now=float(SUBMITTED + 601),
    ),
    facts.ended(num_nodes=4),
    list[Event](),
)
"""Found by Hypothesis: the job shrank as one that had waited, and grew back once it was started."""


@given(seen=SEEN, last=ENDS, past=PAST)
@example(*CLOCK_SET_BACK)
@example(*LONG_DUE)
def test_a_plan_that_is_applied_leaves_nothing_to_plan(
    seen: Observation, last: EndEvent, past: list[Event]
) -> None:
    assume(seen.job.reason != BAD_CONSTRAINTS)  # each plan ends one exclusion
    history = replay([last, *past])
    first = plan_pending(seen, history, last)
    # A job is cancelled, or given its begin time in a second step after its release.
    assume(not first.after)
    job, history = applied(seen, history, first)
    again = plan_pending(replace(seen, job=job), history, last)
    assert again.operations("") == ()
    assert again.events == ()


def applied(seen: Observation, history: History, found: Plan) -> tuple[Job, History]:
    """The job and the journal after Slurm has accepted the whole plan."""
    update, job, now = found.job_update, seen.job, seen.time
    if update.exc_nodes is not None:
        job = replace(job, exc_nodes=update.exc_nodes)
    if update.num_nodes is not None:
        job = replace(job, num_nodes=update.num_nodes)
    if update.start_time is not None:
        job = replace(job, eligible_time=update.start_time)
    if found.after:
        job = replace(job, priority=100, reason="None")
    own = update.own_nodes if update.exc_nodes is not None else None
    written = (
        facts.intent(exc_nodes=own, num_nodes=update.num_nodes, start_time=update.start_time),
        AppliedEvent(
            at=now,
            exc_nodes=own,
            num_nodes=update.num_nodes,
            start_time=update.start_time,
            held=False if found.after else None,
        ),
    )
    return job, replay([*found.events, *(written if found.operations("") else ())], history)


# --- a size that Slurm chooses -------------------------------------------------------------------

FIXED = facts.comment_record(fixed_size=True, num_nodes=1, min_nodes=1)


@pytest.mark.parametrize("size", [1, 2, 4])
def test_the_size_of_a_job_with_task_counts_is_never_written(size: int) -> None:
    """Whatever Slurm shows of it, and however long it waits on idle nodes."""
    for waited in (10, 10_000):
        plan = planned(
            waiting(num_nodes=size, num_cpus=3),
            comment_record=FIXED,
            first=(LAST, AppliedEvent(at=NOW, start_time=NOW)),
            now=float(NOW + waited),
        )
        assert plan.job_update.num_nodes is None
        assert not [event for event in plan.events if isinstance(event, NoteEvent)]


def test_a_job_with_task_counts_waits_only_for_what_it_certainly_needs() -> None:
    larger = tuple(replace(node, cpus=4) for node in facts.nodes(csx1="DOWN", csx2="DOWN"))
    fits = planned(waiting(num_nodes=1, num_cpus=8), comment_record=FIXED, nodes=larger)
    assert (fits.start, fits.job_update.num_nodes) == ("now", None)
    waits = planned(waiting(num_nodes=1, num_cpus=9), comment_record=FIXED, nodes=larger)
    assert waits.start == f"now+{WAIT}"
    assert "2 usable nodes, 3 are needed at least" in (waits.job_update.admin_comment or "")


def test_a_job_with_task_counts_excludes_a_blamed_node() -> None:
    seen = facts.observation(job=waiting(), comment_record=FIXED, now=float(NOW))
    first = excluded("csx2")[:1]
    fitted = fit(seen, replay([LAST, *first]), LAST, waited=0)
    assert (fitted.own, fitted.new_size, fitted.size.num_nodes) == (("csx2",), None, 3)


def test_limits_of_nodes_are_slurms_to_check_where_nobody_has_written_a_size() -> None:
    plan = planned(waiting(num_nodes=2), comment_record=FIXED, node_limit=1)
    assert plan.start == "now"


def test_a_guess_leaves_as_many_nodes_as_the_last_attempt_had() -> None:
    short = facts.ended(nodes=NODES[:3], num_nodes=3, run_time=5, start_at=SUBMITTED)
    seen = facts.observation(job=waiting(num_nodes=1), comment_record=FIXED, now=float(NOW))
    fitted = fit(seen, replay([short]), short, waited=0)
    assert fitted.avoidance is not None
    assert len(fitted.avoidance.nodes) == 1


# --- the search for a faulty node ----------------------------------------------------------------

ALL_BUT_ONE = facts.nodes(csx4="DOWN")


def failures(count: int) -> list[EndEvent]:
    """So many attempts on three nodes without a cause and without progress."""
    return [
        facts.ended(nodes=NODES[:3], num_nodes=3, run_time=90, start_at=SUBMITTED, attempt=number)
        for number in range(count)
    ]


def test_a_search_makes_the_job_smaller_and_says_why_once() -> None:
    ends = failures(2)
    seen = facts.observation(job=waiting(), nodes=ALL_BUT_ONE, now=float(NOW))
    fitted = fit(seen, replay(ends), ends[-1], waited=0)
    [note] = fitted.events
    assert isinstance(note, NoteEvent)
    assert note.text == (
        "searches for a faulty node (a guess): 2 attempts without a known cause failed on csx1, "
        "csx2, csx3, 0 without ran on; the next one leaves out csx1"
    )
    assert (fitted.own, fitted.new_size) == (("csx1",), 2)
    comment = restart_comment(seen, fitted, ends[-1])
    assert read_search_mark(comment) is SearchMark.OPEN
    assert note.text in comment
    assert fit(seen, replay([*ends, note]), ends[-1], waited=0).events == ()


def searching(
    count: int, busy: str, *, waited: int = 0, last_chance: bool = False, **changes: Any
) -> Fit:
    """What is fitted after so many failures on csx1 to csx3, while other jobs hold nodes."""
    ends = failures(count)
    values: dict[str, Any] = {
        "job": waiting(),
        "nodes": facts.nodes(**dict.fromkeys(busy.split(), "ALLOCATED")),
        "comment_record": facts.comment_record(min_nodes=1),
        "now": float(NOW),
    }
    seen = facts.observation(**values | changes)
    last = replace(ends[-1], last_chance=last_chance)
    return fit(seen, replay(ends), last, waited=waited)


@pytest.mark.parametrize(
    ("count", "busy", "waited", "left_out", "size"),
    [
        (2, "", 0, "csx1 csx2", 2),
        # The next attempt leaves out two of three suspects, first those that are busy.
        (2, "csx4", 0, "csx1 csx2", 1),
        (2, "csx3", 0, "csx1 csx3", 2),
        (2, "csx3 csx4", 0, "csx1 csx3", 1),
        # Without a suspect that is to take part its outcome would say nothing.
        (2, "csx1 csx2 csx3", 599, "csx1 csx2", 2),
        (2, "csx1 csx2 csx3", 600, "csx1 csx2", 1),
        # No search: the run may last long on the nodes that it gets now.
        (1, "csx3 csx4", 599, "", 3),
        (1, "csx3 csx4", 600, "", 2),
    ],
)
def test_an_attempt_of_a_search_does_not_wait_for_busy_nodes(
    count: int, busy: str, waited: int, left_out: str, size: int
) -> None:
    fitted = searching(count, busy, waited=waited)
    assert (" ".join(fitted.own), fitted.new_size) == (left_out, size)


@pytest.mark.parametrize(
    ("min_nodes", "left_out", "size"),
    # With two of csx1 to csx3 left out it would wait for csx4.
    [(1, "csx1 csx2", 1), (2, "csx1", 2)],
)
def test_no_more_is_left_out_than_it_can_start_without(
    min_nodes: int, left_out: str, size: int
) -> None:
    record = facts.comment_record(min_nodes=min_nodes)
    fitted = searching(2, "csx4", comment_record=record)
    assert (" ".join(fitted.own), fitted.new_size) == (left_out, size)
    assert fitted.size.reason == f"{size} of {size + 1} nodes are free"


@pytest.mark.parametrize(
    ("waited", "left_out", "size"), [(0, "csx1", 3), (599, "csx1", 3), (600, "", 3)]
)
def test_where_it_could_leave_out_nothing_it_waits_as_any_other(
    waited: int, left_out: str, size: int
) -> None:
    """The same nodes would most likely fail again."""
    record = facts.comment_record(min_nodes=3)
    fitted = searching(2, "csx4", waited=waited, comment_record=record)
    assert (" ".join(fitted.own), fitted.new_size) == (left_out, size)


@pytest.mark.parametrize(
    "job", [facts.job(flags=frozenset({facts.COMPLETING})), facts.job(state=JobState.RUNNING)]
)
def test_the_nodes_that_an_attempt_is_leaving_are_as_good_as_idle(job: Job) -> None:
    busy = facts.nodes(
        csx1="ALLOCATED+COMPLETING", csx2="IDLE+COMPLETING", csx3="ALLOCATED", csx4="ALLOCATED"
    )
    fitted = searching(2, "", job=job, nodes=busy)
    assert (fitted.own, fitted.new_size) == (("csx1", "csx2"), 1)
    # Once it has left them, another job may have taken one.
    taken = searching(2, "csx1 csx4")
    assert (taken.own, taken.new_size) == (("csx1", "csx2"), 1)


def test_a_guess_that_is_made_anew_is_told_in_the_comment() -> None:
    ends = failures(2)
    old = facts.intent(exc_nodes=("csx1", "csx2"))
    found = planned(
        waiting(exc_nodes=("csx1", "csx2")),
        old,
        first=tuple(ends),
        last=ends[-1],
        nodes=facts.nodes(csx3="ALLOCATED"),
        comment_record=facts.comment_record(min_nodes=1),
    )
    assert found.job_update.exc_nodes == ("csx1", "csx3")
    assert "leaves out csx1, csx3" in (found.job_update.admin_comment or "")
    assert read_search_mark(found.job_update.admin_comment or "") is SearchMark.OPEN


ENDING = facts.job(flags=frozenset({facts.COMPLETING}))


@given(
    cluster=CLUSTERS,
    count=st.integers(1, 5),
    least=st.integers(1, 3),
    last_chance=st.booleans(),
    job=st.sampled_from([ENDING, waiting()]),
)
def test_what_can_start_without_busy_nodes_does_not_wait_for_them(
    cluster: tuple[NodeState, ...], count: int, least: int, last_chance: bool, job: Job
) -> None:
    own = NODES[:3] if job.completing else ()
    ready = {node.name for node in cluster if node.idle or (node.healthy and node.name in own)}
    assume(len(ready) >= least)
    record = facts.comment_record(min_nodes=least)
    wanted = {"nodes": cluster, "comment_record": record, "job": job, "last_chance": last_chance}
    fitted = searching(count, "", **wanted)
    left, size = ready.difference(fitted.own), fitted.new_size
    # It waits only if it could leave out nothing otherwise, or if a further failure counts more.
    if count < 3 and len(ready) > least and not last_chance:
        assert len(left) >= least
    if fitted.avoidance and fitted.avoidance.is_tested_on(frozenset(left)) and len(left) >= least:
        assert least <= (size or 0) <= len(left)
    if not job.completing:
        late = searching(count, "", waited=600, **wanted)
        assert least <= (late.new_size or 0) <= len(ready.difference(late.own))


def test_what_a_search_asks_for_is_asked_once() -> None:
    ends = failures(2)
    first = planned(waiting(), first=tuple(ends), last=ends[-1], nodes=ALL_BUT_ONE)
    asked = first.job_update
    assert (asked.exc_nodes, asked.num_nodes) == (("csx1",), 2)
    events = (
        *first.events,
        facts.intent(exc_nodes=asked.own_nodes, num_nodes=2),
        AppliedEvent(at=NOW, exc_nodes=asked.own_nodes, num_nodes=2),
    )
    job = waiting(exc_nodes=("csx1",), num_nodes=2)
    again = planned(job, *events, first=tuple(ends), last=ends[-1], nodes=ALL_BUT_ONE)
    assert (again.job_update.exc_nodes, again.job_update.num_nodes) == (None, None)
    assert [event for event in again.events if isinstance(event, NoteEvent)] == []


@pytest.mark.parametrize("count", [0, 1])
def test_one_failure_is_no_search(count: int) -> None:
    ends = failures(count)
    last = ends[-1] if ends else None
    fitted = fit(facts.observation(job=waiting()), replay(ends), last, waited=0)
    assert (fitted.own, fitted.events, fitted.avoidance) == ((), (), None)


def test_without_a_search_two_failures_change_nothing() -> None:
    ends, record = failures(2), facts.comment_record(node_search=False)
    seen = facts.observation(job=waiting(), comment_record=record)
    fitted = fit(seen, replay(ends), ends[-1], waited=0)
    assert (fitted.own, fitted.avoidance) == ((), None)


def test_a_job_that_a_person_holds_gets_no_guess() -> None:
    held = waiting(priority=0, reason="JobHeldUser")
    ends = failures(2)
    plan = planned(held, first=tuple(ends), last=ends[-1])
    notes = [event.text for event in plan.events if isinstance(event, NoteEvent)]
    assert notes == ["held by a person (JobHeldUser): left alone"]
    assert plan.job_update == JobUpdate()


# --- a task of an array --------------------------------------------------------------------------


def test_a_task_that_the_arrays_limit_keeps_waiting_does_not_shrink() -> None:
    first = (LAST, AppliedEvent(at=NOW, start_time=NOW))
    late = {"first": first, "now": float(NOW + 10_000)}
    due = {"eligible_time": NOW, "num_nodes": 3}
    assert planned(waiting(**due), **late).job_update.num_nodes == 2
    task = waiting(**due, array_job_id=5, array_task_id=2, reason="JobArrayTaskLimit")
    assert planned(task, **late).job_update.num_nodes is None
