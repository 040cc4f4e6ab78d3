"""The nodes that a job with task counts needs at least: never more than it really needs."""

from dataclasses import replace
from typing import Any

import pytest

from slurm_restart.core.fixed_size import judge_fixed_size, least_nodes
from slurm_restart.core.job import JobState
from slurm_restart.core.node_pool import NodePool
from tests.unit.core import facts

NODES = tuple(replace(node, cpus=4) for node in facts.nodes())


@pytest.mark.parametrize(
    ("changes", "least"),
    [
        ({"num_nodes": 1, "num_cpus": 8}, 2),
        ({"num_nodes": 1, "num_cpus": 9}, 3),
        ({"num_nodes": 3, "num_cpus": 3}, 3),
        ({"num_nodes": 2, "num_cpus": None}, 2),
        # The nodes and CPUs of the attempt that ends, not what the job asks for.
        ({"num_nodes": 4, "num_cpus": 16, "flags": frozenset({facts.COMPLETING})}, 1),
        ({"num_nodes": 4, "num_cpus": 16, "state": JobState.FAILED}, 1),
    ],
)
def test_the_least_number_of_nodes(changes: dict[str, Any], least: int) -> None:
    assert least_nodes(facts.pending(**changes), NODES) == least


def test_cpus_that_are_not_known_need_nothing() -> None:
    assert least_nodes(facts.pending(num_nodes=1, num_cpus=8), facts.nodes()) == 1
    assert least_nodes(facts.pending(num_nodes=1, num_cpus=8), ()) == 1


def test_what_the_next_attempt_is_likely_to_get() -> None:
    pool = NodePool(usable=frozenset({"csx1", "csx2"}), idle=frozenset())
    job = facts.pending(num_nodes=1, num_cpus=8)
    assert judge_fixed_size(job, NODES, pool, facts.ended(num_nodes=2)).num_nodes == 2
    assert judge_fixed_size(job, NODES, pool, None).num_nodes == 1
    short = NodePool(usable=frozenset({"csx1"}), idle=frozenset())
    assert judge_fixed_size(job, NODES, short, facts.ended(num_nodes=2)).num_nodes is None
