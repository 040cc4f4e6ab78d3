"""Read --signal: how early a job is warned of its time limit, and which signal its program gets."""

import re
from collections.abc import Mapping

from slurm_restart.frozen import frozen
from slurm_restart.submit.argv import GivenOption
from slurm_restart.trainer.run_plan import DEFAULT_SIGNAL_LEAD, STOP_SIGNALS, StopReceiver

_SIGNAL = re.compile(
    r"(?:(?P<flags>R?B?R?):)?(?:SIG)?(?P<name>\w+)(?:@(?P<lead>\d{1,5}))?", re.IGNORECASE
)
_LEAD_WITHOUT_TIME = 60
"""Seconds, where --signal gives none (sbatch(1))."""
MAX_LEAD = 65535
_NUMBERS = {"1": "HUP", "2": "INT", "10": "USR1", "12": "USR2", "15": "TERM"}


@frozen
class WarningSignal:
    """What --signal of sbatch asks for."""

    name: str
    """The signal's name without SIG; one that is not in `STOP_SIGNALS` as it was given."""
    lead: int
    """Seconds before the time limit."""
    overlap: bool = False
    """Whether a job may start at a later reservation's time (R)."""
    receiver: StopReceiver | None = None
    """SCRIPT for `B:`, else STEPS; None: the option was not given."""


DEFAULT = WarningSignal(name="USR1", lead=DEFAULT_SIGNAL_LEAD)


def parse_signal(text: str) -> WarningSignal | None:
    """Return what a value of --signal asks for; None: it is not of sbatch's form."""
    match = _SIGNAL.fullmatch(text)
    if match is None:
        return None
    lead, flags, name = int(match["lead"] or _LEAD_WITHOUT_TIME), match["flags"], match["name"]
    if not 1 <= lead <= MAX_LEAD:
        return None
    flags = (flags or "").upper()
    return WarningSignal(
        name=_NUMBERS.get(name, name.upper()),
        lead=lead,
        overlap="R" in flags,
        receiver=StopReceiver.SCRIPT if "B" in flags else StopReceiver.STEPS,
    )


def warning_signal(options: Mapping[str, GivenOption]) -> WarningSignal:
    """Return what the options ask for; the default without a usable --signal."""
    given = options.get("signal")
    parsed = None if given is None else parse_signal(given.value or "")
    return DEFAULT if parsed is None else parsed


def stop_request(
    options: Mapping[str, GivenOption], setting: str | None, *, script: bool
) -> tuple[str, StopReceiver]:
    """Return the signal that asks the program to save and end, and who gets it.

    Args:
        options: of sbatch; they have been checked.
        setting: the setting `stop_signal`; None: not given.
        script: whether the job runs a batch script of the user's, whose --signal says what the
            script expects. Slurm itself sends the supervisor USR1 in any case.
    """
    asked = warning_signal(options)
    if script and setting is None and asked.receiver is not None and asked.name in STOP_SIGNALS:
        return asked.name, asked.receiver
    return setting or "TERM", StopReceiver.GROUP
