"""A progress bar on stderr for scans that take longer than a moment."""

import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from slurm_restart.logs.log_files import OnRead, ignore_progress

DELAY = 1.0
"""Seconds after which the bar is shown."""


@contextmanager
def scan_progress(total: int, clock: Callable[[], float] = time.monotonic) -> Iterator[OnRead]:
    """Yield what is to be called with the number of bytes after each read.

    Nothing is shown if stderr is no terminal.

    Args:
        total: bytes that are to be read.
        clock: seconds.
    """
    if not sys.stderr.isatty():
        yield ignore_progress
        return
    shown = _Bar(total, clock)
    try:
        yield shown.advance
    finally:
        shown.finish()


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

            self._bar = click.progressbar(length=self._total, label="reading logs", file=sys.stderr)
            self._bar.__enter__()
            self._bar.update(self._read)

    def finish(self) -> None:
        """Leave the terminal as it was: the line of the bar is complete."""
        if self._bar is not None:
            self._bar.__exit__(None, None, None)
