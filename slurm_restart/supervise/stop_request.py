"""What the signals to the supervisor mean, and how the trainer is asked to end."""

import signal
from collections.abc import Callable
from dataclasses import dataclass, field

from slurm_restart.frozen import frozen
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.trainer.run_plan import RunPlan, StopReceiver

RESERVE = 10.0
"""Seconds before Slurm's KILL, or before the time limit, that are kept to record the end."""
LATE_SIGNAL = 1.0
"""Seconds in which a signal of Slurm's reaches all processes of a job, one after the other."""
DEFAULT_KILL_WAIT = 30
"""Seconds of Slurm's KillWait, until the configuration has been read."""

STOP_REASONS: dict[int, StopReason | None] = {
    # Slurm sends USR1 ahead of the time limit (--signal=B:USR1@…), and TERM ahead of KILL. CONT and
    # TSTP need no handler, as Slurm sends them to all processes of the job.
    signal.SIGUSR1: StopReason.TIME_LIMIT,
    signal.SIGTERM: StopReason.TERMINATED,
    signal.SIGINT: StopReason.TERMINATED,
    signal.SIGHUP: StopReason.TERMINATED,
    signal.SIGUSR2: None,
}
"""The signals that the supervisor handles; None: the trainer gets it and need not end."""
_BY_CHOICE = (
    StopReason.TIME_LIMIT,
    StopReason.NODE_DRAINED,
    StopReason.NODE_SEARCH,
    StopReason.STOPPED,
)
"""Reasons for which no KILL of Slurm's follows at once."""


def usable(seconds: float) -> float:
    """Return how much of a time before a KILL the trainer may use, in seconds."""
    return max(seconds - RESERVE, seconds / 2)


def late_signal_due(first: float) -> float:
    """Return until when a signal of Slurm's reaches this process, given when the first got it."""
    return first + LATE_SIGNAL


@dataclass(kw_only=True, slots=True)
class GracePeriods:
    """Seconds that the trainer has to end, by the reason for which it was asked to."""

    signal_lead: int
    """Seconds between the warning signal and the time limit."""
    kill_wait: int = field(default_factory=lambda: DEFAULT_KILL_WAIT)
    """Seconds between Slurm's TERM and its KILL."""

    def of(self, stop: StopReason) -> float:
        """Return the seconds between the signal that asks the trainer to end and KILL."""
        by_choice = stop in _BY_CHOICE
        return usable(self.signal_lead if by_choice else self.kill_wait)


@frozen
class StopRequest:
    """How the trainer is asked to save and end. The default: TERM to its process group."""

    number: int = signal.SIGTERM
    receiver: StopReceiver = StopReceiver.GROUP
    has_steps: bool = False
    """Whether there is a job, whose steps `signal_steps` reaches."""
    signal_steps: Callable[[], None] = field(default=lambda: None)
    """Sends the signal to the tasks of the job's steps; must return at once."""


def signal_number(plan: RunPlan) -> int:
    """Return the number of the plan's stop signal."""
    return int(signal.Signals[f"SIG{plan.stop_signal}"])
