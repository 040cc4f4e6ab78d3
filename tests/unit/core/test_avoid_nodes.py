"""A run escapes from a node on which everything fails at once, as long as others are free."""

import math
import random
from collections.abc import Callable, Sequence

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.avoid_nodes import Avoidance, avoided_nodes
from slurm_restart.core.category import Category
from slurm_restart.core.journal_events import EndEvent
from tests.unit.core import facts

CLUSTER = tuple(f"csx{number:02}" for number in range(1, 17))


def failure(*nodes: str, **changes: object) -> EndEvent:
    """A short failure without a cause."""
    return facts.ended(**{"nodes": nodes, "run_time": 5} | changes)


def success(*nodes: str, **changes: object) -> EndEvent:
    """An attempt that ran for an hour before it failed."""
    return failure(*nodes, **{"run_time": 3600} | changes)


def avoided(*ends: EndEvent, usable: Sequence[str] = CLUSTER, **more: object) -> tuple[str, ...]:
    found = avoided_nodes(ends, usable, **more)  # type: ignore[arg-type]
    return () if found is None else found.nodes


def test_one_node_is_avoided_at_once() -> None:
    assert avoided(failure("csx03")) == ("csx03",)


def test_of_several_nodes_half_are_avoided_then_half_of_the_rest() -> None:
    first = failure("csx01", "csx02", "csx03", "csx04")
    assert avoided(first) == ("csx01", "csx02")
    second = failure("csx03", "csx04", "csx05", "csx06")
    assert avoided(first, second) == ("csx03",)
    assert avoided(first, second, failure("csx04", "csx05", "csx06", "csx07")) == ("csx04",)


def test_it_stops_when_no_node_is_in_all_failures() -> None:
    assert avoided(failure("csx01"), failure("csx02")) == ()
    assert avoided(failure("csx01"), failure("csx02"), failure("csx03")) == ()


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (failure("csx01", category=Category.SOFTWARE_CRASH), ("csx01",)),
        (failure("csx01", progress=None), ("csx01",)),
        (failure("csx01", run_time=59), ("csx01",)),
        (failure("csx01", run_time=60), ()),
        (failure("csx01", run_time=None), ()),
        (failure("csx01", progress=True), ()),
        (failure(), ()),
        *[
            (failure("csx01", category=category), ())
            for category in Category
            if category not in (Category.UNKNOWN, Category.SOFTWARE_CRASH)
        ],
    ],
)
def test_only_a_short_failure_without_a_cause_counts(
    end: EndEvent, expected: tuple[str, ...]
) -> None:
    assert avoided(end) == expected


def test_what_is_short_is_the_sites() -> None:
    assert avoided(failure("csx01", run_time=100), short_attempt=120) == ("csx01",)


def test_a_failure_that_a_named_node_explains_raises_no_suspicion() -> None:
    end = failure("csx01", "csx02")
    others = ("csx01", *CLUSTER[2:])
    assert avoided(end, usable=others) == ("csx01",)
    assert avoided(end, usable=others, blamed=("csx02",)) == ()


def test_an_end_of_another_kind_between_changes_nothing() -> None:
    first = failure("csx01", "csx02")
    preempted = failure("csx05", "csx06", category=Category.PREEMPTION)
    assert avoided(first, preempted) == avoided(first) == ("csx01",)


@pytest.mark.parametrize(("usable", "expected"), [(4, ()), (5, ("csx01",)), (6, CLUSTER[:2])])
def test_only_as_many_are_avoided_as_there_are_others(
    usable: int, expected: tuple[str, ...]
) -> None:
    assert avoided(failure(*CLUSTER[:4]), usable=CLUSTER[:usable]) == expected


def test_a_size_that_is_wanted_again_is_not_given_up_for_a_guess() -> None:
    end = failure(*CLUSTER[:4])
    assert avoided(end, usable=CLUSTER[:6], needed=6) == ()
    assert avoided(end, usable=CLUSTER[:6], needed=5) == ("csx01",)


def test_a_suspect_that_is_not_usable_is_not_named() -> None:
    assert avoided(failure("csx01"), usable=CLUSTER[1:]) == ()
    assert avoided(failure("csx01", "csx02"), usable=CLUSTER[1:]) == ("csx02",)


