"""What is done about an end: the policy's table, the counters, and always an answer."""

from dataclasses import replace
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.allocation import Allocation
from slurm_restart.core.category import Category
from slurm_restart.core.decision import Decision, decide, waits_for_person
from slurm_restart.core.history import History, replay
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.job_comment import Mode
from slurm_restart.core.journal_events import Action, EndEvent
from slurm_restart.core.prolog_failures import PrologFailures
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.situation import Progress
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED, attribution, situation

# The table of the design, by hand.
NEVER = {
    Category.COMPLETED,
    Category.CANCELLED,
    Category.DEADLINE,
    Category.USAGE_LIMIT,
    Category.RESERVATION_ENDED,
    Category.HELD,
    Category.HELD_BY_SLURM,
    Category.UNLISTED,
    Category.COMPILE,
    Category.CONFIG,
    Category.CODE,
    Category.AUTH,
    Category.STORAGE_FULL,
    Category.DEVICE_OOM,
}
UNCOUNTED = {
    Category.PREEMPTION,
    Category.REQUEUED,
    Category.HEALTH_CHECK,
    Category.NODE_DRAINED,
}


@pytest.mark.parametrize("category", Category)
def test_the_first_end_of_each_category(category: Category) -> None:
    decision = decide(situation(category))
    expected = Action.LEAVE if category in NEVER else Action.REQUEUE
    if category is Category.PROLOG_FAILED:
        expected = Action.RELEASE
    assert decision.action is expected
    assert decision.failures == int(category not in NEVER | UNCOUNTED)


@pytest.mark.parametrize("limit", [0, 1, 3, 7])
def test_exactly_so_many_restarts_without_progress(limit: int) -> None:
    policy = facts.policy(max_restarts=limit)
    restarts = 0
    while (
        decide(situation(Category.UNKNOWN, facts.attempts(restarts), policy=policy)).action
        is Action.REQUEUE
    ):
        restarts += 1
    assert restarts == limit


def test_progress_sets_the_count_back_and_allows_a_restart_even_for_0() -> None:
    policy = facts.policy(max_restarts=0)
    decision = decide(situation(Category.UNKNOWN, facts.attempts(5), made=True, policy=policy))
    assert (decision.action, decision.failures) == (Action.REQUEUE, 0)


def test_unknown_progress_counts_once_the_next_start_shows_it() -> None:
    unknown = facts.attempts(3, progress=None)
    here = Progress(made=None, attempt=3, from_step=0, step=0)
    not_advanced = decide(situation(Category.UNKNOWN, unknown, progress=here))
    assert not_advanced.failures == 3
    nowhere = Progress(made=None, attempt=3)
    assert decide(situation(Category.UNKNOWN, unknown, progress=nowhere)).failures == 2
    beyond = Progress(made=None, attempt=3, from_step=100, step=100)
    assert decide(situation(Category.UNKNOWN, unknown, progress=beyond)).failures == 0


@pytest.mark.parametrize(
    ("limit", "before", "made", "last"),
    [
        (0, 0, True, True),  # the next failure without progress is the one too many
        (1, 5, True, False),
        (1, 0, False, True),
        (2, 0, False, False),
        (0, 0, None, False),  # it may turn out to have been progress
    ],
)
def test_a_restart_is_marked_as_the_last_if_the_next_failure_is_final(
    limit: int, before: int, made: bool | None, last: bool
) -> None:
    policy = facts.policy(max_restarts=limit)
    decision = decide(situation(Category.UNKNOWN, facts.attempts(before), made=made, policy=policy))
    assert decision.action is Action.REQUEUE
    assert decision.last_chance is last


def test_the_last_restart_before_the_cap_is_marked_too() -> None:
    policy = facts.policy(SitePolicy(max_total_restarts=3))
    lasts = [
        decide(situation(Category.UNKNOWN, made=True, policy=policy, restarts=n)).last_chance
        for n in range(3)
    ]
    assert lasts == [False, False, True]


def test_the_reason_of_the_last_restart_names_it() -> None:
    policy = facts.policy(max_restarts=2)
    first = decide(situation(Category.UNKNOWN, policy=policy))
    second = decide(situation(Category.UNKNOWN, facts.attempts(1), policy=policy))
    assert (first.last_chance, second.last_chance) == (False, True)


