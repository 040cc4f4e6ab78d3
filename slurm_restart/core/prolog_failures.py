"""Count the nodes on which the prolog has failed, so that one job does not drain a partition.

slurmctld drains a node whose prolog fails and holds the job. A release makes the job try the next
node, whose prolog may fail for the same reason (6 of 6 nodes were drained in 24 s, measured).
"""

import math
from collections.abc import Collection

from slurm_restart.core.job import NodeState
from slurm_restart.frozen import frozen

_ROUNDING = 1e-9
"""A share of 0.29 of 100 nodes is 28.999999999999996 in floating point."""


@frozen
class PrologFailures:
    """Nodes of a partition."""

    failed: int = 0
    """Drained because their prolog failed."""
    nodes: int = 0
    """All nodes of the partition."""
    of_attempt: int = 0
    """Those of `failed` that the attempt has had: the next one may drain as many."""

    def allowed(self, share: float) -> int:
        """Return how many of the nodes may be drained so; one is always allowed.

        Args:
            share: from 0 to 1, of all nodes of the partition.
        """
        return max(1, math.floor(share * self.nodes + _ROUNDING))

    def exceed(self, share: float) -> bool:
        """Return whether the prolog has failed on more nodes than the share allows.

        A prolog that has failed on several nodes of one attempt fails for a reason that they have
        in common, and so on as many of the next one.
        """
        return self.failed + max(0, self.of_attempt - 1) > self.allowed(share)


def count_prolog_failures(
    partitions: Collection[str], nodes: Collection[NodeState], attempt: Collection[str] = ()
) -> tuple[PrologFailures, ...]:
    """Return for each partition of a job how many nodes it has, and on how many the prolog failed.

    Args:
        partitions: names of the job's partitions; none: the cluster counts as one.
        nodes: all nodes of the cluster.
        attempt: the names of the attempt's nodes.
    """
    of_each = [[node for node in nodes if name in node.partitions] for name in partitions]
    return tuple(_count(own, attempt) for own in of_each or [list(nodes)])


def _count(nodes: Collection[NodeState], attempt: Collection[str]) -> PrologFailures:
    failed = [node.name for node in nodes if node.prolog_failed]
    return PrologFailures(
        failed=len(failed), nodes=len(nodes), of_attempt=sum(name in attempt for name in failed)
    )
