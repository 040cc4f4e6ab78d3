"""run.log: the events of a run, a line each; lines are only added."""

import os
import time
from pathlib import Path

from slurm_restart.core.printable import escape_controls
from slurm_restart.safe_files import open_append

MAIN = "main"


def run_name(attempt: int) -> str:
    """Return the name of an attempt in run.log: the first is `run_1`, as the vendor counts."""
    return f"run_{attempt + 1}"


def line(name: str, message: str, *, at: float, level: str = "INFO") -> str:
    """Return a line in the trainer's own form; `at` is epoch seconds.

    Line feeds and other control characters of the message are escaped.
    """
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    text = escape_controls(message)
    return f"[{name}] {stamp},{int(at % 1 * 1000):03d} {level}:   {text}"


def append(path: str | Path, text: str, *, directory: int | None = None) -> None:
    """Add a line with one write, so that lines of two processes do not mix.

    Args:
        path: the file.
        text: the line.
        directory: an open directory that a relative `path` starts from; None: the working one.

    Raises:
        OSError: it cannot be written, or is no regular file.
    """
    handle = open_append(path, directory=directory)
    try:
        os.write(handle, f"{text}\n".encode("utf-8", "replace"))
    finally:
        os.close(handle)