@pytest.mark.parametrize("category", sorted(UNCOUNTED, key=lambda one: one.value))
def test_preemption_and_the_like_restart_whatever_the_counters(category: Category) -> None:
    policy = facts.policy(max_restarts=0)
    used_up = facts.attempts(200, category)
    decision = decide(situation(category, used_up, policy=policy, restarts=200))
    assert decision.action.restarts
    assert decision.delay == 0


@pytest.mark.parametrize(
    ("category", "requeued", "action"),
    [
        (Category.PREEMPTION, False, Action.LEAVE),
        (Category.PREEMPTION, True, Action.CANCEL),
        (Category.REQUEUED, True, Action.CANCEL),
        (Category.HEALTH_CHECK, False, Action.LEAVE),
        (Category.NODE_DRAINED, False, Action.LEAVE),
    ],
)
def test_restarts_that_never_count_have_a_cap_of_their_own(
    category: Category, requeued: bool, action: Action
) -> None:
    policy = facts.policy(SitePolicy(max_uncounted_restarts=5))
    found = attribution(category, requeued=requeued)
    below = decide(
        situation(category, facts.attempts(4, category), attribution=found, policy=policy)
    )
    assert below.action.restarts
    at = decide(situation(category, facts.attempts(5, category), attribution=found, policy=policy))
    assert (at.action, at.rule) == (action, "uncounted-cap")
    assert at.reason == "5 restarts that never count, the site allows 5"


@pytest.mark.parametrize(("restarts", "rule"), [(1000, "restart"), (1001, "uncounted-cap")])
def test_that_cap_holds_by_slurms_own_count_too(restarts: int, rule: str) -> None:
    assert SitePolicy().max_uncounted_restarts == 1000
    found = attribution(Category.REQUEUED, requeued=True)
    assert decide(situation(Category.REQUEUED, attribution=found, restarts=restarts)).rule == rule


def test_counted_restarts_do_not_use_up_the_cap_of_the_uncounted_ones() -> None:
    policy = facts.policy(SitePolicy(max_uncounted_restarts=3))
    mixed = facts.attempts(5, Category.TIMEOUT, progress=True)
    assert decide(situation(Category.PREEMPTION, mixed, policy=policy, restarts=5)).action.restarts
    assert decide(situation(Category.UNKNOWN, mixed, policy=policy, made=True)).action.restarts


def test_a_finished_run_is_not_started_once_more_without_end() -> None:
    policy = facts.policy(SitePolicy(max_uncounted_restarts=2))
    found = attribution(Category.COMPLETED, requeued=True)
    again = facts.attempts(1, Category.COMPLETED)
    once_more = decide(situation(Category.COMPLETED, again, attribution=found, policy=policy))
    assert once_more.action is Action.ADJUST
    often = facts.attempts(2, Category.COMPLETED)
    last = decide(situation(Category.COMPLETED, often, attribution=found, policy=policy))
    assert last.action is Action.CANCEL


# --- failed prologs ------------------------------------------------------------------------------

HELD_PROLOG = attribution(Category.PROLOG_FAILED, requeued=True)


def test_a_failed_prolog_counts() -> None:
    unknown = Progress(made=None)  # no supervisor could report anything
    first = decide(
        situation(Category.PROLOG_FAILED, attribution=HELD_PROLOG, progress=unknown, restarts=1)
    )
    assert (first.action, first.failures, first.total) == (Action.RELEASE, 1, 1)
    assert first.progress is False
    none_left = facts.policy(max_restarts=0)
    final = decide(
        situation(
            Category.PROLOG_FAILED, attribution=HELD_PROLOG, progress=unknown, policy=none_left
        )
    )
    assert (final.action, final.rule) == (Action.LEAVE, "budget")
    assert "max_num_restarts is 0: the job stays held" in final.reason
    capped = facts.policy(SitePolicy(max_total_restarts=2))
    many = facts.attempts(2, Category.TIMEOUT, progress=True)
    capped_end = situation(
        Category.PROLOG_FAILED, many, attribution=HELD_PROLOG, progress=unknown, policy=capped
    )
    assert (decide(capped_end).action, decide(capped_end).rule) == (Action.LEAVE, "total-cap")


@pytest.mark.parametrize("limit", [1, 3, 100])
def test_a_second_failed_prolog_in_a_row_is_left_to_a_person(limit: int) -> None:
    policy = facts.policy(max_restarts=limit)
    before = facts.attempts(1, Category.PROLOG_FAILED, action=Action.RELEASE)
    decision = decide(
        situation(Category.PROLOG_FAILED, before, attribution=HELD_PROLOG, policy=policy)
    )
    assert (decision.action, decision.rule) == (Action.LEAVE, "prolog-repeated")
    assert "a node's prolog failed twice in a row: the job stays held" in decision.reason
    assert waits_for_person(Category.PROLOG_FAILED, decision.action)


