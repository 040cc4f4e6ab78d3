"""Leave nodes that the site drains while the run is on them, once a checkpoint is complete."""

from collections.abc import Callable, Sequence

from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.checkpoint_watch import CheckpointWatch
from slurm_restart.supervise.events import Events, NodesDrained
from slurm_restart.supervise.node_health import drained_nodes


class DrainWatch(CheckpointWatch):
    """Asks whether a node of the job is drained.

    Args:
        slurm: returns the cluster.
        nodes: of the job.
        events: receives `NodesDrained` at most once.
        report: called with a line for the user.
    """

    def __init__(
        self,
        slurm: Callable[[], Slurm],
        nodes: Sequence[str],
        events: Events,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(events)
        self._slurm = slurm
        self._nodes = nodes
        self._report = report

    def _ask(self, what: str) -> NodesDrained | None:
        found = drained_nodes(self._slurm(), self._nodes)
        if not found:
            return None
        reason = next(iter(found.values()))
        self._report(f"{format_hostlist(tuple(found))} is left after {what}: {reason}")
        return NodesDrained()
