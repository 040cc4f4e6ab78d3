"""Copy the trainer's output to Slurm's log and output.log, and scan it for findings.

If one sink cannot be written (disk full, I/O error, reader gone), the others still get everything,
and the trainer never sees an error.
"""

import os
import re
import sys
import threading
import time
from collections.abc import Callable
from contextlib import AbstractContextManager
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from slurm_restart.core.finding import Finding
from slurm_restart.supervise.file_sink import FileSink
from slurm_restart.supervise.life_signs import LifeSigns
from slurm_restart.supervise.output_sink import Sink
from slurm_restart.supervise.output_steps import OutputSteps

CHUNK = 1 << 16
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


class Target(Protocol):
    """What the output is copied to."""

    def write(self, data: bytes) -> None:
        """Write all data, or count it as lost."""

    def finish(self) -> None:
        """Write what is queued."""


@dataclass(frozen=True, slots=True)
class ErrorOutput:
    """The trainer's standard error, where --error of sbatch puts it apart from its output."""

    source: int
    """The reading end of its pipe."""
    sink: Target
    """What it is copied to, beside the sinks that both have."""


class OutputTee(threading.Thread):
    """Copies until all writers of the pipe are gone.

    Args:
        source: the reading end of the pipe.
        sinks: what the output is copied to; the first gets no standard error that is apart.
        scanner: scans the output.
        warn: called with a message if the scanner fails.
        steps: searches the output for steps; None: nothing does.
        errors: the standard error; None: it is in the output.
        signs: reads signs of life from the output; None: nothing does.
    """

    def __init__(
        self,
        source: int,
        sinks: tuple[Target, ...],
        scanner: Scanner,
        warn: Callable[[str], None],
        steps: OutputSteps | None = None,
        *,
        errors: ErrorOutput | None = None,
        signs: LifeSigns | None = None,
    ) -> None:
        super().__init__(name="output-tee", daemon=True)
        self._steps = steps
        self._signs = signs
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
        _enlarge(self._source)
        while chunk := os.read(self._source, CHUNK):
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
        while chunk := os.read(errors.source, CHUNK):
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
            self._scan(chunk)
            if self._steps is not None:
                self._steps.feed(chunk)
            if self._signs is not None:
                self._signs.feed(chunk)

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
    source: int,
    path: Path,
    scanner: Scanner,
    warn: Callable[[str], None],
    watch: Callable[[str], AbstractContextManager[None]],
    *,
    steps: OutputSteps | None = None,
    errors: int | None = None,
    signs: LifeSigns | None = None,
) -> OutputTee:
    """Return the thread that copies the trainer's output to Slurm's log and to a file.

    Args:
        source: the file descriptor to read from.
        path: the file, which is opened and written in another thread.
        scanner: scans the output.
        warn: called with a message about a sink that cannot be written.
        watch: entered with the path around each access to the file.
        steps: as in `OutputTee`, and so `signs`.
        errors: the file descriptor to read standard error from, which Slurm has another log for;
            None: it is in the output.
        signs: as in `OutputTee`.
    """
    apart = None
    if errors is not None:
        apart = ErrorOutput(errors, Sink("Slurm's error log", sys.stderr.fileno(), warn))
    file = FileSink(str(path), warn, watch)
    file.start()
    sinks = (Sink("Slurm's log", sys.stdout.fileno(), warn), file)
    return OutputTee(source, sinks, scanner, warn, steps, errors=apart, signs=signs)
