"""Leave nodes that the site drains while the run is on them, once a checkpoint is complete."""

import threading
from collections.abc import Callable, Sequence

from slurm_restart.errors import SlurmError
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.events import Events, NodesDrained
from slurm_restart.supervise.node_health import drained_nodes


class DrainWatch:
    """Asks Slurm, after each complete checkpoint, whether a node of the job is drained.

    Only then does the answer matter, so that the controller is asked no more often.

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
        self._slurm = slurm
        self._nodes = nodes
        self._events = events
        self._report = report
        self._asking = threading.Lock()
        self._found = False

    def saved(self, what: str) -> None:
        """Ask in a thread, as Slurm may not answer; an earlier question that waits suffices.

        Args:
            what: the checkpoint, for the line that says why the run stops.
        """
        if self._found or not self._asking.acquire(blocking=False):
            return
        threading.Thread(target=self._ask, args=(what,), name="drain-watch", daemon=True).start()

    def _ask(self, what: str) -> None:
        try:
            found = drained_nodes(self._slurm(), self._nodes)
        except SlurmError:
            return  # the next checkpoint asks again
        finally:
            self._asking.release()
        if found and not self._found:
            self._found = True
            reason = next(iter(found.values()))
            self._report(f"{format_hostlist(tuple(found))} is left after {what}: {reason}")
            self._events.put(NodesDrained())
