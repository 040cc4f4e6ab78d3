"""Which nodes the next attempt leaves out after failures that name none."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.avoid_nodes import Avoidance, Room, avoided_nodes, grows_after
from slurm_restart.core.node_trials import NodeTrial, node_trials
from tests.unit.core import facts

CLUSTER = "abcdefghijklmnop"


def trial(nodes: str, failed: str = "fails") -> NodeTrial:
    return NodeTrial(nodes=frozenset(nodes), failed=failed == "fails")


def room(usable: str = CLUSTER, wanted: int = 4, least: int = 4) -> Room:
    return Room(usable=frozenset(usable), wanted=wanted, least=least)


def avoided(*trials: NodeTrial, last_chance: bool = False, **sizes: int | str) -> str:
    found = avoided_nodes(trials, room(**sizes), last_chance=last_chance)  # type: ignore[arg-type]
    return "" if found is None else "".join(found.nodes)


ALL = trial("abcdefgh")


def test_one_node_is_avoided_at_once() -> None:
    assert avoided(trial("c"), wanted=1, least=1) == "c"


def test_of_several_nodes_half_are_avoided_then_half_of_the_rest() -> None:
    assert avoided(trial("abcd")) == "ab"
    assert avoided(trial("abcd"), trial("cdef")) == "c"
    assert avoided(trial("abcd"), trial("cdef"), trial("adef")).startswith("d")


def test_the_last_failure_that_is_left_avoids_all_suspects() -> None:
    assert avoided(trial("abcd"), last_chance=True) == "abcd"


@pytest.mark.parametrize(("usable", "expected"), [(4, ""), (5, "a"), (6, "ab")])
def test_after_one_failure_only_as_many_as_there_are_others(usable: int, expected: str) -> None:
    assert avoided(trial("abcd"), usable=CLUSTER[:usable], least=1) == expected


@pytest.mark.parametrize(("least", "expected"), [(8, ""), (6, "ab"), (4, "abcd"), (1, "abcd")])
def test_after_two_failures_the_attempt_may_be_smaller(least: int, expected: str) -> None:
    sizes = {"usable": "abcdefgh", "wanted": 8, "least": least}
    assert avoided(ALL, ALL, **sizes) == expected


def test_after_three_failures_only_a_quarter_of_the_suspicion_is_tested() -> None:
    sizes = {"usable": "abcdefgh", "wanted": 8, "least": 1}
    assert avoided(ALL, ALL, trial("efgh"), **sizes) == "efg"


def test_where_others_replace_them_suspects_stay_out_after_an_attempt_that_ran() -> None:
    assert avoided(trial("abcd"), trial("cdef", "runs")) == "ab"


def test_where_the_run_is_smaller_without_them_they_take_part_again_by_halves() -> None:
    sizes = {"usable": "abcdefgh", "wanted": 8, "least": 4}
    first = (ALL, ALL, trial("efgh", "runs"))
    assert avoided(*first, **sizes) == "ab"
    second = (*first, trial("cdefgh", "runs"))
    assert avoided(*second, **sizes) == "a"
    assert avoided(*second, trial("bcdefgh", "runs"), **sizes) == ""  # it is tested itself
    third = (*second, trial("bcdefgh", "runs"), ALL)
    assert avoided(*third, **sizes) == "a"
    assert avoided(*third, trial("bcdefgh", "runs"), **sizes) == "a"  # likely: not tested again


def test_a_suspect_that_is_not_usable_is_not_named() -> None:
    assert avoided(trial("a"), usable="bcdefgh", wanted=1, least=1) == ""
    assert avoided(trial("ab"), usable="bcdefgh", wanted=2, least=2) == "b"


def test_without_a_failure_nothing_is_avoided() -> None:
    assert avoided() == ""


@pytest.mark.parametrize(
    ("trials", "reason"),
    [
        (
            [trial("a")],
            "avoids a (a guess: the last attempt failed without a known cause)",
        ),
        (
            [trial("ab"), trial("ab")],
            "avoids a (a guess, one of 2 suspects: 2 attempts failed without a known cause)",
        ),
        (
            [trial("a"), trial("b", "runs")],
            "avoids a (a guess: attempts failed there, and ran elsewhere)",
        ),
    ],
)
def test_the_reason_says_that_it_is_a_guess(trials: list[NodeTrial], reason: str) -> None:
    found = avoided_nodes(trials, room(wanted=1, least=1))
    assert found is not None
    assert found.reason == reason


def test_an_attempt_that_is_smaller_for_the_search_is_followed_by_a_larger_one() -> None:
    eight = room("abcdefgh", 8, 4)
    half = avoided_nodes((ALL, ALL), eight)
    assert half is not None
    assert grows_after((ALL, ALL), eight, half)
    enough = avoided_nodes((ALL, ALL), room("abcdefghijkl", 8, 4))
    assert enough is not None
    assert not grows_after((ALL, ALL), room("abcdefghijkl", 8, 4), enough)
    trials = (ALL, ALL, trial("efgh"), trial("abcd", "runs"), trial("abcdefg", "runs"))
    last = Avoidance(nodes=("h",), suspects=("h",), failures=3, last_failed=False)
    assert not grows_after((*trials, ALL), eight, last)


@given(
    runs=st.lists(
        st.tuples(st.sets(st.sampled_from(CLUSTER), min_size=1), st.integers(0, 120)), max_size=6
    ),
    usable=st.sets(st.sampled_from(CLUSTER)),
    sizes=st.tuples(st.integers(1, 9), st.integers(1, 9)),
    last_chance=st.booleans(),
)
def test_only_usable_nodes_of_the_run_are_avoided_and_enough_are_left(
    runs: list[tuple[set[str], int]],
    usable: set[str],
    sizes: tuple[int, int],
    last_chance: bool,
) -> None:
    ends = [
        facts.ended(nodes=tuple(sorted(nodes)), run_time=ran, progress=None) for nodes, ran in runs
    ]
    space = Room(usable=frozenset(usable), wanted=max(sizes), least=min(sizes))
    found = avoided_nodes(node_trials(ends), space, last_chance=last_chance)
    if found is None:
        return
    assert set(found.nodes) <= usable & {name for end in ends for name in end.nodes}
    assert len(usable) - len(found.nodes) >= min(*sizes, len(usable))
    assert set(found.nodes) <= set(found.suspects)
    assert found.reason
