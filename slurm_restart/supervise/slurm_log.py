"""Write messages to Slurm's log in a thread, as its file system may hang."""

import os
import queue
import threading
from contextlib import suppress

_STDERR = 2


class SlurmLog(threading.Thread):
    """Writes lines to Slurm's log, which is this process's standard error, one system call each."""

    def __init__(self) -> None:
        super().__init__(name="slurm-log", daemon=True)
        self._lines: queue.SimpleQueue[str | threading.Event | None] = queue.SimpleQueue()

    def write(self, message: str) -> None:
        """Add a line; returns at once."""
        self._lines.put(message)

    def flush(self, timeout: float) -> None:
        """Wait until all lines so far are written, at most `timeout` seconds."""
        written = threading.Event()
        self._lines.put(written)
        written.wait(timeout)

    def finish(self) -> None:
        """Let the thread end once all lines are written; returns at once."""
        self._lines.put(None)

    def run(self) -> None:
        """Write until `finish` is called."""
        while (message := self._lines.get()) is not None:
            if isinstance(message, threading.Event):
                message.set()
                continue
            with suppress(OSError):
                os.write(_STDERR, f"csx-restart: {message}\n".encode("utf-8", "replace"))