def test_an_attempt_of_another_kind_between_allows_a_release_again() -> None:
    policy = facts.policy(max_restarts=100)
    ends = (
        facts.ended(Category.PROLOG_FAILED, attempt=0, action=Action.RELEASE),
        facts.ended(Category.PREEMPTION, attempt=1),
    )
    decision = decide(
        situation(
            Category.PROLOG_FAILED, History(ends=ends), attribution=HELD_PROLOG, policy=policy
        )
    )
    assert decision.action is Action.RELEASE
    assert decide(situation(Category.UNKNOWN, History(ends=ends[:1]))).action is Action.REQUEUE


@pytest.mark.parametrize(
    ("failed", "nodes", "share", "action"),
    [
        (1, 6, 0.1, Action.RELEASE),  # one node is always allowed
        (2, 6, 0.1, Action.LEAVE),
        (2, 20, 0.1, Action.RELEASE),
        (3, 20, 0.1, Action.LEAVE),
        (29, 100, 0.29, Action.RELEASE),
        (1, 6, 0, Action.RELEASE),
        (2, 6, 0, Action.LEAVE),
        (6, 6, 1, Action.RELEASE),
        (0, 0, 0.1, Action.RELEASE),
    ],
)
def test_a_release_never_drains_more_than_a_share_of_the_partition(
    failed: int, nodes: int, share: float, action: Action
) -> None:
    policy = facts.policy(SitePolicy(max_prolog_failed_share=share))
    decision = decide(
        situation(
            Category.PROLOG_FAILED,
            attribution=HELD_PROLOG,
            policy=policy,
            prolog_failures=(PrologFailures(nodes=99), PrologFailures(failed=failed, nodes=nodes)),
        )
    )
    assert decision.action is action
    if action is Action.LEAVE:
        assert decision.rule == "prolog-share"
        assert f"failed on {failed} of {nodes} nodes" in decision.reason


def test_failed_prologs_of_other_jobs_stop_no_restart_of_another_kind() -> None:
    everywhere = (PrologFailures(failed=6, nodes=6),)
    assert decide(situation(Category.UNKNOWN, prolog_failures=everywhere)).action.restarts


def test_a_job_that_slurm_does_not_hold_for_a_failed_prolog_is_cancelled_beyond_the_share() -> None:
    """It would try node after node: nohold_on_prolog_fail."""
    drained = replace(
        attribution(Category.HARDWARE_NODE, requeued=True), rule="slurm.prolog_drained"
    )
    for failed, action in ((1, Action.ADJUST), (2, Action.CANCEL)):
        failures = (PrologFailures(failed=failed, nodes=6),)
        end = situation(
            Category.HARDWARE_NODE, attribution=drained, prolog_failures=failures, restarts=1
        )
        assert decide(end).action is action


@pytest.mark.parametrize(
    ("category", "action", "waits"),
    [
        (Category.HELD, Action.LEAVE, True),
        (Category.HELD_BY_SLURM, Action.LEAVE, True),
        (Category.RESERVATION_ENDED, Action.LEAVE, True),
        (Category.PROLOG_FAILED, Action.LEAVE, True),
        (Category.PROLOG_FAILED, Action.RELEASE, False),
        (Category.PROLOG_FAILED, Action.CANCEL, False),
        (Category.CONFIG, Action.LEAVE, False),
        (Category.COMPLETED, Action.LEAVE, False),
    ],
)
def test_what_waits_for_a_person(category: Category, action: Action, waits: bool) -> None:
    assert waits_for_person(category, action) is waits


# --- a failure without a report ------------------------------------------------------------------


@pytest.mark.parametrize(
    ("made", "failed", "run_time", "expected"),
    [
        (None, True, 59, False),
        (None, True, 60, None),
        (None, True, None, None),
        (None, False, 5, None),
        (True, True, 5, True),
        (False, False, 3600, False),
    ],
)
def test_a_short_failure_without_a_report_has_made_no_progress(
    made: bool | None, failed: bool, run_time: int | None, expected: bool | None
) -> None:
    given = situation(
        Category.UNKNOWN, progress=Progress(made=made), failed=failed, run_time=run_time
    )
    decision = decide(given)
    assert decision.progress is expected
    assert decision.failures == int(expected is False)


