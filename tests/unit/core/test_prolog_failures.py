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
    ("partitions", "failed", "nodes"),
    [
        (("main",), 2, 4),
        (("long",), 1, 1),
        (("other", "long"), 2, 2),
        ((), 3, 5),
        (("deleted",), 0, 0),
    ],
)
def test_only_the_jobs_partitions_count(
    partitions: tuple[str, ...], failed: int, nodes: int
) -> None:
    assert count_prolog_failures(partitions, NODES) == PrologFailures(failed=failed, nodes=nodes)


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
