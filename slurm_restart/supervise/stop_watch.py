"""End a run that a person wants to stop, once a checkpoint is complete."""

from collections.abc import Callable

from slurm_restart.core.job_comment import parse_comment
from slurm_restart.errors import CommentRecordError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.checkpoint_watch import CheckpointWatch
from slurm_restart.supervise.events import Events, StopWanted
from slurm_restart.supervise.job_environment import JobEnvironment


class StopWatch(CheckpointWatch):
    """Asks whether the job's Comment says that the run is to end (`csx-restart stop`).

    Args:
        slurm: returns the cluster.
        job: this job.
        run: the run id.
        events: receives `StopWanted` at most once.
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

    def _ask(self, what: str) -> StopWanted | None:
        if self._job.job_id is None:
            return None
        try:
            record = parse_comment(self._slurm().job(self._job.job_id).comment)
        except CommentRecordError:
            return None
        if record.run != self._run_id or not record.is_stopped(self._job.restarts):
            return None
        self._report(f"stopped after {what}: a person wanted it (csx-restart stop)")
        return StopWanted()
