"""run.log: what happened to a run, in lines that only ever are added."""

import os
import time
from pathlib import Path

from slurm_restart.safe_files import open_append

MAIN = "main"


def run_name(attempt: int) -> str:
    """The name of an attempt in run.log."""
    return f"run_{attempt}"


def line(name: str, message: str, *, at: float, level: str = "INFO") -> str:
    """A line in the trainer's own form; `at` is epoch seconds.

    Line breaks and other control characters of the message become spaces.
    """
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(at))
    text = "".join(char if char.isprintable() else " " for char in message)
    return f"[{name}] {stamp},{int(at % 1 * 1000):03d} {level}:   {text}"


def append(path: Path, text: str) -> None:
    """Add a line, whole even where two processes write at once.

    Raises:
        OSError: it cannot be written, or is no regular file.
    """
    handle = open_append(path)
    try:
        os.write(handle, f"{text}\n".encode("utf-8", "replace"))
    finally:
        os.close(handle)
