"""Problems of a submission: those of the settings, and one error with all of them."""

import re
import sys
from collections.abc import Callable, Sequence
from pathlib import Path

from slurm_restart.errors import ConfigError, UsageError
from slurm_restart.trainer.settings import Settings

_OUTSIDE_FILES = re.compile(r"-|(SBATCH|SLURM)_[A-Z0-9_]+: ")
"""Beginnings of problems with options and variables; those with a file begin with its path."""


def raise_problems(path: str, problems: Sequence[str]) -> None:
    """Raise one error with all problems, without duplicates, if there are any.

    Args:
        path: the config or script that was submitted; its problems come first, by line.
        problems: each with its place.

    Raises:
        ConfigError: one of the problems is in a file.
        UsageError: they are in the command line and in variables only.
    """
    every = sorted(dict.fromkeys(problems), key=_line(path))
    if not all(map(_OUTSIDE_FILES.match, every)):
        raise ConfigError(path, every)
    if every:
        raise UsageError("\n".join(every))


def _line(path: str) -> Callable[[str], int]:
    """Return a sort key: problems of the file by their line, then all others."""
    form = re.compile(rf"{re.escape(path)}:(\d+):")

    def line(problem: str) -> int:
        match = form.match(problem)
        return int(match[1]) if match else sys.maxsize

    return line


def rules_problems(settings: Settings, files: Sequence[Path]) -> list[str]:
    """Return the problems in the run's own rules, each with its place in the file."""
    if not files:
        return []
    from slurm_restart.logs.rules import read_file  # noqa: PLC0415 - slow to import, rarely needed

    problems = [problem for path in files for problem in read_file(path)[1]]
    return [f"{settings.origins['rules']}: {problem}" for problem in problems]
