"""A mistake that ends a restart of a run which has run with the same input is doubted once."""

from dataclasses import replace
from typing import Any

import pytest

from slurm_restart.core.attribution import Attribution, RootCause
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.history import History, replay
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.journal_events import Action, EndEvent
from slurm_restart.core.judge_end import Judgement, judge_end
from slurm_restart.core.program_start import LONG
from slurm_restart.core.ran_before import RunSoFar, doubted
from slurm_restart.core.restart_limits import SitePolicy
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED, attribution, case, ended

MADE = ended(Category.HARDWARE_NODE, progress=True, step=100)
RAN_BEFORE = InPlaceEnds(restarts=1, seconds=int(LONG))
RULE = "config.value"
MISTAKES = {Category.CONFIG, Category.CODE}


def complaint(category: Category = Category.CONFIG) -> Attribution:
    return replace(attribution(category, root_hash="0a" * 4), rule=RULE)


def so_far(*ends: EndEvent, **changes: Any) -> RunSoFar:
    return RunSoFar(ends=ends, **{"step": 100, "made": False} | changes)


@pytest.mark.parametrize("category", Category)
def test_only_mistakes_that_cannot_change_between_attempts_are_doubted(category: Category) -> None:
    found = doubted(complaint(category), so_far(MADE))
    if category in MISTAKES:
        assert (found.category, found.confidence) == (Category.UNKNOWN, Confidence.GUESS)
        assert found.put_off
        assert (found.rule, found.root_hash) == (RULE, "0a" * 4)
    else:
        assert found == complaint(category)


@pytest.mark.parametrize(
    ("run", "is_doubted"),
    [
        (so_far(MADE), True),
        (so_far(MADE, ended(progress=False, step=100)), True),
        (so_far(made=True), True),
        # No attempt is known to have run.
        (so_far(), False),
        (so_far(ended(progress=False, step=100)), False),
        (so_far(ended(progress=None, step=100)), False),
        (so_far(ended(progress=None, run_time=int(LONG) - 1)), False),
        (so_far(ended(progress=False, run_time=int(LONG), step=100)), False),
        # Its progress is not known, and it ran for long.
        (so_far(ended(progress=None, run_time=int(LONG))), True),
        # Those in its allocation have, together.
        (so_far(ended(progress=None, run_time=1, in_place=RAN_BEFORE)), True),
        # One in the allocation of an earlier end has run.
        (so_far(ended(step=100, in_place=InPlaceEnds(restarts=2, progress=True))), True),
        (so_far(ended(step=100, in_place=InPlaceEnds(restarts=2))), False),
        # It has been doubted since the last progress.
        (so_far(MADE, ended(rule=RULE, progress=False, step=100)), False),
        (so_far(replace(MADE, rule=RULE)), False),
        # There was progress since.
        (so_far(ended(rule=RULE, step=50), MADE), True),
        # The supervisor has judged with all ends of its allocation.
        (so_far(MADE, in_place=InPlaceEnds(restarts=1)), False),
    ],
)
def test_a_mistake_is_doubted_once_after_an_attempt_has_run(
    run: RunSoFar, is_doubted: bool
) -> None:
    assert doubted(complaint(), run).put_off is is_doubted


def test_what_the_supervisor_itself_finds_wrong_is_wrong() -> None:
    own = replace(attribution(Category.CONFIG), rule="supervisor.prepare")
    assert not doubted(own, so_far(MADE)).put_off
    line = replace(own, root_cause=RootCause(line=1, text="x"))
    assert doubted(line, so_far(MADE)).put_off
    not_run = replace(own, rule="exit.not_run")
    assert doubted(not_run, so_far(MADE)).put_off


# --- the decision, with the history of the run ---------------------------------------------------


