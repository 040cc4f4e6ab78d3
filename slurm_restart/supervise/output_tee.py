"""The trainer's output: copied as it comes to Slurm's log and output.log, and read for its meaning.

A place that cannot take it (disk full, I/O error, reader gone) costs the others nothing, and the
trainer is never told.
"""

import errno
import os
import re
import threading
import time
from collections.abc import Callable
from typing import Protocol

from slurm_restart.core.finding import Finding

CHUNK = 1 << 16
_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031
_RETRY = 1.0
"""Seconds between attempts to write to a place that has failed."""
_JOB_ID = re.compile(
    rb"([Cc]ompile|[Ee]xecute) job id: (wsjob-[A-Za-z0-9_-]{1,64})(?=[^A-Za-z0-9_-])"
)
_OVERLAP = 128


class Scanner(Protocol):
    """Whatever reads the output."""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes."""

    def findings(self) -> tuple[Finding, ...]:
        """What they said so far."""


class Sink:
    """One place that the output goes to.

    Args:
        name: for messages.
        handle: a descriptor to write to; None: it could not be opened.
        tell: called with a message when writing fails, and when it works again.
    """

    def __init__(self, name: str, handle: int | None, tell: Callable[[str], None]) -> None:
        self._name = name
        self._handle = handle
        self._tell = tell
        self._lost = 0
        self._retry_at = 0.0

    def write(self, data: bytes) -> None:
        """Write all of it, or note that it was lost."""
        if self._handle is None:
            return
        if self._lost and time.monotonic() < self._retry_at:
            self._lost += len(data)
            return
        try:
            if self._lost:
                self._write(f"\n[csx-restart: {self._lost} bytes of output lost]\n".encode())
                self._tell(f"{self._name}: writable again, {self._lost} bytes were lost")
                self._lost = 0
            self._write(data)
        except OSError as error:
            self._fail(error, len(data))

    def _write(self, data: bytes) -> None:
        assert self._handle is not None  # noqa: S101 - for the type checker
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]

    def _fail(self, error: OSError, lost: int) -> None:
        if not self._lost:
            self._tell(f"{self._name}: cannot be written: {error.strerror}")
        self._lost += lost
        self._retry_at = time.monotonic() + _RETRY
        if error.errno in (errno.EPIPE, errno.EBADF):
            # Nobody will ever read there again.
            self._handle = None


class OutputTee(threading.Thread):
    """Copies until all writers of the pipe are gone.

    Args:
        source: the reading end of the pipe.
        sinks: where it goes.
        scanner: what reads it.
        tell: called with a message if the scanner fails.
    """

    def __init__(
        self,
        source: int,
        sinks: tuple[Sink, ...],
        scanner: Scanner,
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(name="output", daemon=True)
        self._source = source
        self._sinks = sinks
        self._scanner = scanner
        self._reading = True
        self._turn = threading.Lock()
        self._tell = tell
        self._tail = b""
        self.last = time.monotonic()
        """When the trainer last said something, by the monotonic clock."""
        self.job_ids: dict[str, list[str]] = {"compile": [], "execute": []}
        """The CSX cluster's jobs, in the order in which the output named them."""

    def run(self) -> None:
        """Copy."""
        _widen(self._source)
        while chunk := os.read(self._source, CHUNK):
            self.last = time.monotonic()
            for sink in self._sinks:
                sink.write(chunk)
            self._read(chunk)

    def _read(self, chunk: bytes) -> None:
        text, self._tail = self._tail + chunk, chunk[-_OVERLAP:]
        if b"ob id: wsjob-" in text:
            for kind, name in _JOB_ID.findall(text):
                known = self.job_ids[kind.decode().lower()]
                if name.decode() not in known:
                    known.append(name.decode())
        if not self._reading:
            return
        try:
            with self._turn:
                self._scanner.feed(chunk)
        except Exception as error:  # noqa: BLE001 - a fault in reading must not stop the copying
            self._reading = False
            self._tell(f"the output is not read any more: {type(error).__name__}: {error}")

    def findings(self) -> tuple[Finding, ...]:
        """What the output said, as far as it has been copied."""
        with self._turn:
            return self._scanner.findings()


def _widen(pipe: int) -> None:
    import fcntl  # noqa: PLC0415 - used once

    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_SIZE)
    except OSError:
        # Above the user's limit for pipes; it works with the usual size as well.
        return
