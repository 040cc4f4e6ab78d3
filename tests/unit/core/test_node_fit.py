"""Whether a node is large enough for a job."""

import pytest

from slurm_restart.core.job import NodeState
from slurm_restart.core.node_fit import is_large_enough
from tests.unit.core import facts


def node(**changes: object) -> NodeState:
    values: dict[str, object] = {"cpus": 8, "memory": 1000, "tmp_disk": 50, "gres": ""}
    return NodeState(name="n", state="IDLE", **values | changes)  # type: ignore[arg-type]


@pytest.mark.parametrize(
    ("field", "fits", "too_large"),
    [("min_cpus", 8, 9), ("min_memory", 1000, 1001), ("min_tmp_disk", 50, 51)],
)
def test_numbers(field: str, fits: int, too_large: int) -> None:
    assert is_large_enough(facts.job(**{field: fits}), node())
    assert not is_large_enough(facts.job(**{field: too_large}), node())
    assert is_large_enough(facts.job(**{field: 0}), node())  # --mem=0: all of the node
    assert is_large_enough(facts.job(**{field: None}), node())


@pytest.mark.parametrize("field", ["cpus", "memory", "tmp_disk"])
def test_a_node_of_unknown_size_fits(field: str) -> None:
    job = facts.job(min_cpus=8, min_memory=1000, min_tmp_disk=50)
    assert is_large_enough(job, node(**{field: None}))


@pytest.mark.parametrize(
    ("requested", "configured", "fits"),
    [
        ("gres:gpu:4", "gpu:4", True),  # 22.05
        ("gres/gpu:4", "gpu:4", True),  # 24.11
        ("gpu:5", "gpu:4", False),
        ("gres/gpu=4", "gpu:a100:4(S:0-1)", True),
        ("gres/gpu", "gpu:1", True),
        ("gres/gpu", "", False),
        ("gres/gpu:1", "fpga:1", False),
        ("gres/gpu:4", "gpu:a100:2(S:0,2),gpu:v100:2(S:1)", True),
        ("gres/gpu:a100:3", "gpu:a100:2(S:0,2),gpu:v100:2(S:1)", False),
        ("gres/gpu:a100:2", "gpu:A100:2", True),
        ("gres/gpu:a100", "gpu:v100:2", False),
        ("gres/gpu:a100:2", "gpu:2", True),  # the type is not known
        ("gres/gpu:1,gres/disk:100", "gpu:1,disk:no_consume:1K", True),
        ("gres/gpu:1,gres/disk:2000", "gpu:1,disk:no_consume:1K", False),
        ("gres/shard:8", "gpu:1,shard:4(1)", False),
        ("gres:none", "", True),
        ("gpu:4K", "gpu:1", True),  # unknown forms fit
        ("???", "gpu:1", True),
        ("gres/gpu:2", "???", True),
        ("gres/gpu:2", None, True),
        (None, "", True),
    ],
)
def test_generic_resources(requested: str | None, configured: str | None, fits: bool) -> None:
    assert is_large_enough(facts.job(tres_per_node=requested), node(gres=configured)) is fits
