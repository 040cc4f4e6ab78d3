"""Whole ends: exclusions with the user's own, size, AdminComment, no report."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.category import Category
from slurm_restart.core.history import History, replay
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.job_comment import CommentRecord, Mode
from slurm_restart.core.journal_events import Action, AppliedEvent, EndEvent, ExcludeEvent
from slurm_restart.core.plan_end import EndCase, EndPlan, attempt_progress, known_restarts, plan_end
from slurm_restart.core.restart_limits import SitePolicy, policy_for
from slurm_restart.core.situation import Progress
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED, case


def test_a_named_node_is_excluded_beside_the_users_own_and_replaced() -> None:
    end_plan = plan_end(
        case(
            comment_record=facts.comment_record(cause=Category.HARDWARE_ACCELERATOR, rule="xid"),
            named=("csx2",),
            job=facts.job(exc_nodes=("old7",)),
        )
    )
    assert end_plan.decision.action is Action.REQUEUE
    assert end_plan.job_update.exc_nodes == ("old7", "csx2")
    assert end_plan.job_update.num_nodes is None
    assert end_plan.size.num_nodes == 3
    assert "excluded csx2" in (end_plan.job_update.admin_comment or "")


def test_a_job_shrinks_without_a_replacement_and_grows_back() -> None:
    self_report = facts.comment_record(cause=Category.HARDWARE_NODE)
    shrunk = plan_end(
        case(comment_record=self_report, named=("csx2",), nodes=facts.nodes(csx4="DOWN"))
    )
    assert shrunk.job_update.num_nodes == 2
    full = facts.ended(num_nodes=3, submit_time=SUBMITTED - 1)
    history = replay([full, AppliedEvent(at=SUBMITTED, num_nodes=2)])
    grown = plan_end(case(history=history, end=facts.end(nodes=("csx1", "csx3"))))
    assert grown.job_update.num_nodes == 3


def test_too_few_nodes_hold_the_job_with_the_reason() -> None:
    sick = facts.nodes(csx2="DOWN", csx3="IDLE+DRAIN", csx4="DOWN")
    end_plan = plan_end(case(nodes=sick))
    assert end_plan.size.num_nodes is None
    assert end_plan.job_update.held is True
    assert "1 usable nodes, 2 are needed" in (end_plan.job_update.admin_comment or "")


def test_a_size_that_a_person_has_set_stays() -> None:
    end_plan = plan_end(case(end=facts.end(nodes=("csx1",))))
    assert end_plan.job_update.num_nodes is None
    assert end_plan.size.num_nodes == 1


@pytest.mark.parametrize(
    ("asked", "least", "held_before", "size"),
    [
        (3, 2, 3, 3),
        (4, 2, 3, 3),  # forged: more than Slurm ever gave it
        (100_000, 2, 3, 3),
        (100_000, 100_000, 3, 3),
        (100_000, 2, 2, None),
        (100_000, 2, None, None),
    ],
)
def test_a_forged_size_grows_no_job_beyond_what_slurm_has_granted(
    asked: int, least: int, held_before: int | None, size: int | None
) -> None:
    before = facts.ended(num_nodes=held_before, submit_time=SUBMITTED - 1)
    history = replay([before, AppliedEvent(at=SUBMITTED, num_nodes=2)])
    end_plan = plan_end(
        case(
            comment_record=facts.comment_record(num_nodes=asked, min_nodes=least),
            history=history,
            job=facts.job(num_nodes=2),
            end=facts.end(nodes=("csx1", "csx3")),
        )
    )
    assert end_plan.job_update.num_nodes == size


def test_a_job_that_never_ran_gets_no_more_than_it_was_submitted_with() -> None:
    self_report = facts.comment_record(num_nodes=100_000, min_nodes=1)
    end_plan = plan_end(
        case(comment_record=self_report, job=facts.pending(num_nodes=2), end=facts.end(nodes=()))
    )
    assert end_plan.size.num_nodes == 2


@pytest.mark.parametrize(("priority", "held"), [(100, True), (None, True), (0, None)])
def test_a_hold_of_a_person_is_not_recorded_as_ours(
    priority: int | None, held: bool | None
) -> None:
    sick = facts.nodes(csx2="DOWN", csx3="DOWN", csx4="DOWN")
    end_plan = plan_end(case(nodes=sick, job=facts.job(priority=priority)))
    assert (end_plan.size.num_nodes, end_plan.job_update.held) == (None, held)


def test_what_a_person_took_off_the_list_is_not_excluded_again() -> None:
    history = replay(
        [
            ExcludeEvent(at=1, node="csx4", until=SUBMITTED * 2, evidence="e", submit_time=1),
            AppliedEvent(at=1, exc_nodes=("csx4",)),
        ]
    )
    end_plan = plan_end(case(history=history, job=facts.job(exc_nodes=())))
    assert end_plan.job_update.exc_nodes is None
    assert end_plan.exclusions == ()


def test_an_exclusion_runs_out() -> None:
    history = replay(
        [
            ExcludeEvent(at=1, node="csx4", until=SUBMITTED, evidence="e", submit_time=1),
            AppliedEvent(at=1, exc_nodes=("csx4",)),
        ]
    )
    end_plan = plan_end(case(history=history, job=facts.job(exc_nodes=("csx4", "old7"))))
    assert end_plan.job_update.exc_nodes == ("old7",)


def test_a_record_of_another_attempt_is_ignored() -> None:
    fatal = facts.comment_record(cause=Category.CONFIG, submit=SUBMITTED - 5)
    end_plan = plan_end(case(comment_record=fatal))
    assert end_plan.attribution.category is Category.UNKNOWN
    assert end_plan.decision.action is Action.REQUEUE
    assert end_plan.decision.failures == 0


def test_an_administrators_own_text_stays_in_front() -> None:
    end_plan = plan_end(case(job=facts.job(admin_comment="ticket 12 | csx-restart: failures=0/3")))
    comment = end_plan.job_update.admin_comment or ""
    assert comment.startswith("ticket 12 | csx-restart: failures=1/3")
    assert comment.count("csx-restart: ") == 1


def test_a_run_that_was_requeued_with_its_budget_used_up_is_cancelled_with_the_reason() -> None:
    end_plan = plan_end(
        case(
            history=facts.attempts(3),
            comment_record=facts.comment_record(ended=True),
            end=facts.end(exit_code=0, reason="None", restarts=1, env_restarts=0),
        )
    )
    assert end_plan.decision.action is Action.CANCEL
    assert "ends here" in (end_plan.job_update.admin_comment or "")


def reported_progress(**self_report: Any) -> Progress:
    given = case(comment_record=facts.comment_record(**self_report))
    return attempt_progress(given, policy_for(given.comment_record, SitePolicy()))


@pytest.mark.parametrize(
    ("self_report", "made", "step"),
    [
        ({"from_step": 0, "step": 100}, True, 100),
        ({"from_step": 100, "step": 100}, False, 100),
        ({"from_step": 100, "step": 50}, False, 50),  # the newest was set aside
        ({"from_step": 0, "step": 100, "ended": False}, True, 100),
        ({"from_step": 0, "step": 0, "ended": False}, None, 0),
        ({"from_step": 100, "step": None}, False, 100),
        ({"from_step": None, "step": None, "ended": False}, None, None),
        ({"submit": SUBMITTED - 1, "from_step": 0, "step": 100}, None, None),
        ({"submit": None, "attempt": None, "ended": False}, None, None),
        # An evaluation makes none, with a report or without.
        ({"mode": Mode.VALIDATE, "from_step": 0, "step": 100}, False, 100),
        ({"mode": Mode.VALIDATE_ALL, "submit": SUBMITTED - 1}, False, None),
    ],
)
def test_progress_by_the_self_report(
    self_report: dict[str, Any], made: bool | None, step: int | None
) -> None:
    end_plan = reported_progress(**self_report)
    assert (end_plan.made, end_plan.step) == (made, step)


def test_every_restart_of_an_evaluation_counts_even_without_a_report() -> None:
    no_report = facts.comment_record(mode=Mode.VALIDATE, max_restarts=1, submit=None, ended=False)
    first = plan_end(case(comment_record=no_report))
    history = replay(first.events)
    second = plan_end(
        case(comment_record=no_report, history=history, end=facts.end(submit_time=SUBMITTED + 1))
    )
    assert (first.decision.action, second.decision.action) == (Action.REQUEUE, Action.LEAVE)
    assert second.decision.rule == "budget"


def test_a_record_that_is_known_to_be_old_is_ignored() -> None:
    end_plan = plan_end(
        case(comment_record=facts.comment_record(cause=Category.CONFIG), stale=True)
    )
    assert end_plan.attribution.category is Category.UNKNOWN


@pytest.mark.parametrize(
    ("self_report", "history", "expected"),
    [
        ({"restarts": 4}, History(), 4),
        ({"restarts": None}, History(), 0),
        ({"restarts": None}, facts.attempts(3), 3),
        ({"restarts": 9, "submit": 1}, facts.attempts(3), 3),  # of another attempt
    ],
)
def test_slurms_restart_count_when_the_attempt_began(
    self_report: dict[str, Any], history: History, expected: int
) -> None:
    assert (
        known_restarts(case(comment_record=facts.comment_record(**self_report), history=history))
        == expected
    )


def test_a_begin_time_set_by_the_person_who_requeued_the_job_stays() -> None:
    requeued = facts.end(exit_code=0, reason="None", restarts=1, env_restarts=1)
    no_report = facts.comment_record(ended=False)
    tomorrow = facts.job(eligible_time=SUBMITTED + 90_000)
    chosen = plan_end(case(end=requeued, comment_record=no_report, job=tomorrow))
    assert (chosen.decision.action, chosen.job_update.start_time) == (Action.ADJUST, None)
    ours = plan_end(
        case(end=requeued, comment_record=no_report, job=facts.job(eligible_time=SUBMITTED))
    )
    assert ours.job_update.start_time == SUBMITTED + 600


def test_a_job_whose_prolog_always_fails_is_released_once() -> None:
    held = facts.end(
        exit_code=0,
        reason="launch_failed_requeued_held",
        restarts=1,
        env_restarts=1,
        nodes=("csx1",),
    )
    no_report = facts.comment_record(submit=None, ended=False, max_restarts=100)
    first = plan_end(case(end=held, comment_record=no_report))
    assert first.decision.action is Action.RELEASE
    again = replace(held, submit_time=SUBMITTED + 9, restarts=2, env_restarts=2, nodes=("csx2",))
    second = plan_end(case(end=again, comment_record=no_report, history=replay(first.events)))
    assert (second.decision.action, second.decision.rule) == (Action.LEAVE, "prolog-repeated")
    assert (first.decision.failures, second.decision.failures) == (1, 2)


def test_no_release_while_the_prolog_fails_on_many_nodes() -> None:
    held = facts.end(exit_code=0, reason="launch_failed_requeued_held", restarts=1)
    failed = tuple(
        replace(node, reason="Prolog error", flags=frozenset({"DRAIN"})) for node in facts.nodes()
    )
    no_report = facts.comment_record(submit=None, ended=False)
    one = plan_end(
        case(end=held, comment_record=no_report, nodes=(*failed[:1], *facts.nodes()[1:]))
    )
    assert one.decision.action is Action.RELEASE
    two = plan_end(
        case(end=held, comment_record=no_report, nodes=(*failed[:2], *facts.nodes()[2:]))
    )
    assert (two.decision.action, two.decision.rule) == (Action.LEAVE, "prolog-share")


@pytest.mark.parametrize(
    "status",
    [
        {"exit_code": 1},
        {"exit_code": 0, "signal": 9},
        {"exit_code": 0, "state": JobState.PREEMPTED},
    ],
)
@pytest.mark.parametrize(
    ("run_time", "rules"), [(5, ["restart"] * 2 + ["budget"]), (600, ["restart"] * 3)]
)
def test_a_job_that_fails_before_it_can_report_uses_up_its_budget(
    status: dict[str, Any], run_time: int, rules: list[str]
) -> None:
    no_report = facts.comment_record(submit=None, ended=False, max_restarts=2)
    history, found = History(), []
    for number in range(3):
        end = facts.end(submit_time=SUBMITTED + number, restarts=number, run_time=run_time)
        end = replace(end, **status)
        plan = plan_end(case(end=end, comment_record=no_report, history=history))
        history = replay(plan.events, history)
        found.append(plan.decision.rule)
    assert found == rules


# --- every end has a plan, and the plan touches nothing of others ---

NAMES = st.sampled_from([*facts.NODES, "csx9", "gpu1"])
STEPS = st.none() | st.integers(0, 300)
TIMES = st.integers(SUBMITTED - 5, SUBMITTED + 5)
RECORDS = st.builds(
    facts.comment_record,
    max_restarts=st.integers(0, 3),
    mode=st.sampled_from(Mode),
    attempt=st.none() | st.integers(0, 3),
    submit=st.none() | TIMES,
    restarts=st.none() | st.integers(0, 10**12),
    from_step=STEPS,
    step=STEPS,
    ended=st.booleans(),
    exit=st.none() | st.integers(0, 255),
    cause=st.none() | st.sampled_from(Category),
    root=st.none() | st.sampled_from(["aaaaaaaa", "bbbbbbbb"]),
    stop_on_repeat=st.none() | st.integers(0, 3),
)
REASONS = [
    "None", "NonZeroExitCode", "JobLaunchFailure", "NodeDown", "TimeLimit", "OutOfMemory",
    "DeadLine", "launch_failed_requeued_held", "JobHeldUser", "JobHeldAdmin", "BadConstraints",
    "ReservationDeleted", "AssocGrpCPUMinutesLimit", "QOSGrpNodeLimit", "BeginTime", "Priority",
]  # fmt: skip
NODE_STATES = st.sampled_from(["IDLE", "ALLOCATED", "DOWN", "IDLE+DRAIN", "MIXED+NOT_RESPONDING"])
CLUSTERS = st.fixed_dictionaries(dict.fromkeys(facts.NODES, NODE_STATES)).map(
    lambda states: facts.nodes(**states)
)
ENDS = st.builds(
    facts.end,
    submit_time=TIMES,
    exit_code=st.integers(0, 255),
    signal=st.integers(0, 64),
    reason=st.sampled_from(REASONS),
    state=st.none() | st.sampled_from(JobState),
    restarts=st.integers(0, 200),
    env_restarts=st.none() | st.integers(0, 200),
    flags=st.frozensets(st.sampled_from(JobFlag), max_size=2),
    stale_running=st.booleans(),
    preempted=st.booleans(),
    reserved=st.booleans(),
    nodes=st.sets(st.sampled_from(facts.NODES), max_size=4).map(
        lambda end_plan: tuple(sorted(end_plan))
    ),
    run_time=st.none() | st.integers(0, 4000),
    down_nodes=CLUSTERS,
)
JOBS = st.builds(
    facts.job,
    exc_nodes=st.sets(NAMES, max_size=3).map(tuple),
    eligible_time=st.none() | st.integers(SUBMITTED, SUBMITTED + 10_000),
    admin_comment=st.text(max_size=30),
    requeue=st.booleans(),
    priority=st.sampled_from([0, 100]),
)
PAST = st.lists(
    st.one_of(
        st.builds(
            facts.ended,
            st.sampled_from(Category),
            submit_time=TIMES,
            attempt=st.none() | st.integers(0, 3),
            action=st.sampled_from(Action),
            requeued=st.booleans(),
            restarts=st.integers(0, 200),
            progress=st.none() | st.booleans(),
            from_step=STEPS,
            step=STEPS,
        ),
        st.builds(
            ExcludeEvent,
            at=TIMES,
            node=st.sampled_from(facts.NODES),
            until=st.integers(SUBMITTED, SUBMITTED + 1200),
            evidence=st.just("e"),
            submit_time=TIMES,
        ),
        st.builds(
            AppliedEvent,
            at=TIMES,
            exc_nodes=st.none() | st.sets(st.sampled_from(facts.NODES)).map(tuple),
            num_nodes=st.none() | st.integers(2, 3),
            held=st.none() | st.booleans(),
        ),
    ),
    max_size=6,
).map(replay)
CASES = st.builds(
    case,
    end=ENDS,
    job=JOBS,
    comment_record=RECORDS,
    named=st.lists(NAMES, max_size=3).map(tuple),
    nodes=CLUSTERS,
    reserved=st.none() | st.sets(NAMES).map(tuple),
    history=PAST,
    stale=st.booleans(),
)


@given(given=CASES)
def test_there_is_a_plan_for_every_case(given: EndCase) -> None:
    end_plan = plan_end(given)
    assert end_plan.decision.reason
    ends = [event for event in end_plan.events if isinstance(event, EndEvent)]
    assert [end.action for end in ends] == [end_plan.decision.action]
    assert ends[0].submit_time == given.end.submit_time


@given(given=CASES)
def test_only_nodes_of_the_job_are_blamed_and_only_on_evidence(given: EndCase) -> None:
    new = [event for event in plan_end(given).events if isinstance(event, ExcludeEvent)]
    down = {node.name for node in given.end.down_nodes}
    for event in new:
        assert event.node in given.end.nodes
        assert event.node in down | set(given.named)
        assert event.evidence
        assert event.until > given.now


def own(history: History) -> set[str]:
    return set(history.applied.exc_nodes or ())


@given(given=CASES)
def test_what_people_exclude_stays_excluded(given: EndCase) -> None:
    wanted = plan_end(given).job_update.exc_nodes
    if wanted is not None:
        assert set(given.job.exc_nodes) - own(given.history) <= set(wanted)


@given(given=CASES)
def test_never_more_nodes_than_asked_for_nor_fewer_than_allowed(given: EndCase) -> None:
    end_plan = plan_end(given)
    size = end_plan.job_update.num_nodes
    assert size is None or given.comment_record.min_nodes <= size <= given.comment_record.num_nodes


@given(given=CASES)
def test_the_record_of_another_attempt_changes_nothing_but_the_policy(given: EndCase) -> None:
    def judged(**values: Any) -> EndPlan:
        other = {"submit": given.end.submit_time + 1} | values
        return plan_end(
            facts.case(**vars(given) | {"comment_record": record_of_another(**other), "named": ()})
        )

    def record_of_another(**values: Any) -> CommentRecord:
        return facts.comment_record(**vars(given.comment_record) | values)

    fatal_report = judged(cause=Category.CONFIG, ended=True, exit=0, step=10**9, root="cccccccc")
    no_report = judged(attempt=None, ended=False, exit=None, cause=None, step=None, from_step=None)
    assert fatal_report.decision == no_report.decision
    assert fatal_report.events == no_report.events


@pytest.mark.parametrize("limit", [0, 1, 2, 3, 7])
@pytest.mark.parametrize(
    "category", [Category.UNKNOWN, Category.NETWORK_FABRIC, Category.TIMEOUT, Category.HANG]
)
def test_a_run_without_progress_is_restarted_exactly_so_many_times(
    limit: int, category: Category
) -> None:
    history: History = History()
    for attempt in range(limit + 2):
        events = _failed(history, attempt, limit, category, step=0).events
        history = replay(events, history)
        if not history.ends[-1].action.restarts:
            break
    assert [end.action for end in history.ends] == [Action.REQUEUE] * limit + [Action.LEAVE]
    assert [end.failures for end in history.ends] == list(range(1, limit + 2))


@given(
    limit=st.integers(0, 3),
    progress=st.lists(st.booleans(), max_size=20),
)
def test_a_run_ends_only_after_more_failures_in_a_row_than_allowed(
    limit: int, progress: list[bool]
) -> None:
    history, step, failures = History(), 0, 0
    for attempt, made in enumerate(progress):
        step += 10 * made
        end_plan = _failed(history, attempt, limit, Category.UNKNOWN, step=step, made=made)
        history = replay(end_plan.events, history)
        failures = 0 if made else failures + 1
        assert end_plan.decision.action is (Action.LEAVE if failures > limit else Action.REQUEUE)
        if failures > limit:
            return


def _failed(
    history: History,
    attempt: int,
    limit: int,
    category: Category,
    *,
    step: int,
    made: bool = False,
) -> EndPlan:
    submit = SUBMITTED + attempt * 1000
    self_report = facts.comment_record(
        max_restarts=limit,
        attempt=attempt,
        submit=submit,
        restarts=attempt,
        from_step=step - 10 if made else step,
        step=step,
        cause=category,
    )
    end = facts.end(submit_time=submit, restarts=attempt, env_restarts=attempt, run_time=3550)
    return plan_end(case(comment_record=self_report, end=end, history=history, now=submit + 900))


def test_a_lost_node_is_no_short_attempt_although_slurm_shows_no_run_time() -> None:
    lost = facts.end(exit_code=0, reason="None", restarts=1, env_restarts=0, run_time=0)
    end_plan = plan_end(
        case(comment_record=facts.comment_record(ended=False, exit=None, cause=None), end=lost)
    )
    assert (end_plan.decision.action, end_plan.decision.delay) == (Action.ADJUST, 0)
