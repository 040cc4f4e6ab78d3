"""A progress bar on stderr for scans that take longer than a moment."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from slurm_restart.logs.log_files import OnRead, ignore_progress

DELAY = 1.0
"""Seconds after which the bar is shown."""
_INTERVAL = 0.2
"""Seconds between two numbers that are shown."""
_LABEL = "reading logs"


@contextmanager
def scan_progress(
    total: int | None, clock: Callable[[], float] = time.monotonic
) -> Iterator[OnRead]:
    """Yield what is to be called with the number of bytes after each read.

    Nothing is shown if stderr is no terminal.

    Args:
        total: bytes that are to be read; None: not known, so that those read are shown.
        clock: seconds.
    """
    if not sys.stderr.isatty():
        yield ignore_progress
        return
    shown: _Count | _Bar = _Count(clock) if total is None else _Bar(total, clock)
    try:
        yield shown.advance
    finally:
        shown.finish()


class _Count:
    """The number of bytes read so far."""

    def __init__(self, clock: Callable[[], float]) -> None:
        self._clock = clock
        self._due = clock() + DELAY
        self._read = 0
        self._is_shown = False

    def advance(self, size: int) -> None:
        """Count bytes that were read, and show their number once it is due."""
        self._read += size
        now = self._clock()
        if now >= self._due:
            self._due, self._is_shown = now + _INTERVAL, True
            sys.stderr.write(f"\r{_LABEL}: {self._read / 1e6:.0f} MB")
            sys.stderr.flush()

    def finish(self) -> None:
        """Leave the terminal as it was."""
        if self._is_shown:
            sys.stderr.write("\n")


class _Bar:
    def __init__(self, total: int, clock: Callable[[], float]) -> None:
        self._total = total
        self._clock = clock
        self._begin = clock()
        self._read = 0
        self._bar: Any = None

    def advance(self, size: int) -> None:
        """Count bytes that were read, and show the bar once it is due."""
        # A part of a file may be read twice.
        step = min(size, self._total - self._read)
        self._read += step
        if self._bar is not None:
            self._bar.update(step)
        elif self._clock() - self._begin >= DELAY:
            import click  # noqa: PLC0415  # as the bar itself, only when it is due

            self._bar = click.progressbar(length=self._total, label=_LABEL, file=sys.stderr)
            self._bar.__enter__()
            self._bar.update(self._read)

    def finish(self) -> None:
        """Leave the terminal as it was: the line of the bar is complete."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
