"""Determine whether a program was still starting when it printed a line of its log."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from slurm_restart.core.finding import Finding
from slurm_restart.core.root_cause import DEATHS, SURVIVED
from slurm_restart.frozen import frozen

LONG = 3600.0
"""Seconds after which a program is no longer starting: setting up, loading and compiling are done.

It is also longer than libraries wait for a peer that has failed at the start.
"""
SHORT = 60.0
"""Seconds within which a program without progress is starting, however much it prints."""
MIN_STEPS = 200
"""Steps after which a program is no longer starting."""


@frozen
class KnownProgress:
    """How far a program got, as far as it is known besides its log."""

    made: bool = False
    """Whether it is known to have made progress: a checkpoint, or `MIN_STEPS` steps."""
    seconds: float | None = None
    """Between its start and its last output; None: not known."""
    went_on: int = 0
    """Number of lines of its log after which it is known to have made progress."""


def with_known_progress(findings: Iterable[Finding], known: KnownProgress) -> Iterator[Finding]:
    """Yield findings with what is known of the progress, where more than the log tells it.

    By the log alone the number of lines that precede a line tells whether the program was starting,
    and that of lines after it whether it has survived: see `Finding.early` and `Finding.went_on`.
    Hardware may fail later than its first message.
    """
    late = known.made or (known.seconds is not None and known.seconds >= LONG)
    short = known.seconds is not None and known.seconds < SHORT
    for finding in findings:
        early = not late and (finding.early or (short and not finding.progressed))
        survived = finding.line <= known.went_on and finding.category not in DEATHS
        went_on = max(finding.went_on, SURVIVED + 1) if survived else finding.went_on
        if (early, went_on) != (finding.early, finding.went_on):
            yield replace(finding, early=early, went_on=went_on)
        else:
            yield finding
