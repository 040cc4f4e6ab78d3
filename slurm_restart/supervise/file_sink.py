"""Write the trainer's output to a file in a thread, as the file system may hang."""

import os
import queue
import threading
from collections.abc import Callable
from contextlib import AbstractContextManager

from slurm_restart.supervise.output_sink import Sink

MAX_QUEUED = 4 << 20
"""Bytes that are kept while the file cannot be written; what comes after them is lost."""


class FileSink(threading.Thread):
    """Appends to a file; `write` never waits for it.

    Args:
        path: the file; if it cannot be opened, that is reported and nothing is written.
        warn: called with a message when writing fails, and when it works again.
        watch: entered with the path around each access to the file.
    """

    def __init__(
        self,
        path: str,
        warn: Callable[[str], None],
        watch: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        super().__init__(name="output-file", daemon=True)
        self._path = path
        self._warn = warn
        self._watch = watch
        self._chunks: queue.SimpleQueue[bytes | None] = queue.SimpleQueue()
        self._lock = threading.Lock()
        self._queued = 0
        self._lost = 0

    def write(self, data: bytes) -> None:
        """Queue data; if too much is waiting already, count it as lost."""
        with self._lock:
            if self._queued + len(data) > MAX_QUEUED:
                self._lost += len(data)
                return
            if self._lost:
                data = f"\n[csx-restart: {self._lost} bytes of output lost]\n".encode() + data
                self._lost = 0
            self._queued += len(data)
        self._chunks.put(data)

    def finish(self) -> None:
        """Wait until all that is queued is written."""
        self._chunks.put(None)
        self.join()

    def run(self) -> None:
        """Write until `finish` is called."""
        with self._watch(self._path):
            sink = Sink(self._path, self._open(), self._warn)
        while (data := self._chunks.get()) is not None:
            with self._watch(self._path):
                sink.write(data)
            with self._lock:
                self._queued -= len(data)
        sink.close()

    def _open(self) -> int | None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
        try:
            return os.open(self._path, flags, 0o644)
        except OSError as error:
            self._warn(f"{self._path}: cannot be written: {error.strerror}")
            return None