def test_a_node_that_did_not_boot_has_made_no_progress() -> None:
    booting = replace(attribution(Category.HARDWARE_NODE), rule="state.boot_fail")
    given = situation(
        Category.HARDWARE_NODE, attribution=booting, progress=Progress(made=None), run_time=None
    )
    assert decide(given).failures == 1


def test_the_cap_on_all_restarts_holds_by_slurms_own_count() -> None:
    policy = facts.policy(SitePolicy(max_total_restarts=10))
    capped = decide(situation(Category.UNKNOWN, made=True, policy=policy, restarts=10))
    assert (capped.action, capped.rule) == (Action.LEAVE, "total-cap")
    assert (
        decide(situation(Category.UNKNOWN, made=True, policy=policy, restarts=9)).action
        is Action.REQUEUE
    )


def test_host_memory_is_tried_once_more_at_the_same_step() -> None:
    once = facts.attempts(1, Category.OOM_HOST)
    assert decide(situation(Category.OOM_HOST)).action is Action.REQUEUE
    assert decide(situation(Category.OOM_HOST, once)).rule == "oom-repeated"
    assert decide(situation(Category.OOM_HOST, once, made=True)).action is Action.REQUEUE


def test_host_memory_used_up_at_an_unknown_step_is_not_the_same_step() -> None:
    once = facts.attempts(1, Category.OOM_HOST)
    unknown = Progress(made=None)
    assert decide(situation(Category.OOM_HOST, once, progress=unknown)).action is Action.REQUEUE


def test_host_memory_used_up_at_another_step_is_tried_again() -> None:
    elsewhere = facts.attempts(1, Category.OOM_HOST, step=50)
    assert decide(situation(Category.OOM_HOST, elsewhere)).action is Action.REQUEUE


@pytest.mark.parametrize(("limit", "restarts"), [(1, 0), (2, 1), (3, 2), (5, 4)])
def test_the_same_line_ends_the_run_at_exactly_the_nth_time(limit: int, restarts: int) -> None:
    same = attribution(Category.NUMERIC_NAN, root_hash="aaaaaaaa")
    policy = facts.policy(stop_on_repeat=limit, max_restarts=100)
    count = 0
    while (
        decide(
            situation(
                Category.NUMERIC_NAN,
                facts.attempts(count, Category.NUMERIC_NAN, root="aaaaaaaa"),
                attribution=same,
                policy=policy,
            )
        ).action
        is Action.REQUEUE
    ):
        count += 1
    assert count == restarts


def test_a_line_without_a_hash_and_a_line_of_another_category_do_not_repeat() -> None:
    unknown_line = facts.attempts(4, Category.NUMERIC_NAN)
    policy = facts.policy(max_restarts=100)
    again = decide(situation(Category.NUMERIC_NAN, unknown_line, policy=policy))
    assert again.action is Action.REQUEUE
    same = attribution(Category.UNKNOWN, root_hash="aaaaaaaa")
    history = facts.attempts(4, Category.UNKNOWN, root="aaaaaaaa")
    decision = decide(situation(Category.UNKNOWN, history, attribution=same, policy=policy))
    assert decision.action is Action.REQUEUE


def test_an_end_after_its_last_checkpoint_repeats_from_that_checkpoint() -> None:
    # The first attempt wrote a checkpoint and came to a bad record; the second started from there.
    category = Category.DATA_CORRUPT
    same = attribution(category, root_hash="aaaaaaaa")
    first = facts.attempts(1, category, root="aaaaaaaa", step=100, progress=True)
    at_100 = Progress(made=False, attempt=1, from_step=100, step=100)
    assert decide(situation(category, first, attribution=same, progress=at_100)).rule == "repeated"
    for progress in (
        Progress(made=True, attempt=1, from_step=100, step=200),
        Progress(made=False, attempt=1, from_step=50, step=50),
        Progress(made=None),
    ):
        given = situation(category, first, attribution=same, progress=progress)
        assert decide(given).action is Action.REQUEUE
    earlier = facts.attempts(1, category, root="bbbbbbbb", step=100, progress=True)
    other = situation(category, earlier, attribution=same, progress=at_100)
    assert decide(other).action is Action.REQUEUE