def judged(history: History, attempt: int, **report: Any) -> Judgement:
    """The judgement on an attempt that starts from step 100 and makes no progress."""
    values: dict[str, Any] = {
        "attempt": attempt, "submit": SUBMITTED + attempt, "from_step": 100, "step": 100,
        "cause": Category.CONFIG, "rule": RULE, "root": "0a" * 4,
    }  # fmt: skip
    return judge_end(
        case(
            history=history,
            comment_record=facts.comment_record(**values | report),
            end=facts.end(submit_time=SUBMITTED + attempt, restarts=attempt),
            index=attempt,
            site=SitePolicy(),
        )
    )


def after(judgement: Judgement, history: History) -> History:
    return replay(judgement.events, history)


def first_attempt() -> History:
    lost = judged(
        History(), 0, from_step=0, cause=Category.HARDWARE_NODE, rule="srun.node", root=None
    )
    assert lost.decision.progress
    return after(lost, History())


@pytest.mark.parametrize("category", sorted(MISTAKES, key=str))
@pytest.mark.parametrize("likely", [True, False])
def test_a_mistake_at_a_restart_is_one_counted_restart_and_a_stop_if_it_repeats(
    category: Category, likely: bool
) -> None:
    history = first_attempt()
    first = judged(history, 1, cause=category, likely=likely)
    assert (first.decision.action, first.decision.rule) == (Action.REQUEUE, "restart")
    assert (first.decision.failures, first.decision.total) == (1, 2)
    assert (first.attribution.category, first.attribution.rule) == (
        Category.UNKNOWN,
        RULE,
    )
    second = judged(after(first, history), 2, cause=category, likely=likely)
    assert (second.decision.action, second.decision.rule) == (Action.LEAVE, "not-recoverable")
    assert second.attribution.category is category


def test_a_mistake_that_the_supervisor_has_put_off_stops_the_run_if_it_repeats() -> None:
    history = first_attempt()
    put_off = {"cause": Category.UNKNOWN, "put_off": True}
    first = judged(history, 1, **put_off)
    assert first.decision.action is Action.REQUEUE
    # The supervisor believes it the second time; so does the rule for repeated lines.
    for report in ({}, put_off):
        assert judged(after(first, history), 2, **report).decision.action is Action.LEAVE


def test_progress_between_two_mistakes_is_a_reason_to_doubt_the_second_too() -> None:
    history = first_attempt()
    history = after(judged(history, 1), history)
    lost = judged(history, 2, step=200, cause=Category.HARDWARE_NODE, rule="srun.node", root=None)
    history = after(lost, history)
    again = judged(history, 3, from_step=200, step=200)
    assert again.decision.action is Action.REQUEUE


def test_the_first_attempt_with_a_mistake_ends_the_run() -> None:
    assert judged(History(), 0, from_step=0, step=0).decision.action is Action.LEAVE
    failed = judged(History(), 0, from_step=0, step=0, cause=Category.STORAGE_IO, root=None)
    again = judged(after(failed, History()), 1, from_step=0, step=0)
    assert again.decision.action is Action.LEAVE


def test_a_fall_back_to_an_earlier_checkpoint_comes_before_the_stop_as_before() -> None:
    history = first_attempt()
    first = judged(history, 1, earlier=True)
    assert (first.decision.rule, first.decision.fall_back) == ("fall-back", True)
    history = after(first, history)
    second = judged(history, 2, earlier=True)
    assert (second.decision.rule, second.decision.fall_back) == ("fall-back", True)
    third = judged(after(second, history), 3, earlier=True)
    assert (third.decision.action, third.decision.rule) == (Action.LEAVE, "not-recoverable")


def test_a_command_that_is_missing_on_the_nodes_of_a_restart_is_no_mistake() -> None:
    history = first_attempt()
    end = facts.end(submit_time=SUBMITTED + 1, restarts=1, exit_code=127, run_time=5)
    no_report = facts.comment_record(submit=None, ended=False, cause=None, exit=None)
    first = judge_end(case(history=history, comment_record=no_report, end=end, index=1))
    assert first.decision.action is Action.REQUEUE
    fresh = judge_end(case(comment_record=no_report, end=replace(end, restarts=0), index=0))
    assert fresh.decision.action is Action.LEAVE
