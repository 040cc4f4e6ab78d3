"""A check of the installation, and what it can find."""

from collections.abc import Callable, Iterable
from enum import Enum

from slurm_restart.control.checks.context import Context
from slurm_restart.frozen import frozen


class Level(Enum):
    """Severity of a result."""

    OK = "ok"
    WARNING = "warning"
    """The plugin works, but not in every case or not as well as it could."""
    PROBLEM = "problem"
    """The plugin, or a part of it, does not work, or is not safe."""
    UNKNOWN = "unknown"
    """It could not be found out, for example for lack of rights."""


@frozen
class Finding:
    """What a check finds: one sentence, and for everything but OK one that says what to do."""

    level: Level
    text: str
    remedy: str | None = None


@frozen
class Check:
    """One check.

    Attributes:
        id: the name that the output and the documentation use, such as `hook.owner`.
        meaning: what is checked, for the documentation.
        run: returns the findings; none where the check does not apply. It may raise OSError or
            CsxError where something cannot be read.
    """

    id: str
    meaning: str
    run: Callable[[Context], Iterable[Finding]]


@frozen
class CheckResult:
    """One finding of a check, named by the check's id."""

    check: str
    level: Level
    text: str
    remedy: str | None = None


def ok(text: str) -> Finding:
    """Return that nothing has to be done."""
    return Finding(level=Level.OK, text=text)


def warning(text: str, remedy: str) -> Finding:
    """Return a weakness of the installation."""
    return Finding(level=Level.WARNING, text=text, remedy=remedy)


def problem(text: str, remedy: str) -> Finding:
    """Return a fault of the installation."""
    return Finding(level=Level.PROBLEM, text=text, remedy=remedy)


def unknown(text: str, remedy: str) -> Finding:
    """Return that something could not be found out."""
    return Finding(level=Level.UNKNOWN, text=text, remedy=remedy)