@pytest.mark.parametrize("category", [Category.DATA_CORRUPT, Category.NUMERIC_NAN])
def test_the_same_line_at_the_same_step_stops(category: Category) -> None:
    same = attribution(category, root_hash="aaaaaaaa")
    other = attribution(category, root_hash="bbbbbbbb")
    history = facts.attempts(1, category, root="aaaaaaaa")
    assert decide(situation(category, history, attribution=same)).rule == "repeated"
    assert decide(situation(category, history, attribution=other)).action is Action.REQUEUE
    off = facts.policy(stop_on_repeat=0)
    assert (
        decide(situation(category, history, attribution=same, policy=off)).action is Action.REQUEUE
    )


def test_a_stop_that_was_put_off_is_one_counted_restart() -> None:
    off = attribution(Category.UNKNOWN, root_hash="aaaaaaaa", put_off=True)
    other = attribution(Category.UNKNOWN, root_hash="bbbbbbbb", put_off=True)
    first = decide(situation(Category.UNKNOWN, attribution=off))
    assert (first.action, first.total) == (Action.REQUEUE, 1)
    again = facts.attempts(1, Category.UNKNOWN, root="aaaaaaaa")
    assert decide(situation(Category.UNKNOWN, again, attribution=off)).rule == "repeated"
    assert decide(situation(Category.UNKNOWN, again, attribution=other)).action is Action.REQUEUE
    elsewhere = facts.attempts(1, Category.UNKNOWN, root="aaaaaaaa", step=50)
    assert decide(situation(Category.UNKNOWN, elsewhere, attribution=off)).action is Action.REQUEUE


def test_an_evaluation_makes_no_progress() -> None:
    policy = facts.policy(max_restarts=1, mode=Mode.VALIDATE)
    decision = decide(situation(Category.UNKNOWN, facts.attempts(1), made=True, policy=policy))
    assert decision.rule == "budget"


def test_a_job_that_slurm_has_requeued_is_cancelled_or_only_adjusted() -> None:
    spent = situation(
        Category.HARDWARE_NODE,
        facts.attempts(3),
        attribution=attribution(Category.HARDWARE_NODE, requeued=True),
    )
    fresh = situation(
        Category.HARDWARE_NODE, attribution=attribution(Category.HARDWARE_NODE, requeued=True)
    )
    assert (decide(spent).action, decide(fresh).action) == (Action.CANCEL, Action.ADJUST)


@pytest.mark.parametrize(
    ("category", "requeued", "lost", "action"),
    [
        # What waits for a person stays where it is; what is not to run again is taken back.
        (Category.HELD, True, False, Action.LEAVE),
        (Category.HELD_BY_SLURM, True, False, Action.LEAVE),
        (Category.RESERVATION_ENDED, True, False, Action.LEAVE),
        (Category.CANCELLED, True, False, Action.CANCEL),
        (Category.CONFIG, True, False, Action.CANCEL),
        (Category.UNLISTED, True, False, Action.CANCEL),
        (Category.COMPLETED, True, False, Action.ADJUST),
        (Category.COMPLETED, False, True, Action.REQUEUE),
        (Category.COMPLETED, False, False, Action.LEAVE),
        (Category.PREEMPTION, True, False, Action.ADJUST),
        (Category.REQUEUED, True, False, Action.ADJUST),
        (Category.PREEMPTION, False, False, Action.REQUEUE),
        (Category.PROLOG_FAILED, True, False, Action.RELEASE),
        (Category.TIMEOUT, False, False, Action.REQUEUE),
    ],
)
def test_the_action_depends_on_what_slurm_has_done_already(
    category: Category, requeued: bool, lost: bool, action: Action
) -> None:
    found = attribution(category, requeued=requeued, lost=lost)
    assert decide(situation(category, attribution=found)).action is action


def test_a_job_whose_requeue_flag_is_off_stays_ended() -> None:
    decision = decide(situation(Category.UNKNOWN, requeueable=False))
    assert (decision.action, decision.rule) == (Action.LEAVE, "requeue-disabled")
    # Slurm refuses to requeue it for the sake of its dependents.
    found = attribution(Category.COMPLETED, lost=True)
    lost_end = situation(Category.COMPLETED, attribution=found, requeueable=False)
    assert decide(lost_end).action is Action.CANCEL


@pytest.mark.parametrize(
    ("category", "action"),
    [
        (Category.COMPLETED, Action.REQUEUE),
        (Category.CONFIG, Action.CANCEL),
        (Category.UNKNOWN, Action.REQUEUE),
    ],
)
def test_a_job_that_lost_its_end(category: Category, action: Action) -> None:
    found = attribution(category, lost=True)
    assert decide(situation(category, attribution=found)).action is action


