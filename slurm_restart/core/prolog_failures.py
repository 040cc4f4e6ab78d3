"""Count the nodes on which the prolog has failed, so that one job does not drain a partition.

slurmctld drains a node whose prolog fails and holds the job. A release makes the job try the next
node, whose prolog may fail for the same reason (6 of 6 nodes were drained in 24 s, measured).
"""

import math
from collections.abc import Collection, Iterable

from slurm_restart.core.job import NodeState
from slurm_restart.frozen import frozen

_ROUNDING = 1e-9
"""A share of 0.29 of 100 nodes is 28.999999999999996 in floating point."""


@frozen
class PrologFailures:
    """Nodes of a job's partitions."""

    failed: int = 0
    """Drained because their prolog failed."""
    nodes: int = 0
    """All nodes of these partitions."""

    def allowed(self, share: float) -> int:
        """Return how many of the nodes may be drained so; one is always allowed.

        Args:
            share: from 0 to 1, of all nodes of the partitions.
        """
        return max(1, math.floor(share * self.nodes + _ROUNDING))

    def exceed(self, share: float) -> bool:
        """Return whether the prolog has failed on more nodes than the share allows."""
        return self.failed > self.allowed(share)


def count_prolog_failures(
    partitions: Collection[str], nodes: Iterable[NodeState]
) -> PrologFailures:
    """Return how many nodes of a job's partitions there are, and on how many the prolog failed.

    Args:
        partitions: names of the job's partitions; none: every node counts.
        nodes: all nodes of the cluster.
    """
    wanted = set(partitions)
    own = [node for node in nodes if not wanted or node.partitions & wanted]
    return PrologFailures(failed=sum(node.prolog_failed for node in own), nodes=len(own))
