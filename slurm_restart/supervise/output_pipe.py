"""Read the trainer's output from its pipe, and know since when the next bytes must be written."""

import math
import os
import select
import time

CHUNK = 1 << 16
WATCHED = 60.0
"""Seconds from the first read in which an empty pipe is looked at again and again."""
_LOOK = 20
"""Milliseconds from one look to the next: less than srun takes to start a task."""


class OutputPipe:
    """A pipe of the trainer's; one thread reads.

    Args:
        handle: its reading end, a file descriptor.
    """

    def __init__(self, handle: int) -> None:
        self.handle = handle
        self.empty_at = -math.inf
        """When the pipe was last seen empty before the bytes that `read` has returned last: they
        were written later. By the clock CLOCK_BOOTTIME, in seconds."""
        self._poll = select.poll()
        self._poll.register(handle, select.POLLIN)
        self._watched_until: float | None = None

    def read(self) -> bytes:
        """Return the next bytes; empty at the end of the file."""
        self._look()
        return os.read(self.handle, CHUNK)

    def writes_to(self, pid: int) -> bool:
        """Return whether the standard error of a process goes into this pipe."""
        try:
            stream = os.stat(f"/proc/{pid}/fd/2")  # noqa: PTH116 - cheaper than Path
            return os.path.samestat(stream, os.fstat(self.handle))
        except OSError:
            return False

    def _look(self) -> None:
        """Wait for output, for a while; `empty_at` is then exact to `_LOOK`."""
        now = _clock()
        if self._watched_until is None:
            self._watched_until = now + WATCHED
        while now < self._watched_until and not self._poll.poll(_LOOK):
            # Not the time after that look: this thread may have had to wait for a CPU since.
            self.empty_at = now
            now = _clock()


def _clock() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)
