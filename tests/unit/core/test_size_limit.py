"""A size that SlurmUser writes stays within the limits of association and QOS."""

from types import SimpleNamespace

import pytest

from slurm_restart.core.fit_pending import _within_limit
from slurm_restart.core.node_pool import SizeChoice


@pytest.mark.parametrize(
    ("wanted", "limit", "shown", "size"),
    [
        (4, None, 2, 4),
        (4, 4, 2, 4),
        (4, 3, 2, 3),
        # What the job has already is not taken from it.
        (4, 1, 2, 2),
        (2, 1, 2, 2),
        (None, 1, 2, None),
    ],
)
def test_a_run_grows_back_only_as_far_as_the_limits_leave(wanted, limit, shown, size) -> None:
    seen = SimpleNamespace(node_limit=limit, job=SimpleNamespace(num_nodes=shown))
    chosen = _within_limit(seen, SizeChoice(num_nodes=wanted, reason="wanted"))
    assert chosen.num_nodes == size
    assert (chosen.reason == "wanted") is (size == wanted)
