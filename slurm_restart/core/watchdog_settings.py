"""The settings of the watchdog: when a run counts as slow or as hung, and what is done then."""

from enum import Enum
from typing import Annotated, Any

from slurm_restart.core.record_reader import Argument, Range, unknown_keys
from slurm_restart.frozen import frozen

MAX_SECONDS = 10**8
MAX_FACTOR = 10_000
_Seconds = Annotated[int, Range(1, MAX_SECONDS)]
_Factor = Annotated[int, Range(2, MAX_FACTOR)]


class WatchdogMode(Enum):
    """What the watchdog does."""

    ON = "on"
    """A hung run is ended; that of a job that does not restart is only reported."""
    REPORT = "report"
    """Hangs and slowdowns are reported, and nothing is ended."""
    OFF = "off"


@frozen
class WatchdogSettings:
    """Times in whole seconds.

    A sign of life is output, a new step, a checkpoint, CPU time, or data that is read or written.
    """

    mode: WatchdogMode = WatchdogMode.ON
    floor: _Seconds = 1800
    """No hang before so long without a sign of life. A pause that is longer ends programs of
    torch.distributed anyway: its own time limits are 10 min (NCCL) and 30 min (the others)."""
    start_floor: _Seconds = 3600
    """The same from the start to the first step, and after the output has announced an evaluation
    or a checkpoint, or the last step is reached."""
    compile_floor: _Seconds = 10800
    """The same after the output has announced a compilation."""
    typical_factor: _Factor = 12
    """Nor before so many times the median of the run's own pauses: a run that is ten times slower
    than before is no hang."""
    longest_factor: _Factor = 3
    """Nor before so many times the longest of them."""
    busy_factor: _Factor = 4
    """With other signs of life, but without a new step or checkpoint, the floors are so many times
    longer."""
    slow_factor: _Factor = 3
    """A step that takes more than so many times the run's own median is slow."""
    slow_after: _Seconds = 900
    """Steps that are slow for so long are a slowdown."""
    restart_when_slow: bool = False
    """Whether a run that is slow is ended, at its next checkpoint, to be restarted."""
    faulthandler: bool = True
    """Whether Python processes that are ended as they hang print their stacks, where py-spy has not
    told them."""
    steps: Argument | None = None
    """A regular expression over the output, whose first group is the step; None: the trainer's."""
    unknown: dict[str, Any] = unknown_keys()

    def ends_runs(self, *, restarts: bool) -> bool:
        """Return whether a hung run is ended; only that of a job that restarts may be."""
        return self.mode is WatchdogMode.ON and restarts
