"""What is known of a hang, or of a slowdown, when the run is ended for it."""

from collections.abc import Mapping
from dataclasses import field
from typing import TYPE_CHECKING

from slurm_restart.core.attribution import Blame
from slurm_restart.frozen import frozen

if TYPE_CHECKING:
    # Every supervisor loads this module, and most runs never hang.
    from slurm_restart.core.hang_evidence import StuckProcess


@frozen
class HangReport:
    """What was found, in words, and what follows from it."""

    reason: str
    """Text for people."""
    lines: tuple[str, ...] = ()
    """What the processes do, for people."""
    processes: "tuple[StuckProcess, ...]" = ()
    """All that were looked at."""
    blamed: tuple[Blame, ...] = ()
    busy_elsewhere: bool = False
    """Whether a process on another node than the batch host computes."""
    stopped: Mapping[tuple[str, int], float] = field(default_factory=dict)
    """CPU seconds of the processes that can do nothing, as `hang_evidence.stopped` returns them."""


STOPPED_CPU = 0.05
"""CPU seconds that a process uses at most while it stays stopped: py-spy may make it use some."""


@frozen
class StoppedLook:
    """A look that found processes stopped by a signal, and what the run had shown by then."""

    at: float
    """Seconds in which the watchdog itself ran."""
    shown: tuple[float | None, int]
    """When the last output came, and the number of checkpoints."""
    cpu: Mapping[tuple[str, int], float]
    """As `HangReport.stopped`."""

    def goes_on(self, later: "StoppedLook", *, apart: float) -> bool:
        """Return whether one has not run until a later look, and the run has shown nothing.

        Args:
            later: that look.
            apart: seconds between the looks, at least.
        """
        if later.at - self.at < apart or later.shown != self.shown:
            return False
        used = [cpu - self.cpu[key] for key, cpu in later.cpu.items() if key in self.cpu]
        return any(0 <= seconds <= STOPPED_CPU for seconds in used)
