"""Copy the trainer's output to Slurm's log and output.log, and scan it for findings.

If one sink cannot be written (disk full, I/O error, reader gone), the others still get everything,
and the trainer never sees an error.
"""

import errno
import os
import re
import sys
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from slurm_restart.core.finding import Finding

CHUNK = 1 << 16
_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031
_RETRY = 1.0
"""Seconds between attempts to write to a sink that has failed."""
_JOB_ID = re.compile(
    rb"([Cc]ompile|[Ee]xecute) job id: (wsjob-[A-Za-z0-9_-]{1,64})(?=[^A-Za-z0-9_-])"
)
_OVERLAP = 128
"""Bytes of a chunk that are searched again with the next one: longer than a job id line."""


class Scanner(Protocol):
    """Finds causes of failures in the output."""

    def feed(self, chunk: bytes) -> None:
        """Scan the next bytes."""

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings so far."""


class Sink:
    """One file that the output is copied to.

    Args:
        name: its name in messages.
        handle: a file descriptor to write to; None: it could not be opened.
        warn: called with a message when writing fails, and when it works again.
    """

    def __init__(self, name: str, handle: int | None, warn: Callable[[str], None]) -> None:
        self._name = name
        self._handle = handle
        self._warn = warn
        self._lost = 0
        self._retry_at = 0.0

    def write(self, data: bytes) -> None:
        """Write all data, or count it as lost."""
        if self._handle is None:
            return
        if self._lost and time.monotonic() < self._retry_at:
            self._lost += len(data)
            return
        try:
            if self._lost:
                self._write(f"\n[csx-restart: {self._lost} bytes of output lost]\n".encode())
                self._warn(f"{self._name}: writable again, {self._lost} bytes were lost")
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
            self._warn(f"{self._name}: cannot be written: {error.strerror}")
        self._lost += lost
        self._retry_at = time.monotonic() + _RETRY
        if error.errno in (errno.EPIPE, errno.EBADF):
            # The reader is gone for good.
            self._handle = None


class OutputTee(threading.Thread):
    """Copies until all writers of the pipe are gone.

    Args:
        source: the reading end of the pipe.
        sinks: what the output is copied to.
        scanner: scans the output.
        warn: called with a message if the scanner fails.
    """

    def __init__(
        self,
        source: int,
        sinks: tuple[Sink, ...],
        scanner: Scanner,
        warn: Callable[[str], None],
    ) -> None:
        super().__init__(name="output-tee", daemon=True)
        self._source = source
        self._sinks = sinks
        self._scanner = scanner
        self._scanning = True
        self._scanner_lock = threading.Lock()
        self._warn = warn
        self._tail = b""
        self.last_output_at = time.monotonic()
        """Time of the last output, by the monotonic clock."""
        self.job_ids: dict[str, list[str]] = {"compile": [], "execute": []}
        """The CSX cluster's jobs, in the order in which the output named them."""

    def run(self) -> None:
        """Copy and scan until the end of the pipe."""
        _enlarge(self._source)
        while chunk := os.read(self._source, CHUNK):
            self.last_output_at = time.monotonic()
            for sink in self._sinks:
                sink.write(chunk)
            self._scan(chunk)

    def _scan(self, chunk: bytes) -> None:
        text, self._tail = self._tail + chunk, chunk[-_OVERLAP:]
        if b"ob id: wsjob-" in text:
            for kind, name in _JOB_ID.findall(text):
                known = self.job_ids[kind.decode().lower()]
                if name.decode() not in known:
                    known.append(name.decode())
        if not self._scanning:
            return
        try:
            with self._scanner_lock:
                self._scanner.feed(chunk)
        except Exception as error:  # noqa: BLE001 - a fault of the scanner must not stop the copying
            self._scanning = False
            self._warn(f"the output is not scanned any more: {type(error).__name__}: {error}")

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings in the output that has been copied."""
        with self._scanner_lock:
            return self._scanner.findings()


def _enlarge(pipe: int) -> None:
    import fcntl  # noqa: PLC0415 - used once

    try:
        fcntl.fcntl(pipe, _F_SETPIPE_SZ, _PIPE_SIZE)
    except OSError:
        # Above the user's limit for pipes: the default size is kept.
        return


def open_output_tee(
    source: int, path: Path, scanner: Scanner, warn: Callable[[str], None]
) -> OutputTee:
    """Return the thread that copies the trainer's output to Slurm's log and to a file.

    Args:
        source: the file descriptor to read from.
        path: the file; if it cannot be opened, that is reported and only Slurm's log is written.
        scanner: scans the output.
        warn: called with a message about a sink that cannot be written.
    """
    name = str(path)
    handle: int | None = None
    try:
        handle = os.open(name, os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
    except OSError as error:
        warn(f"{name}: cannot be written: {error.strerror}")
    sinks = (Sink("Slurm's log", sys.stdout.fileno(), warn), Sink(name, handle, warn))
    return OutputTee(source, sinks, scanner, warn)
