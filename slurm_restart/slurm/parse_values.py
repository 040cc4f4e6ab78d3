"""Parse single values as Slurm prints them: states, reasons, exit codes, times."""

import re
from collections.abc import Iterable

from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.errors import SlurmError

Base = tuple[JobState | None, frozenset[JobFlag]]

_NO_VALUE = frozenset({"", "(null)", "N/A", "n/a", "None", "NONE", "Unknown"})
_DURATION = re.compile(r"(?:[0-9]+-)?[0-9]+(?::[0-9]+){0,2}")

_STATES = {state.value: state for state in JobState}
_FLAGS = {flag.value: flag for flag in JobFlag}
# squeue prints a state flag instead of the base state; each of these implies one base state.
_BASE_OF_FLAG = {
    "CONFIGURING": JobState.RUNNING,
    "RESIZING": JobState.RUNNING,
    "SIGNALING": JobState.RUNNING,
    "STOPPED": JobState.RUNNING,
    "REQUEUED": JobState.PENDING,
    "REQUEUE_FED": JobState.PENDING,
    "REQUEUE_HOLD": JobState.PENDING,
    "RESV_DEL_HOLD": JobState.PENDING,
    "SPECIAL_EXIT": JobState.PENDING,
}


def parse_state(names: Iterable[str]) -> Base:
    """Return base state and flags from Slurm's names of them.

    The base state is None if it is not shown, or unknown to this package.
    """
    names = tuple(names)
    bases = [
        states[name] for states in (_STATES, _BASE_OF_FLAG) for name in names if name in states
    ]
    return (bases[0] if bases else None), frozenset(
        _FLAGS[name] for name in names if name in _FLAGS
    )


def parse_reason(text: str) -> str:
    """Return a reason as scontrol prints it.

    squeue prints blanks for underscores, and from 24.11 on the signal after the name:
    `RaisedSignal:9(Killed)`.
    """
    name = text.replace(" ", "_")
    return "RaisedSignal" if name.startswith("RaisedSignal:") else name


def parse_exit(text: str) -> tuple[int, int]:
    """Return exit code and signal of `CODE:SIGNAL`, or of the wait status that 22.05 prints."""
    code, colon, signal = text.partition(":")
    return (int(code), int(signal)) if colon else (int(code) >> 8 & 0xFF, int(code) & 0x7F)


def parse_count(text: str) -> int | None:
    """Return a number; None: not known, as of a value that squeue has cut off or abbreviated."""
    return int(text) if text.isdecimal() else None


def parse_megabytes(text: str) -> int | None:
    """Return the MB of `4096M` or `0`, as squeue prints with --noconvert; None: another form."""
    return 0 if text == "0" else parse_count(text[:-1]) if text.endswith("M") else None


def parse_duration(text: str) -> int | None:
    """Return the seconds of `[D-][[HH:]MM:]SS`; None: no limit, or not known."""
    if not _DURATION.fullmatch(text):
        return None
    days, _, clock = text.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part)
    return int(days or 0) * 86400 + seconds


def parse_text(value: str) -> str | None:
    """Return the text; None for Slurm's placeholders of a missing value."""
    return None if value in _NO_VALUE else value


def parse_time(value: str) -> int | None:
    """Return epoch seconds; None: no such time.

    Raises:
        SlurmError: the time has another form, as without SLURM_TIME_FORMAT=%s.
    """
    if value in _NO_VALUE:
        return None
    if not value.isdecimal():
        raise SlurmError(f"squeue: expected a time in epoch seconds, got {value[:40]!r}")
    return int(value)
