"""The number of CSX systems and nodes of a phase."""

from slurm_restart.core.job_comment import MAX_NODES
from slurm_restart.frozen import frozen
from slurm_restart.trainer.phases import Phase


@frozen
class JobSize:
    """The size of a full-size attempt and of the smallest one."""

    num_csx: int
    num_nodes: int
    min_nodes: int
    csx_per_node: int

    @property
    def can_shrink(self) -> bool:
        """Whether a restart may have fewer nodes."""
        return self.min_nodes < self.num_nodes


def size_of(
    phase: Phase, *, requested_csx: int | None, requested_nodes: int | None, csx_per_node: int
) -> JobSize:
    """Return the size of a phase.

    Args:
        phase: its num_csx is used unless another number is requested.
        requested_csx: --num-csx.
        requested_nodes: --nodes, used if nothing else gives a number of systems.
        csx_per_node: systems of one node; the last node may have fewer.
    """
    num_csx = requested_csx or phase.num_csx
    if num_csx is None:
        num_csx = 1 if requested_nodes is None else min(requested_nodes, MAX_NODES) * csx_per_node
    least = phase.autorestart.min_num_csx if phase.autorestart is not None else num_csx
    return JobSize(
        num_csx=num_csx,
        csx_per_node=csx_per_node,
        num_nodes=_ceil(num_csx, csx_per_node),
        min_nodes=_ceil(min(least, num_csx), csx_per_node),
    )


def _ceil(systems: int, per_node: int) -> int:
    return -(-systems // per_node)
