"""Which nodes a run can have, and how many it gets."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.job import NodeState
from slurm_restart.core.node_pool import NodePool, build_pool, choose_size, matches
from tests.unit.core import facts


@pytest.mark.parametrize(
    ("state", "usable"),
    [
        ("IDLE", True),
        ("ALLOCATED", True),
        ("MIXED", True),
        ("IDLE+COMPLETING", True),
        ("DOWN", False),
        ("IDLE+DRAIN", False),
        ("ALLOCATED+DRAIN", False),
        ("IDLE+FAIL", False),
        ("IDLE+MAINTENANCE", False),
        ("IDLE+NOT_RESPONDING", False),
        ("UNKNOWN", True),
    ],
)
def test_busy_is_usable_and_sick_is_not(state: str, usable: bool) -> None:
    pool = build_pool(facts.job(), facts.nodes(csx2=state), excluded=())
    assert ("csx2" in pool.usable) is usable


@pytest.mark.parametrize(
    ("state", "reserved", "idle"),
    [
        ("IDLE", None, True),
        ("MIXED", None, False),
        ("IDLE+COMPLETING", None, False),
        ("IDLE+RESERVED", None, False),  # kept for others
        ("IDLE+RESERVED", ("csx2",), True),
    ],
)
def test_only_what_it_could_start_on_now_is_idle(
    state: str, reserved: tuple[str, ...] | None, idle: bool
) -> None:
    pool = build_pool(facts.job(), facts.nodes(csx2=state), excluded=(), reserved=reserved)
    assert "csx2" in pool.usable
    assert ("csx2" in pool.idle) is idle


def test_only_nodes_of_the_partition_the_reservation_and_without_exclusion() -> None:
    other = NodeState(name="gpu1", state="IDLE", partitions=frozenset({"gpu"}))
    pool = build_pool(
        facts.job(), (*facts.nodes(), other), excluded=("csx1",), reserved=("csx1", "csx3", "gpu1")
    )
    assert pool.usable == {"csx3"}


@pytest.mark.parametrize(
    ("constraint", "features", "fits"),
    [
        (None, "", True),
        ("a", "a b", True),
        ("a", "b", False),
        ("a&b", "a b", True),
        ("a&b", "a", False),
        ("a,b", "a", False),
        ("a|b", "b", True),
        ("a|b", "c", False),
        ("[a*2&b*1]", "c", True),
        ("a&b|c", "d", True),
    ],
)
def test_constraints_are_judged_only_where_they_are_simple(
    constraint: str | None, features: str, fits: bool
) -> None:
    assert matches(constraint, frozenset(features.split())) is fits


def pool(usable: int, idle: int) -> NodePool:
    return NodePool(
        usable=frozenset(f"n{i}" for i in range(usable)),
        idle=frozenset(f"n{i}" for i in range(idle)),
    )


@pytest.mark.parametrize(
    ("usable", "idle", "waited", "size"),
    [
        (4, 4, 0, 3),
        (3, 0, 0, 3),  # busy counts as usable: it waits for them
        (2, 2, 0, 2),
        (1, 1, 0, None),
        (3, 2, 599, 3),
        (3, 2, 600, 2),
        (3, 1, 600, 3),
        (3, 3, 600, 3),
    ],
)
def test_the_size_of_the_next_attempt(
    usable: int, idle: int, waited: int, size: int | None
) -> None:
    assert choose_size(facts.policy(), pool(usable, idle), waited=waited).num_nodes == size


@given(
    usable=st.integers(0, 20),
    idle=st.integers(0, 20),
    waited=st.integers(0, 10**6),
    sizes=st.lists(st.integers(1, 20), min_size=2, max_size=2).map(sorted),
)
def test_never_outside_the_limits(usable: int, idle: int, waited: int, sizes: list[int]) -> None:
    policy = facts.policy(min_nodes=sizes[0], num_nodes=sizes[1])
    size = choose_size(policy, pool(usable, min(idle, usable)), waited=waited)
    assert size.num_nodes is None or sizes[0] <= size.num_nodes <= sizes[1]
    assert size.reason
