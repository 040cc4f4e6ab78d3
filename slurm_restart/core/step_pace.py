"""The pace of a run: the time that a step takes, and since when it takes much longer."""

from collections.abc import Sequence
from dataclasses import replace

from slurm_restart.core.rhythm import median
from slurm_restart.frozen import frozen

KEPT = 301
"""Measurements of which the median is taken: the last ones that were not slow."""
LEARNED = 10
"""Measurements before which no step is called slow."""
MIN_SLOW = 3
"""Slow measurements in a row before which a run is not slow: one may be an evaluation."""


@frozen
class StepPace:
    """Times in seconds; a measurement is the mean time of the steps since the one before."""

    usual: Sequence[float] = ()
    slow_since: float | None = None
    """When the first of the slow steps in a row began; None: the last one was not slow."""
    slow_until: float = 0.0
    """When the last of them ended."""
    slow_time: float | None = None
    """The time of the last slow step."""
    slow_count: int = 0
    """Slow measurements in a row."""

    @property
    def median(self) -> float | None:
        """The usual time of a step; None: not known yet."""
        return median(self.usual) if len(self.usual) >= LEARNED else None

    @property
    def is_slow(self) -> bool:
        """Whether several measurements in a row were slow."""
        return self.slow_count >= MIN_SLOW

    def after(self, step_time: float, *, since: float, at: float, factor: float) -> "StepPace":
        """Return the pace after one more measurement.

        Args:
            step_time: seconds per step.
            since: when the measured steps began.
            at: when they ended.
            factor: a step is slow that takes longer than so many times the usual time.
        """
        usual = self.median
        if usual is not None and step_time > factor * usual:
            begun = since if self.slow_since is None else self.slow_since
            return replace(
                self,
                slow_since=begun,
                slow_until=at,
                slow_time=step_time,
                slow_count=self.slow_count + 1,
            )
        return StepPace(usual=(*self.usual[-KEPT + 1 :], step_time))
