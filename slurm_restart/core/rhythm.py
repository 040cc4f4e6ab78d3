"""The rhythm of a run: how long its pauses between signs of life are."""

from collections.abc import Sequence

from slurm_restart.core.watchdog_settings import WatchdogSettings
from slurm_restart.frozen import frozen

KEPT = 101
"""Pauses of which the median is taken: the last ones."""


def median(values: Sequence[float]) -> float:
    """Return the median of one value or more.

    The module `statistics` is not imported: that would take 2 MB of the supervisor.
    """
    ordered, middle = sorted(values), len(values) // 2
    return ordered[middle] if len(values) % 2 else (ordered[middle - 1] + ordered[middle]) / 2


@frozen
class Rhythm:
    """The pauses of one kind, in seconds."""

    recent: Sequence[float] = ()
    longest: float = 0.0
    count: int = 0

    def after(self, pause: float) -> "Rhythm":
        """Return the rhythm with one more pause."""
        return Rhythm(
            recent=(*self.recent[-KEPT + 1 :], pause),
            longest=max(self.longest, pause),
            count=self.count + 1,
        )

    def limit(self, floor: float, settings: WatchdogSettings) -> float:
        """Return the seconds after which a pause is no usual one: `floor` or more."""
        if not self.recent:
            return floor
        return max(
            floor,
            settings.typical_factor * median(self.recent),
            settings.longest_factor * self.longest,
        )
