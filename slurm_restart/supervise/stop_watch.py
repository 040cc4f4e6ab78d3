"""End an attempt once a checkpoint is complete: for a person, or for the search for a node."""

from collections.abc import Callable

from slurm_restart.core.job_comment import parse_comment
from slurm_restart.core.slurm_operations import SearchMark, read_search_mark
from slurm_restart.errors import CommentRecordError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.checkpoint_watch import CheckpointWatch
from slurm_restart.supervise.events import Events, SearchOpen, StopWanted
from slurm_restart.supervise.job_environment import JobEnvironment


class StopWatch(CheckpointWatch):
    """Asks whether the job's Comment says that the run is to end (`csx-restart stop`).

    Or its AdminComment, in which no user can write, that the search for a faulty node goes on: the
    attempt ends for it once it has made progress.

    Args:
        slurm: returns the cluster.
        job: this job.
        run: the run id.
        events: receives `StopWanted` or `SearchOpen` at most once.
        report: called with a line for the user.
    """

    def __init__(
        self,
        slurm: Callable[[], Slurm],
        job: JobEnvironment,
        run: str,
        events: Events,
        report: Callable[[str], None],
    ) -> None:
        super().__init__(events)
        self._slurm = slurm
        self._job = job
        self._run_id = run
        self._report = report

    def _ask(self, what: str) -> StopWanted | SearchOpen | None:
        if self._job.job_id is None:
            return None
        job = self._slurm().job(self._job.job_id)
        if self._is_stopped(job.comment):
            self._report(f"stopped after {what}: a person wanted it (csx-restart stop)")
            return StopWanted()
        is_open = read_search_mark(job.admin_comment) is SearchMark.OPEN
        if self._made_progress and is_open:
            self._report(f"ends after {what}: the search for a faulty node goes on")
            return SearchOpen()
        return None

    def _is_stopped(self, comment: str) -> bool:
        try:
            record = parse_comment(comment)
        except CommentRecordError:
            return False
        return record.run == self._run_id and record.is_stopped(self._job.restarts)