@pytest.mark.parametrize(("restarts", "delay"), [(0, 0), (1, 30), (2, 120), (3, 300), (9, 300)])
def test_each_further_restart_without_progress_waits_longer(restarts: int, delay: int) -> None:
    policy = facts.policy(max_restarts=100)
    history = facts.attempts(restarts)
    assert decide(situation(Category.UNKNOWN, history, policy=policy)).delay == delay


def test_a_short_attempt_waits() -> None:
    assert decide(situation(Category.UNKNOWN, run_time=5)).delay == 30
    assert decide(situation(Category.UNKNOWN, run_time=5, made=True)).delay == 0


@given(
    category=st.sampled_from(Category),
    before=st.lists(st.sampled_from(Category), max_size=8),
    made=st.sampled_from([True, False, None]),
    step=st.none() | st.integers(0, 10**9),
    restarts=st.integers(0, 10**9),
    limit=st.integers(0, 5),
    requeued=st.booleans(),
    lost=st.booleans(),
    failed=st.booleans(),
    run_time=st.none() | st.integers(0, 120),
    drained=st.integers(0, 4),
)
def test_there_is_a_decision_for_every_end(
    category: Category,
    before: list[Category],
    made: bool | None,
    step: int | None,
    restarts: int,
    limit: int,
    requeued: bool,
    lost: bool,
    failed: bool,
    run_time: int | None,
    drained: int,
) -> None:
    history = History(
        ends=tuple(facts.ended(one, attempt=n, step=step) for n, one in enumerate(before))
    )
    given = situation(
        category,
        history,
        attribution=attribution(category, requeued=requeued, lost=lost),
        progress=Progress(made=made, from_step=step, step=step),
        policy=facts.policy(max_restarts=limit),
        restarts=restarts,
        failed=failed,
        run_time=run_time,
        prolog_failures=(PrologFailures(failed=drained, nodes=20),),
    )
    decision = decide(given)
    assert isinstance(decision, Decision)
    assert decision.reason
    assert decision.rule
    if restarts - requeued >= SitePolicy().max_uncounted_restarts + len(before):
        assert not decision.action.restarts
    if not category.counts and category in NEVER and not (requeued or lost):
        assert decision.action is Action.LEAVE


# --- back to an earlier checkpoint ---------------------------------------------------------------


def suspected(category: Category, history: History | None = None, **changes: object) -> Decision:
    """An attempt failed from a checkpoint, and there is an earlier one."""
    progress = Progress(made=False, attempt=3, from_step=70, step=70)
    values = {"suspects_checkpoint": True, "progress": progress} | changes
    return decide(situation(category, history, **values))


@pytest.mark.parametrize("category", [Category.CONFIG, Category.CODE, Category.UNKNOWN])
def test_an_earlier_checkpoint_is_tried_twice_and_counted(category: Category) -> None:
    policy = facts.policy(max_restarts=3)
    first = suspected(category, facts.attempts(1), policy=policy)
    assert (first.action, first.rule, first.fall_back) == (Action.REQUEUE, "fall-back", True)
    assert (first.failures, first.total) == (2, 2)
    assert first.reason.endswith(
        "restart 2/3 without progress, an earlier checkpoint before step 70 is next"
    )
    second = suspected(category, facts.attempts(1, category, fall_back=True), policy=policy)
    assert (second.rule, second.fall_back, second.failures) == ("fall-back", True, 2)
    third = suspected(category, facts.attempts(2, category, fall_back=True), policy=policy)
    assert third.fall_back is False
    restarts = category is Category.UNKNOWN
    assert third.action is (Action.REQUEUE if restarts else Action.LEAVE)
    assert third.failures == (3 if restarts else 2)


@pytest.mark.parametrize("category", [Category.CONFIG, Category.CODE, Category.UNKNOWN])
@pytest.mark.parametrize("limit", [0, 3])
def test_an_earlier_checkpoint_is_no_restart_more_than_allowed(
    category: Category, limit: int
) -> None:
    last = suspected(category, facts.attempts(limit), policy=facts.policy(max_restarts=limit))
    assert (last.action, last.rule, last.fall_back) == (Action.LEAVE, "budget", False)


