"""Detect that another attempt of the run has begun, so that no two trainers write at once.

A node that Slurm has marked down may still be running and reach the file system. The job runs
again on other nodes then, and the processes here must end.
"""

import os
import threading

from slurm_restart.supervise.events import Events, Superseded
from slurm_restart.trainer.rundir import AttemptDir

INTERVAL = 5.0
"""Seconds between two checks."""


class SupersedeMonitor(threading.Thread):
    """Checks for the directory of the next attempt.

    Args:
        attempt: the directory of this attempt.
        events: receives `Superseded` at most once.
    """

    def __init__(self, attempt: AttemptDir, events: Events) -> None:
        super().__init__(name="supersede-monitor", daemon=True)
        self._next = attempt.path.with_name(str(attempt.number + 1))
        self._events = events
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the checks."""
        self._stopped.set()

    def run(self) -> None:
        """Check until the directory exists or `stop` is called."""
        while not self._stopped.wait(INTERVAL):
            # On an error, or if this attempt's directory was removed, isdir returns False.
            if os.path.isdir(self._next):  # noqa: PTH112 - called every few seconds for days
                self._events.put(Superseded())
                return
