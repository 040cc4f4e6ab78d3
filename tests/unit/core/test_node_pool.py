"""Which nodes a run can have, and how many it gets."""

from dataclasses import replace

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.job import NodeState, PartitionState
from slurm_restart.core.node_pool import (
    NodePool,
    SizeChoice,
    build_pool,
    choose_size,
    compilable,
    known_nodes,
    matches,
    within_limit,
)
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
    assert ("csx2" in pool.busy) is not idle


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


def node(name: str, partition: str, state: str = "IDLE", **changes: object) -> NodeState:
    """A node of one partition; `IDLE+PLANNED` adds a flag."""
    base, *flags = state.split("+")
    values: dict[str, object] = {"partitions": frozenset({partition}), "flags": frozenset(flags)}
    return NodeState(name=name, state=base, **values | changes)  # type: ignore[arg-type]


TWO = tuple(node(name, name[0]) for name in ("a1", "a2", "a3", "b1", "b2"))


def test_a_job_runs_in_one_partition_never_across() -> None:
    found = build_pool(facts.job(partitions=("b", "a")), TWO, excluded=("a3",))
    assert (found.usable, found.idle) in (
        ({"a1", "a2"}, {"a1", "a2"}),
        ({"b1", "b2"}, {"b1", "b2"}),
    )
    assert build_pool(facts.job(partitions=("b", "a")), TWO, excluded=()).usable == {
        "a1",
        "a2",
        "a3",
    }


def test_idle_nodes_of_the_smaller_partition_are_seen() -> None:
    nodes = tuple(node(n.name, n.name[0], "ALLOCATED" if n.name[0] == "a" else "IDLE") for n in TWO)
    found = build_pool(facts.job(partitions=("a", "b")), nodes, excluded=())
    assert (found.usable, found.idle) == ({"a1", "a2", "a3"}, {"b1", "b2"})
    assert choose_size(facts.policy(), found, waited=600).num_nodes == 2


@pytest.mark.parametrize(
    ("partitions", "usable", "idle"),
    [
        ([PartitionState(name="a", max_nodes=1)], {"b1", "b2"}, {"b1", "b2"}),
        ([PartitionState(name="a", state="DOWN")], {"b1", "b2"}, {"b1", "b2"}),
        ([PartitionState(name="a", state="INACTIVE")], {"b1", "b2"}, {"b1", "b2"}),
        ([PartitionState(name="a", state="DRAIN")], {"a1", "a2", "a3"}, {"a1", "a2", "a3"}),
        (
            [PartitionState(name="a", state="DOWN"), PartitionState(name="b", state="DOWN")],
            {"a1", "a2", "a3"},
            set(),
        ),
        ([PartitionState(name="b", state="DOWN")], {"a1", "a2", "a3"}, {"a1", "a2", "a3"}),
        ([PartitionState(name="a", max_nodes=2)], {"a1", "a2"}, {"a1", "a2"}),
    ],
)
def test_state_and_limit_of_partitions(
    partitions: list[PartitionState], usable: set[str], idle: set[str]
) -> None:
    found = build_pool(facts.job(partitions=("a", "b")), TWO, (), None, partitions)
    assert (found.usable, found.idle) == (usable, idle)


def test_a_job_waits_for_a_partition_that_is_down_and_does_not_shrink() -> None:
    down = [PartitionState(name="main", state="DOWN")]
    found = build_pool(facts.job(), facts.nodes(), (), None, down)
    assert choose_size(facts.policy(), found, waited=10**6, now=10**6).num_nodes == 3


def test_nodes_that_are_too_small_are_not_usable() -> None:
    nodes = (*TWO[:2], node("a3", "a", cpus=8, memory=1000))
    found = build_pool(facts.job(partitions=("a",), min_memory=2000), nodes, excluded=())
    assert found.usable == {"a1", "a2"}


def test_since_when_nodes_are_free() -> None:
    nodes = (
        node("a1", "a", last_busy=500),
        node("a2", "a", last_busy=300),
        node("a3", "a", "IDLE+PLANNED", last_busy=100),
        node("a4", "a", "ALLOCATED", last_busy=200),
    )
    found = build_pool(facts.job(partitions=("a",)), nodes, excluded=())
    assert (found.idle, found.free_since) == ({"a1", "a2", "a3"}, (300, 500))


def test_names_that_slurm_does_not_know() -> None:
    assert known_nodes(("csx4", "old", "csx1"), facts.nodes()) == ("csx4", "csx1")
    assert known_nodes(("old",), ()) == ("old",)


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
        (3, 3, 601, 2),  # enough are idle, and Slurm does not start it
        (9, 9, 10**6, 2),
        (2, 2, 10**6, 2),
    ],
)
def test_the_size_of_the_next_attempt(
    usable: int, idle: int, waited: int, size: int | None
) -> None:
    assert choose_size(facts.policy(), pool(usable, idle), waited=waited).num_nodes == size


