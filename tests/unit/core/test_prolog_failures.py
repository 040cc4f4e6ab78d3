"""Nodes whose prolog failed are counted within the job's own partitions."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.job import NodeState
from slurm_restart.core.prolog_failures import PrologFailures, count_prolog_failures


def node(name: str, *partitions: str, reason: str = "") -> NodeState:
    return NodeState(name=name, state="IDLE", reason=reason, partitions=frozenset(partitions))


NODES = (
    node("a1", "main", reason="Prolog error"),
    node("a2", "main", "long", reason="Prolog error [slurm@2026-01-01T00:00:00]"),
    node("a3", "main", reason="disk [root@2026-01-01T00:00:00]"),
    node("a4", "main"),
    node("b1", "other", reason="Prolog error"),
)


@pytest.mark.parametrize(
    ("partitions", "expected"),
    [
        (("main",), [(2, 4)]),
        (("long",), [(1, 1)]),
        (("other", "main"), [(1, 1), (2, 4)]),
        ((), [(3, 5)]),
        (("deleted",), [(0, 0)]),
    ],
)
def test_only_the_jobs_partitions_count_each_by_itself(
    partitions: tuple[str, ...], expected: list[tuple[int, int]]
) -> None:
    """Together they would let a job drain all of a small one beside a large one."""
    found = count_prolog_failures(partitions, NODES)
    assert found == tuple(PrologFailures(failed=failed, nodes=nodes) for failed, nodes in expected)


def test_the_nodes_of_the_attempt_are_those_that_its_next_one_may_drain_again() -> None:
    [found] = count_prolog_failures(("main",), NODES, ("a1", "a2", "a3", "b1"))
    assert found == PrologFailures(failed=2, nodes=4, of_attempt=2)


@pytest.mark.parametrize(
    ("failed", "of_attempt", "exceeds"),
    [(4, 0, False), (4, 1, False), (4, 4, True), (2, 2, False), (3, 3, True), (5, 1, True)],
)
def test_a_prolog_that_failed_on_several_nodes_at_once_fails_on_as_many_again(
    failed: int, of_attempt: int, exceeds: bool
) -> None:
    found = PrologFailures(failed=failed, nodes=40, of_attempt=of_attempt)
    assert found.exceed(0.1) is exceeds


@pytest.mark.parametrize(
    ("nodes", "share", "allowed"),
    [(6, 0.1, 1), (19, 0.1, 1), (20, 0.1, 2), (100, 0.29, 29), (100, 0, 1), (0, 1, 1), (6, 1, 6)],
)
def test_one_node_or_the_share_is_allowed(nodes: int, share: float, allowed: int) -> None:
    found = PrologFailures(failed=allowed, nodes=nodes)
    assert found.allowed(share) == allowed
    assert not found.exceed(share)
    assert PrologFailures(failed=allowed + 1, nodes=nodes).exceed(share)


@given(nodes=st.integers(0, 10**5), share=st.floats(0, 1))
def test_no_share_allows_more_nodes_than_there_are(nodes: int, share: float) -> None:
    assert 1 <= PrologFailures(nodes=nodes).allowed(share) <= max(1, nodes)
