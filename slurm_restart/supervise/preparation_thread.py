"""Preparation in a thread, as it reads and writes file systems that may hang."""

import threading
import time

from slurm_restart.supervise.events import AttemptPrepared, Events, PlanLoaded, PreparationFailed
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.prepare_attempt import prepare
from slurm_restart.trainer.plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir


class Preparation(threading.Thread):
    """Reads the plan and prepares the attempt; says so as events."""

    def __init__(self, run_dir: RunDir, job: JobEnvironment, events: Events) -> None:
        super().__init__(name="preparation", daemon=True)
        self._run_dir = run_dir
        self._job = job
        self._events = events
        self.attempt: AttemptDir | None = None
        """Its directory, once that is made."""

    def run(self) -> None:
        """Prepare."""
        try:
            self._prepare()
        except Exception as error:  # noqa: BLE001 - else nobody would hear of it, and all would wait
            self._events.put(PreparationFailed(error))

    def _prepare(self) -> None:
        # A file system that is not there on this node is not the same as a plan that is wrong.
        self._run_dir.plan.stat()
        plan = RunPlan.load(self._run_dir.plan)
        self._events.put(PlanLoaded(plan))
        self.attempt = self._run_dir.new_attempt()
        prepared = prepare(plan, self._run_dir, self.attempt, self._job, clock=time.time)
        self._events.put(AttemptPrepared(prepared))
