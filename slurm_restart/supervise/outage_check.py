"""Cut short the wait for what has failed outside of a job, once its health check passes again.

The wait before a restart in place leaves the nodes idle. Only a check that has failed in this wait
tells that it is over: one that passes all the time does not look at what has failed.
"""

import threading
import time
from collections.abc import Callable
from contextlib import suppress

from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.node_health import DueCheck, passes
from slurm_restart.trainer import runlog

PAUSE = 10.0
"""Seconds until the first check, and between two."""


class OutageCheck(threading.Thread):
    """Checks the nodes of an attempt again and again.

    Args:
        due: the check.
        job: the allocation.
        slurm: returns the cluster.
    """

    def __init__(self, due: DueCheck, job: JobEnvironment, slurm: Callable[[], Slurm]) -> None:
        super().__init__(name="outage-check", daemon=True)
        self._due = due
        self._job = job
        self._slurm = slurm
        self._finish = threading.Event()
        self.is_over = False
        """Whether the check has failed, and passes now."""

    def run(self) -> None:
        """Check until that passes, or tells nothing."""
        has_failed = False
        while not self._finish.wait(PAUSE):
            result = passes(self._due, self._job, self._slurm)
            if result is None or (result and not has_failed):
                return
            if result:
                self._log("the health check passes again: the wait is cut short")
                self.is_over = True
                return
            has_failed = True

    def finish(self) -> None:
        """Begin no further check."""
        self._finish.set()

    def _log(self, text: str) -> None:
        with suppress(OSError):
            line = runlog.line(runlog.MAIN, text, at=time.time())
            runlog.append(self._due.run_dir.log, line)