def test_after_progress_it_is_tried_again() -> None:
    history = replay(
        [
            facts.ended(attempt=0, fall_back=True),
            facts.ended(attempt=1, progress=True, submit_time=facts.SUBMITTED + 1),
        ]
    )
    assert suspected(Category.CODE, history).fall_back
    assert not suspected(Category.CODE, facts.attempts(2, fall_back=True)).fall_back
    in_place = InPlaceEnds(restarts=1, failures=1, fall_backs=1)
    assert suspected(Category.CODE, in_place=in_place).fall_back
    both = suspected(Category.CODE, facts.attempts(1, fall_back=True), in_place=in_place)
    assert not both.fall_back
    # Progress within the allocation came after all that the history has.
    since = replace(in_place, progress=True)
    assert suspected(Category.CODE, facts.attempts(2, fall_back=True), in_place=since).fall_back


@pytest.mark.parametrize(
    "changes",
    [
        {"suspects_checkpoint": False},
        {"progress": Progress(made=None)},
        {"requeueable": False},
    ],
)
def test_without_evidence_a_stop_stays_a_stop(changes: dict[str, object]) -> None:
    decision = suspected(Category.CODE, **changes)
    assert (decision.action, decision.fall_back) == (Action.LEAVE, False)


def test_nothing_escapes_the_cap_on_all_restarts() -> None:
    policy = facts.policy(SitePolicy(max_total_restarts=5))
    below = suspected(Category.CODE, policy=policy, restarts=4)
    assert (below.action, below.last_chance) == (Action.REQUEUE, True)
    stopped = suspected(Category.CODE, policy=policy, restarts=5)
    assert (stopped.action, stopped.rule) == (Action.LEAVE, "total-cap")
    # Such a restart is one of them, whatever the category.
    history = facts.attempts(1, Category.CODE, fall_back=True)
    assert (history.total_restarts(), history.uncounted_restarts()) == (1, 0)


@pytest.mark.parametrize("category", [Category.OOM_HOST, Category.NUMERIC_NAN])
def test_a_repeated_cause_ends_the_run_only_after_it_went_back(category: Category) -> None:
    found = attribution(category, root_hash="0" * 8)
    ends = facts.attempts(2, category, root="0" * 8, step=70, from_step=70)
    here = Progress(made=False, attempt=3, from_step=70, step=70)
    stopped = decide(situation(category, ends, attribution=found, progress=here))
    assert stopped.action is Action.LEAVE
    assert suspected(category, ends, attribution=found).fall_back


@pytest.mark.parametrize(
    ("before", "made", "failures"),
    [
        ([], False, 1),
        ([("storage.io", False)], False, 2),
        ([("storage.io", False), ("dependency.service", False)], False, 3),
        ([("storage.io", False), ("unknown", False)], False, 1),
        ([("storage.io", False), ("storage.io", True)], False, 2),
        ([("storage.io", False)], True, 1),
    ],
)
def test_failures_outside_in_a_row_lengthen_the_wait(
    before: list[tuple[str, bool]], made: bool, failures: int
) -> None:
    ends = [
        facts.ended(Category(name), restarts=number, submit_time=number, progress=progress)
        for number, (name, progress) in enumerate(before)
    ]
    history = History(ends=tuple(ends))
    found = situation(Category.STORAGE_IO, history, made=made)
    assert found.outside_failures == failures
    assert decide(found).delay == found.policy.outside_delay(failures)
    assert situation(Category.UNKNOWN, history).outside_failures == 0


def test_a_site_may_let_failures_outside_wait_like_others() -> None:
    policy = facts.policy(SitePolicy(outside_backoff=0, backoff=(7,), short_wait=0))
    ends = facts.attempts(1, Category.STORAGE_IO)
    assert decide(situation(Category.STORAGE_IO, ends, policy=policy)).delay == 7


@pytest.mark.parametrize(
    ("category", "requeued", "action", "rule"),
    [
        (Category.UNKNOWN, False, Action.LEAVE, "stopped"),
        (Category.HARDWARE_NODE, True, Action.CANCEL, "stopped"),
        (Category.PREEMPTION, True, Action.CANCEL, "stopped"),
        (Category.PROLOG_FAILED, True, Action.CANCEL, "stopped"),
        (Category.CONFIG, False, Action.LEAVE, "stopped"),
        # A hold of a person is the later decision: the job stays held.
        (Category.HELD, True, Action.LEAVE, "stopped"),
        (Category.COMPLETED, False, Action.LEAVE, "not-recoverable"),
    ],
)
def test_an_end_of_a_run_that_a_person_stops_is_its_last(
    category: Category, requeued: bool, action: Action, rule: str
) -> None:
    found = attribution(category, requeued=requeued)
    decision = decide(situation(category, attribution=found, stopped="a person wants it"))
    assert (decision.action, decision.rule) == (action, rule)
    assert not decision.action.restarts


