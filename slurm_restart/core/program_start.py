"""Determine whether a program was still starting when it printed a line of its log."""

from collections.abc import Iterable, Iterator
from dataclasses import replace

from slurm_restart.core.finding import Finding
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


def with_known_start(findings: Iterable[Finding], known: KnownProgress) -> Iterator[Finding]:
    """Yield findings, each with whether the program was starting, where more than the log tells it.

    By the log alone it is the number of lines that precede a line; see `Finding.early`.
    """
    late = known.made or (known.seconds is not None and known.seconds >= LONG)
    short = known.seconds is not None and known.seconds < SHORT
    for finding in findings:
        early = not late and (finding.early or (short and not finding.progressed))
        yield finding if early is finding.early else replace(finding, early=early)