@pytest.mark.parametrize(
    ("waited", "size"), [(600, 8), (601, 7), (1200, 7), (1201, 6), (3601, 2), (10**6, 2)]
)
def test_one_node_less_each_time_that_slurm_does_not_start_it(waited: int, size: int) -> None:
    policy = facts.policy(num_nodes=8, min_nodes=2)
    choice = choose_size(policy, pool(9, 9), waited=waited)
    assert choice.num_nodes == size
    assert ("Slurm has not started the job on 8 of them" in choice.reason) is (size < 8)


def test_a_job_that_may_shrink_at_once_still_gives_slurm_a_minute() -> None:
    policy = facts.policy(num_nodes=8, min_nodes=2, shrink_after=0)
    assert [choose_size(policy, pool(8, 8), waited=waited).num_nodes for waited in (0, 60, 61)] == [
        8,
        8,
        7,
    ]


def test_it_shrinks_to_the_idle_nodes_of_those_that_are_usable() -> None:
    policy = facts.policy(num_nodes=8, min_nodes=2)
    assert choose_size(policy, pool(6, 4), waited=599).num_nodes == 6
    assert choose_size(policy, pool(6, 4), waited=600).num_nodes == 4


def test_with_less_patience_it_waits_less_for_busy_nodes_alone() -> None:
    policy = facts.policy(num_nodes=8, min_nodes=2)
    assert choose_size(policy, pool(6, 4), waited=9, patience=10).num_nodes == 6
    assert choose_size(policy, pool(6, 4), waited=10, patience=10).num_nodes == 4
    assert choose_size(policy, pool(6, 1), waited=10, patience=10).num_nodes == 6
    # That Slurm does not start it on idle nodes is another matter.
    assert choose_size(policy, pool(8, 8), waited=600, patience=10).num_nodes == 8


@pytest.mark.parametrize(
    ("free_since", "now", "size"),
    [
        ((0, 0, 100), 1301, 1),
        ((0, 0, 100), 701, 2),
        ((0, 0, 100), 700, 3),  # the third has not been free for long enough
        ((0, 0, 100), None, 1),
        ((0, 0), 10**6, 3),  # the third is kept for a job
        (None, 10**6, 1),
    ],
)
def test_only_nodes_that_were_free_all_the_time_show_a_wrong_count(
    free_since: tuple[int, ...] | None, now: int | None, size: int
) -> None:
    names = frozenset({"n1", "n2", "n3"})
    free = NodePool(usable=names, idle=names, free_since=free_since)
    policy = facts.policy(min_nodes=1)
    assert choose_size(policy, free, waited=10**5, now=now).num_nodes == size


@pytest.mark.parametrize(
    ("wanted", "limit", "waited", "size"),
    [
        (3, None, 0, 3),
        (3, 3, 0, 3),
        (3, 2, 599, None),
        (3, 2, 600, 2),
        (3, 1, 10**6, None),
        (2, 2, 0, 2),
        (None, 9, 0, None),
    ],
)
def test_a_size_that_slurm_does_not_check_stays_within_the_limits(
    wanted: int | None, limit: int | None, waited: int, size: int | None
) -> None:
    choice = SizeChoice(num_nodes=wanted, reason="why")
    found = within_limit(facts.policy(), choice, limit=limit, waited=waited)
    assert found.num_nodes == size
    assert (found is choice) is (found.num_nodes == wanted)


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


@pytest.mark.parametrize(
    ("usable", "idle", "waited", "size"),
    [
        (5, 5, 0, 5),
        # Spares go first, and at once where there are no nodes for them.
        (4, 4, 0, 4),
        (3, 3, 0, 3),
        (2, 2, 0, 2),
        (1, 1, 0, None),
        # They are busy: they are not waited for.
        (5, 4, 59, 5),
        (5, 4, 60, 4),
        (5, 3, 60, 4),
        (6, 3, 60, 4),
        (6, 3, 600, 3),
    ],
)
def test_spares_are_given_up_first(usable: int, idle: int, waited: int, size: int | None) -> None:
    policy = facts.policy(num_nodes=4, min_nodes=2, spares=1)
    names = [f"csx{number}" for number in range(usable)]
    pool = NodePool(usable=frozenset(names), idle=frozenset(names[:idle]))
    assert choose_size(policy, pool, waited=waited).num_nodes == size


@pytest.mark.parametrize(
    ("given", "refused", "expected"),
    [
        (3, {}, 3),
        (3, {3}, 2),
        (3, {3, 2}, 1),
        (3, {3, 2, 1}, None),
        (None, {3}, None),
        # All that an attempt uses, with spares or without.
        (4, {3}, 4),
        (6, {3}, 6),
    ],
)
def test_a_size_that_does_not_compile_is_not_chosen(
    given: int | None, refused: set[int], expected: int | None
) -> None:
    policy = replace(facts.policy(num_nodes=4, min_nodes=1), refused_sizes=frozenset(refused))
    choice = compilable(policy, SizeChoice(num_nodes=given, reason="so many are usable"))
    assert choice.num_nodes == expected
    if expected != given:
        assert choice.reason.startswith("so many are usable; the model does not compile for 3")
