"""End an attempt that is smaller for the search for a faulty node, after a checkpoint."""

from collections.abc import Callable

from slurm_restart.core.slurm_operations import is_searching
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.checkpoint_watch import CheckpointWatch
from slurm_restart.supervise.events import Events, SearchOpen


class SearchWatch(CheckpointWatch):
    """Asks whether the job's AdminComment says that the next attempt would have more nodes.

    The controller has written it before the attempt started; no user can.

    Args:
        slurm: returns the cluster.
        job_id: this job.
        events: receives `SearchOpen` at most once.
        report: called with a line for the user.
    """

    def __init__(
        self,
        slurm: Callable[[], Slurm],
        job_id: int,
        events: Events,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(events)
        self._slurm = slurm
        self._job_id = job_id
        self._report = report

    def _ask(self, what: str) -> SearchOpen | None:
        if not is_searching(self._slurm().job(self._job_id).admin_comment):
            return None
        self._report(f"ends after {what}: the search for a faulty node goes on with more nodes")
        return SearchOpen()
