"""Prepare the attempt in a thread, as the file systems that it uses may hang."""

import threading
import time

from slurm_restart.supervise.events import AttemptPrepared, Events, PlanLoaded, PreparationFailed
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.prepare_attempt import prepare
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir
from slurm_restart.trainer.task_directory import make_task_directory


class PreparationThread(threading.Thread):
    """Loads the plan and prepares the attempt.

    Args:
        run_dir: the phase's directory.
        job: the allocation.
        events: receives `PlanLoaded` and `AttemptPrepared`, or `PreparationFailed`.
        array_dir: the directory of the job array that this job is a task of; None: it is none.
    """

    def __init__(
        self, run_dir: RunDir, job: JobEnvironment, events: Events, array_dir: RunDir | None = None
    ) -> None:
        super().__init__(name="preparation", daemon=True)
        self._run_dir = run_dir
        self._array_dir = array_dir
        self._job = job
        self._events = events
        self.attempt: AttemptDir | None = None
        """The attempt's directory once it has been created."""

    def run(self) -> None:
        """Prepare the attempt and put the result into the queue."""
        try:
            self._prepare()
        except Exception as error:  # noqa: BLE001 - else the main thread would wait until its timeout
            self._events.put(PreparationFailed(error))

    def _prepare(self) -> None:
        if self._array_dir is not None and self._job.array_task is not None:
            make_task_directory(self._array_dir, self._job.array_task)
        # An absent file system raises OSError here; `load` would report an invalid plan.
        self._run_dir.plan.stat()
        plan = RunPlan.load(self._run_dir.plan)
        self._events.put(PlanLoaded(plan))
        self.attempt = self._run_dir.new_attempt()
        prepared = prepare(plan, self._run_dir, self.attempt, self._job, clock=time.time)
        self._events.put(AttemptPrepared(prepared))
