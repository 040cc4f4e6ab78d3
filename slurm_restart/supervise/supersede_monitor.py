"""Notices that another attempt of the run has begun, so that no two trainers write at once.

A node that Slurm has given up may still be alive and reach the file system. The job runs again
elsewhere, and what is still running here has to end.
"""

import os
import threading

from slurm_restart.supervise.events import Events, Superseded
from slurm_restart.trainer.rundir import AttemptDir

INTERVAL = 5.0


class SupersedeMonitor(threading.Thread):
    """Looks for the directory of the next attempt.

    Args:
        attempt: this one.
        events: where it is told.
    """

    def __init__(self, attempt: AttemptDir, events: Events) -> None:
        super().__init__(name="fence", daemon=True)
        self._next = attempt.path.with_name(str(attempt.number + 1))
        self._events = events
        self._over = threading.Event()

    def stop(self) -> None:
        """Look no more."""
        self._over.set()

    def run(self) -> None:
        """Look until it is there."""
        while not self._over.wait(INTERVAL):
            # An error says nothing, and a directory that is removed is not another attempt.
            if os.path.isdir(self._next):  # noqa: PTH112 - called every few seconds for days
                self._events.put(Superseded())
                return