def test_the_counters_of_the_job_before_go_on() -> None:
    policy = facts.policy(max_restarts=3, prior_failures=3, prior_total=4)
    decision = decide(situation(Category.UNKNOWN, policy=policy))
    assert (decision.action, decision.rule, decision.failures) == (Action.LEAVE, "budget", 4)
    # With progress the count is zero, but the restarts in all are not.
    decision = decide(situation(Category.UNKNOWN, policy=policy, made=True))
    assert (decision.action, decision.failures, decision.total) == (Action.REQUEUE, 0, 5)
    capped = facts.policy(SitePolicy(max_total_restarts=4), prior_total=4)
    assert decide(situation(Category.UNKNOWN, policy=capped)).rule == "total-cap"


NAN = attribution(Category.NUMERIC_NAN, root_hash="aaaaaaaa")


def nan_again(
    *before: tuple[str, ...], nodes: tuple[str, ...], other_nodes: bool = False, **policy: Any
) -> Decision:
    """The decision about NaN on these nodes, after the same on those; at least two of four."""
    events = [
        facts.ended(
            Category.NUMERIC_NAN, attempt=n, submit_time=SUBMITTED + n, root="aaaaaaaa", nodes=on
        )
        for n, on in enumerate(before)
    ]
    return decide(
        situation(
            Category.NUMERIC_NAN,
            replay(events),
            attribution=NAN,
            policy=facts.policy(max_restarts=9, **{"num_nodes": 4, "min_nodes": 2} | policy),
            nodes=nodes,
            other_nodes=other_nodes,
        )
    )


ALL, HALF, OTHER = ("a", "b", "c", "d"), ("a", "b"), ("c", "d")


def test_nan_at_the_same_step_ends_the_run_once_it_comes_on_different_nodes() -> None:
    assert nan_again(ALL, nodes=ALL).action is Action.REQUEUE
    assert nan_again(ALL, ALL, nodes=("a", "b", "c")).action is Action.REQUEUE
    last = nan_again(ALL, ALL, ("a", "b", "c"), nodes=("d", "e"))
    assert last.rule == "repeated"
    assert last.reason == "the same root cause at step 0 4 times, on different nodes"


@pytest.mark.parametrize(
    ("changes", "stops"),
    [
        ({}, False),
        ({"min_nodes": 4}, True),
        ({"min_nodes": 4, "other_nodes": True}, False),
        ({"node_search": False}, True),
        ({"fixed_size": True}, True),
    ],
)
def test_nan_that_repeats_ends_the_run_at_once_where_no_node_can_be_left_out(
    changes: dict[str, Any], stops: bool
) -> None:
    decision = nan_again(ALL, nodes=ALL, **changes)
    assert (decision.rule == "repeated") is stops
    if stops:
        assert decision.reason == "the same root cause at step 0 2 times"


def test_nodes_that_are_not_known_are_no_reason_to_go_on() -> None:
    assert nan_again((), nodes=ALL).rule == "repeated"
    assert nan_again(ALL, nodes=()).rule == "repeated"


def test_nan_that_repeats_leaves_the_allocation_for_other_nodes() -> None:
    """Whether others wait or not: on the same nodes the run would end."""
    before = facts.ended(
        Category.NUMERIC_NAN, root="aaaaaaaa", nodes=ALL, submit_time=SUBMITTED - 1
    )
    held = Allocation(
        restarts=0, names=ALL, min_nodes=2, job=facts.job(nodes=ALL), others_wait=True
    )

    def judge(allocation: Allocation, *ends: EndEvent) -> Decision:
        return decide(
            situation(
                Category.NUMERIC_NAN,
                replay(ends),
                attribution=NAN,
                policy=facts.policy(num_nodes=4, min_nodes=2),
                nodes=ALL,
                allocation=allocation,
            )
        )

    again = judge(held, before)
    assert again.action is Action.REQUEUE
    assert again.not_in_place is not None
    assert "a faulty node is searched for" in again.not_in_place
    assert judge(replace(held, requeues=False), before).rule == "repeated"
