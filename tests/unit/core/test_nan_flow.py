"""The check for NaN: when it is on, when it has led somewhere, and when it finds nothing."""

from dataclasses import replace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.nan_flow import RULE, NanOutcome, needs_checker, unexplained_nan

FOUR, THREE = ("a", "b", "c", "d"), ("a", "b", "c")
NAN = NanOutcome(nodes=FOUR, category=Category.NUMERIC_NAN, rule=RULE, root="aaaaaaaa")
DEADLOCK = NanOutcome(nodes=FOUR, category=Category.HANG, rule="cerebras.deadlock")
FAILURE = NanOutcome(nodes=FOUR, category=Category.SOFTWARE_CRASH)


def flow(*attempts: NanOutcome, last: tuple[str, ...] = FOUR) -> list[bool]:
    """Run attempts one after the other; whether the check is on in each, and in the next one."""
    done: list[NanOutcome] = []
    for attempt in attempts:
        done.append(replace(attempt, checker=needs_checker(done, attempt.nodes)))
    return [*(attempt.checker for attempt in done), needs_checker(done, last)]


def checked(*attempts: NanOutcome) -> list[NanOutcome]:
    """The attempts with the check as the flow sets it."""
    return [
        replace(attempt, checker=on) for attempt, on in zip(attempts, flow(*attempts), strict=False)
    ]


def test_it_is_on_after_the_first_nan() -> None:
    assert flow() == [False]
    assert flow(FAILURE) == [False, False]
    assert flow(NAN) == [False, True]
    assert flow(FAILURE, NAN, FAILURE) == [False, False, True, True]


@pytest.mark.parametrize(
    "other", [replace(NAN, named=True), replace(NAN, rule="numeric.nan"), DEADLOCK]
)
def test_it_is_not_after_nan_with_a_culprit_or_of_another_program(other: NanOutcome) -> None:
    assert flow(other) == [False, False]


def test_it_is_off_again_once_an_attempt_with_it_has_got_on() -> None:
    """As it ended by itself, or failed later for another reason."""
    assert flow(NAN, replace(FAILURE, progress=True)) == [False, True, False]
    assert flow(NAN, replace(NAN, progress=True)) == [False, True, True]


def test_it_is_off_after_a_deadlock_once_a_node_is_left_out() -> None:
    assert flow(NAN, DEADLOCK, last=THREE) == [False, True, False]
    assert flow(NAN, DEADLOCK, replace(FAILURE, nodes=THREE), last=THREE)[-2:] == [False, False]
    assert flow(NAN, replace(DEADLOCK, named=True)) == [False, True, False]


def test_nothing_found_leaves_it_on_once_more_and_then_it_is_given_up() -> None:
    assert flow(NAN, DEADLOCK) == [False, True, True]
    assert unexplained_nan(checked(NAN), FOUR) is None
    assert unexplained_nan(checked(NAN, DEADLOCK), FOUR) == "aaaaaaaa"
    assert unexplained_nan(checked(NAN, DEADLOCK), THREE) is None
    assert unexplained_nan(checked(NAN, DEADLOCK, FAILURE), FOUR) is None
    assert unexplained_nan(checked(DEADLOCK), FOUR) is None
    assert unexplained_nan([], FOUR) is None


def test_a_deadlock_without_nan_before_is_none_of_its_business() -> None:
    assert flow(DEADLOCK, DEADLOCK) == [False, False, False]


def test_nodes_that_are_not_known_show_nothing() -> None:
    assert flow(NAN, DEADLOCK, last=()) == [False, True, True]
