"""Wait for the threads of an attempt, less long once Slurm is about to kill this process."""

import queue
import threading
import time
from contextlib import suppress

from slurm_restart.supervise.events import Events, SignalReceived
from slurm_restart.supervise.stall_monitor import StallMonitor
from slurm_restart.supervise.stop_request import STOP_REASONS
from slurm_restart.supervise.trainer_end import StopReason

HURRIED_TIMEOUT = 8.0
"""Seconds for all waits together once Slurm is about to kill this process."""
FINAL_UPDATE_TIMEOUT = 20.0
"""Seconds each for the final update of the Comment and of the records."""
_POLL = 0.1
"""Seconds between two looks for a signal."""


class Ending:
    """Knows whether Slurm kills this process soon, and waits for threads accordingly.

    Args:
        events: the supervisor's, where signals arrive.
        stalls: knows the threads that wait for files.
    """

    def __init__(self, events: Events, stalls: StallMonitor) -> None:
        self._events = events
        self._stalls = stalls
        self._hurried_at: float | None = None
        """Since when Slurm is about to kill this process; monotonic."""
        self._asked_to_end = False

    @property
    def is_hurried(self) -> bool:
        """Whether Slurm kills this process soon."""
        return self._hurried_at is not None

    def is_asked_to_end(self) -> bool:
        """Return whether a signal to end has arrived since the trainer's end."""
        self._note_signals()
        return self._asked_to_end or self.is_hurried

    def hurry(self, stop: StopReason) -> None:
        """Shorten all waits from now on if Slurm kills this process soon."""
        if stop is StopReason.TERMINATED and self._hurried_at is None:
            self._hurried_at = time.monotonic()

    def take_time(self) -> None:
        """No longer shorten the waits: no KILL follows."""
        self._hurried_at = None

    def await_end(self, thread: threading.Thread, timeout: float, *, share: float = 1.0) -> bool:
        """Wait for the end of a thread; a signal that ends the job shortens the wait.

        Args:
            thread: the thread.
            timeout: in seconds.
            share: the part of HURRIED_TIMEOUT after that signal at which the wait ends.

        Returns:
            Whether it has ended.
        """
        deadline = time.monotonic() + timeout
        while thread.is_alive():
            self._note_signals()
            if self._hurried_at is not None:
                deadline = min(deadline, self._hurried_at + HURRIED_TIMEOUT * share)
                if self._stalls.is_stalled(thread):
                    return False
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            thread.join(min(left, _POLL))
        return True

    def await_final_update(self, thread: threading.Thread) -> bool:
        """Wait for a thread that writes the end of the attempt; return whether it has ended."""
        return self.await_end(thread, FINAL_UPDATE_TIMEOUT)

    def _note_signals(self) -> None:
        """Handle the events of a trainer that has ended: only a signal still matters."""
        with suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if isinstance(event, SignalReceived) and (stop := STOP_REASONS[event.number]):
                    self._asked_to_end = True
                    self.hurry(stop)
