"""What can go wrong in devcluster, each with its exit code, and how it speaks and waits."""

from __future__ import annotations

import signal
import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

EXIT_FAILED, EXIT_USAGE, EXIT_MISSING = 1, 2, 3


class DevclusterError(Exception):
    """What went wrong, on what, and the way out; printed without a traceback."""

    exit_code = EXIT_FAILED


class UsageError(DevclusterError):
    """The command line asks for something that cannot be."""

    exit_code = EXIT_USAGE


class MissingSoftwareError(DevclusterError):
    """Slurm or munge is not, or not wholly, installed."""

    exit_code = EXIT_MISSING


class InterruptedBySignalError(KeyboardInterrupt):
    """SIGINT, SIGTERM or SIGHUP came; like ^C, no handler of ordinary errors may swallow it."""

    def __init__(self, number: int) -> None:
        super().__init__(f"interrupted by {signal.Signals(number).name}")
        self.number = number
        self.exit_code = 128 + number


def say(text: str) -> None:
    """Print one line of progress."""
    print(f"devcluster: {text}", flush=True)


def poll(what: str, condition: Callable[[], bool], timeout: float) -> None:
    """Return as soon as `condition` holds; DevclusterError after `timeout` seconds without it."""
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise DevclusterError(f"{what}: not within {timeout:g} s")
        time.sleep(0.02)


def ignore_signals() -> None:
    """Let nothing interrupt what follows: it takes down what was started."""
    for number in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, signal.SIG_IGN)
