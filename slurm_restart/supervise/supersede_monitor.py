"""Detect that another attempt of the run has begun, so that no two trainers write at once.

A node that Slurm has marked down may still be running and reach the file system. The job runs
again on other nodes then, and the processes here must end.
"""

import os
import threading

from slurm_restart.supervise.events import Events, Superseded
from slurm_restart.supervise.stall_monitor import StallMonitor
from slurm_restart.trainer.rundir import AttemptDir

INTERVAL = 5.0
"""Seconds between two checks."""


class SupersedeMonitor(threading.Thread):
    """Checks for the directory of the next attempt.

    Args:
        attempt: the directory of this attempt.
        events: receives `Superseded` at most once.
        stalls: is told of each access to files.
    """

    def __init__(self, attempt: AttemptDir, events: Events, stalls: StallMonitor) -> None:
        super().__init__(name="supersede-monitor", daemon=True)
        self._next = attempt.path.with_name(str(attempt.number + 1))
        self._events = events
        self._stalls = stalls
        self._stopped = threading.Event()

    def stop(self) -> None:
        """End the checks."""
        self._stopped.set()

    def run(self) -> None:
        """Check until the directory exists or `stop` is called."""
        while not self._stopped.wait(INTERVAL):
            with self._stalls.access(str(self._next)):
                # On an error, or if this attempt's directory was removed, isdir returns False.
                found = os.path.isdir(self._next)  # noqa: PTH112 - called every few seconds for days
            if found:
                self._events.put(Superseded())
                return
