"""Detect that another attempt of the run has begun, so that no two trainers write at once.

A node that Slurm has marked down may still be running and reach the file system. The job runs
again on other nodes then, and the processes here must end.
"""

import os
import threading

from slurm_restart.supervise.events import Events, Superseded
from slurm_restart.supervise.stall_monitor import StallMonitor
from slurm_restart.trainer.attempt_records import Fence
from slurm_restart.trainer.rundir import AttemptDir

INTERVAL = 5.0
"""Seconds between two checks."""


class SupersedeMonitor(threading.Thread):
    """Checks, at once, then every few seconds, and at last, for a fence after this attempt's.

    Args:
        attempt: the directory of this attempt.
        fence: its fence; None: it has none.
        events: receives `Superseded` at most once.
        stalls: is told of each access to files.
    """

    def __init__(
        self, attempt: AttemptDir, fence: Fence | None, events: Events, stalls: StallMonitor
    ) -> None:
        super().__init__(name="supersede-monitor", daemon=True)
        self._attempt = attempt
        self._next = _after(attempt)
        self._fence = fence
        self._events = events
        self._stalls = stalls
        self._seen: str | None = None
        self._stopped = threading.Event()
        self.found = False
        """Whether there is one."""

    def stop(self) -> None:
        """End the checks with a last one."""
        self._stopped.set()

    def run(self) -> None:
        """Check until there is a later fence, or once more when `stop` has been called."""
        is_last = False
        while True:
            with self._stalls.access(str(self._next.path)):
                self.found = self._is_superseded()
            if self.found:
                self._events.put(Superseded())
            if self.found or is_last:
                return
            is_last = self._stopped.wait(INTERVAL)

    def _is_superseded(self) -> bool:
        own = None if self._fence is None else self._attempt.fence()
        # If this attempt's directory was removed, nothing is known of others.
        if own is not None and self._fence is not None and own.token != self._fence.token:
            return True
        # On an error isdir returns False.
        while os.path.isdir(self._next.path):  # noqa: PTH112 - called every few seconds for days
            other = self._next.fence()
            if other is None or self._fence is None or not other.is_before(self._fence):
                return other is not None or self._is_seen_again()
            self._next = _after(self._next)
        return False

    def _is_seen_again(self) -> bool:
        """Whether a directory has still no fence: one of an earlier release, or not readable."""
        path = str(self._next.path)
        again, self._seen = self._seen == path, path
        return again


def _after(attempt: AttemptDir) -> AttemptDir:
    number = attempt.number + 1
    return AttemptDir(attempt.path.with_name(str(number)), number)
