"""Single values as Slurm prints them: states, reasons, exit codes, times."""

import re
from collections.abc import Iterable

from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.errors import SlurmError

Base = tuple[JobState | None, frozenset[JobFlag]]

_NOTHING = frozenset({"", "(null)", "N/A", "n/a", "None", "NONE", "Unknown"})
_DURATION = re.compile(r"(?:[0-9]+-)?[0-9]+(?::[0-9]+){0,2}")

_STATES = {state.value: state for state in JobState}
_FLAGS = {flag.value: flag for flag in JobFlag}
# squeue prints a state flag in place of the base state; these go with one base state only.
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


def parse_state(words: Iterable[str]) -> Base:
    """Base state and flags from Slurm's words for them.

    None for a base state that is not shown, or is of a release newer than this package.
    """
    words = tuple(words)
    bases = [
        states[word] for states in (_STATES, _BASE_OF_FLAG) for word in words if word in states
    ]
    return (bases[0] if bases else None), frozenset(
        _FLAGS[word] for word in words if word in _FLAGS
    )


def parse_reason(text: str) -> str:
    """A reason as Slurm names it.

    squeue shows blanks where Slurm's names, and scontrol, have underscores, and from 24.11 on the
    signal behind the name: `RaisedSignal:9(Killed)`.
    """
    name = text.replace(" ", "_")
    return "RaisedSignal" if name.startswith("RaisedSignal:") else name


def parse_exit(text: str) -> tuple[int, int]:
    """Exit code and signal from `CODE:SIGNAL`, or from the wait status that 22.05 prints."""
    code, colon, signal = text.partition(":")
    return (int(code), int(signal)) if colon else (int(code) >> 8 & 0xFF, int(code) & 0x7F)


def parse_duration(text: str) -> int | None:
    """Seconds from `[D-][[HH:]MM:]SS`; None: no limit, or not known."""
    if not _DURATION.fullmatch(text):
        return None
    days, _, clock = text.rpartition("-")
    seconds = 0
    for part in clock.split(":"):
        seconds = seconds * 60 + int(part)
    return int(days or 0) * 86400 + seconds


def parse_text(value: str) -> str | None:
    """The text; None for the words that Slurm has for nothing."""
    return None if value in _NOTHING else value


def parse_time(value: str) -> int | None:
    """Epoch seconds; None: no such time.

    Raises:
        SlurmError: a time in another form, as without SLURM_TIME_FORMAT=%s.
    """
    if value in _NOTHING:
        return None
    if not value.isdecimal():
        raise SlurmError(f"squeue: expected a time in epoch seconds, got {value[:40]!r}")
    return int(value)
