"""Copy the trainer's output to Slurm's log and output.log, and scan it for findings.

If one sink cannot be written (disk full, I/O error, reader gone), the others still get everything,
and the trainer never sees an error.
"""

import re
import sys
import threading
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slurm_restart.core.finding import Finding
from slurm_restart.supervise.file_sink import FileSink
from slurm_restart.supervise.output_pipe import CHUNK, OutputPipe
from slurm_restart.supervise.output_sink import Sink

MAX_KEPT = 4 << 20
"""Bytes of the output after a hang was called; a stack of one thread takes about a kilobyte."""
_PIPE_SIZE = 1 << 20
_F_SETPIPE_SZ = 1031
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

    @property
    def lines(self) -> int:
        """Number of lines so far."""


class Reader(Protocol):
    """Reads something from the output."""

    def feed(self, chunk: bytes) -> None:
        """Read the next bytes."""


class Target(Protocol):
    """What the output is copied to."""

    def write(self, data: bytes) -> None:
        """Write all data, or count it as lost."""

    def finish(self) -> None:
        """Write what is queued."""


@dataclass(frozen=True, slots=True)
class ErrorOutput:
    """The trainer's standard error, where --error of sbatch puts it apart from its output."""

    source: OutputPipe
    sink: Target
    """What it is copied to, beside the sinks that both have."""


class OutputTee(threading.Thread):
    """Copies until all writers of the pipe are gone.

    Args:
        source: its pipe.
        sinks: what the output is copied to; the first gets no standard error that is apart.
        scanner: scans the output.
        warn: called with a message if the scanner fails.
        readers: each gets the output and standard error.
        errors: the standard error; None: it is in the output.
    """

    def __init__(
        self,
        source: OutputPipe,
        sinks: tuple[Target, ...],
        scanner: Scanner,
        warn: Callable[[str], None],
        readers: Sequence[Reader] = (),
        *,
        errors: ErrorOutput | None = None,
    ) -> None:
        super().__init__(name="output-tee", daemon=True)
        self._readers = readers
        self._errors = errors
        self._shared = threading.Lock()
        """Held while a chunk goes to the sinks that output and standard error have in common."""
        self._source = source
        self._sinks = sinks
        self._scanner = scanner
        self._scanning = True
        self._scanner_lock = threading.Lock()
        self._warn = warn
        self._tail = b""
        self._kept: bytearray | None = None
        self.last_output_at = time.monotonic()
        """Time of the last output, by the monotonic clock."""
        self.job_ids: dict[str, list[str]] = {"compile": [], "execute": []}
        """The CSX cluster's jobs, in the order in which the output named them."""

    def run(self) -> None:
        """Copy and scan until the end of the pipe, or of both."""
        reader = None
        if self._errors is not None:
            reader = threading.Thread(
                target=self._copy_errors, args=(self._errors,), name="error-tee", daemon=True
            )
            reader.start()
        _enlarge(self._source.handle)
        while chunk := self._source.read():
            for sink in self._sinks[:1]:
                sink.write(chunk)
            self._share(chunk)
        if reader is not None:
            reader.join()
        for sink in self._sinks:
            sink.finish()

    def _copy_errors(self, errors: ErrorOutput) -> None:
        """Copy standard error; the common sinks get whole lines, which output does not cut."""
        begun = b""
        while chunk := errors.source.read():
            errors.sink.write(chunk)
            lines, newline, begun = (begun + chunk).rpartition(b"\n")
            if len(begun) > CHUNK:
                lines, newline, begun = lines + newline + begun, b"", b""
            if lines or newline:
                self._share(lines + newline)
        if begun:
            self._share(begun + b"\n")  # output may follow
        errors.sink.finish()

    def _share(self, chunk: bytes) -> None:
        with self._shared:
            self.last_output_at = time.monotonic()
            for sink in self._sinks[1:]:
                sink.write(chunk)
            if self._kept is not None and len(self._kept) < MAX_KEPT:
                self._kept += chunk
            self._scan(chunk)
            for reader in self._readers:
                reader.feed(chunk)

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

    def keep(self) -> None:
        """Keep what comes from now on, up to `MAX_KEPT` bytes, for `kept`."""
        with self._shared:
            self._kept = bytearray()

    def kept(self) -> bytes:
        """Return the output since `keep` was called; empty if it was not."""
        with self._shared:
            return bytes(self._kept or b"")

    def printed(self) -> int:
        """Return the number of lines of the output that has been copied."""
        with self._scanner_lock:
            return self._scanner.lines

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
    source: OutputPipe,
    path: Path,
    scanner: Scanner,
    warn: Callable[[str], None],
    watch: Callable[[str], AbstractContextManager[None]],
    *,
    readers: Sequence[Reader] = (),
    errors: OutputPipe | None = None,
) -> OutputTee:
    """Return the thread that copies the trainer's output to Slurm's log and to a file.

    Args:
        source: the pipe to read from.
        path: the file, which is opened and written in another thread.
        scanner: scans the output.
        warn: called with a message about a sink that cannot be written.
        watch: entered with the path around each access to the file.
        readers: as in `OutputTee`.
        errors: the pipe of standard error, which Slurm has another log for; None: it is in the
            output.
    """
    apart = None
    if errors is not None:
        apart = ErrorOutput(errors, Sink("Slurm's error log", sys.stderr.fileno(), warn))
    file = FileSink(str(path), warn, watch)
    file.start()
    sinks = (Sink("Slurm's log", sys.stdout.fileno(), warn), file)
    return OutputTee(source, sinks, scanner, warn, readers, errors=apart)