def test_an_attempt_that_runs_clears_its_nodes_and_confirms_the_others() -> None:
    first = failure("csx01", "csx02")
    assert avoided(first, success("csx02", "csx03")) == ("csx01",)
    assert avoided(first, success("csx01", "csx02")) == ()
    assert avoided(first, success("csx02", "csx03"), success("csx01", "csx02")) == ()


def test_a_new_suspicion_begins_after_an_attempt_that_ran() -> None:
    ends = (failure("csx01"), success("csx02"), failure("csx02"))
    found = avoided_nodes(ends, CLUSTER)
    assert found == Avoidance(nodes=("csx01", "csx02"), suspects=("csx01", "csx02"), failures=1)


def test_without_an_end_nothing_is_avoided() -> None:
    assert avoided() == ()


@pytest.mark.parametrize(
    ("ends", "reason"),
    [
        (
            [failure("csx01")],
            "avoids csx01 (a guess: the last attempt failed at once without a known cause)",
        ),
        (
            [failure("csx01", "csx02"), failure("csx01", "csx02")],
            (
                "avoids csx01 (a guess, one of 2 suspects: the last 2 attempts failed at once "
                "without a known cause)"
            ),
        ),
        (
            [failure("csx01"), success("csx02")],
            "avoids csx01 (a guess: attempts failed at once there, and ran elsewhere)",
        ),
    ],
)
def test_the_reason_says_that_it_is_a_guess(ends: list[EndEvent], reason: str) -> None:
    found = avoided_nodes(ends, CLUSTER)
    assert found is not None
    assert found.reason == reason


# --- a whole run on a cluster with one bad node --------------------------------------------------

Choose = Callable[[Sequence[str], int], Sequence[str]]


def same_again(free: Sequence[str], count: int) -> Sequence[str]:
    """As Slurm does: the first nodes of the list."""
    return free[:count]


def failures_until_escape(size: int, bad: str, cluster: Sequence[str], choose: Choose) -> int:
    """Return how many attempts fail before one runs; at most 20 are made."""
    ends: list[EndEvent] = []
    for _ in range(20):
        found = avoided_nodes(ends, cluster)
        free = [name for name in cluster if found is None or name not in found.nodes]
        assert len(free) >= size
        nodes = choose(free, size)
        if bad not in nodes:
            return len(ends)
        ends.append(failure(*nodes))
    return len(ends)


def test_without_the_guess_a_run_would_never_leave_the_bad_node() -> None:
    assert all("csx01" in same_again(CLUSTER, 4) for _ in range(20))


@pytest.mark.parametrize("bad", CLUSTER)
@pytest.mark.parametrize("size", [1, 2, 3, 4, 8])
def test_a_run_escapes_one_bad_node_after_log2_of_its_size_failures(size: int, bad: str) -> None:
    most = math.ceil(math.log2(size)) + 1
    assert failures_until_escape(size, bad, CLUSTER, same_again) <= most


@pytest.mark.parametrize("bad", CLUSTER[:4])
def test_with_one_spare_node_it_escapes_after_as_many_failures_as_nodes(bad: str) -> None:
    assert failures_until_escape(4, bad, CLUSTER[:5], same_again) <= 4


@given(
    size=st.integers(1, 8),
    spare=st.integers(1, 8),
    bad=st.integers(0, 15),
    seed=st.integers(0, 1000),
)
def test_a_run_escapes_wherever_slurm_places_it(size: int, spare: int, bad: int, seed: int) -> None:
    cluster = CLUSTER[: size + spare]
    generator = random.Random(seed)
    found = failures_until_escape(
        size,
        cluster[bad % len(cluster)],
        cluster,
        generator.sample,
    )
    assert found <= size


@given(
    runs=st.lists(
        st.tuples(st.sets(st.sampled_from(CLUSTER), min_size=1), st.integers(0, 120)), max_size=6
    ),
    usable=st.sets(st.sampled_from(CLUSTER)),
)
def test_only_usable_nodes_of_the_run_are_avoided_and_enough_are_left(
    runs: list[tuple[set[str], int]], usable: set[str]
) -> None:
    ends = [failure(*sorted(nodes), run_time=ran) for nodes, ran in runs]
    found = avoided_nodes(ends, usable)
    if found is None:
        return
    assert set(found.nodes) <= usable & {name for end in ends for name in end.nodes}
    assert len(usable) - len(found.nodes) >= len(ends[-1].nodes)
    assert set(found.nodes) <= set(found.suspects)
    assert found.reason
