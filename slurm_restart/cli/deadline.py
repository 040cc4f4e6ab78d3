"""How long a command goes on asking Slurm for the same."""

import time
from collections.abc import Callable

from slurm_restart.errors import SlurmUnavailableError


class Deadline:
    """The end of a command's patience, and its pauses until then.

    Args:
        timeout: seconds from now.
        clock: returns seconds.
        sleep: waits for some seconds.
    """

    def __init__(
        self,
        timeout: float,
        *,
        clock: Callable[[], float] = time.monotonic,
        sleep: Callable[[float], None] = time.sleep,
    ) -> None:
        self._until = clock() + timeout
        self._clock = clock
        self._sleep = sleep

    def within(self, seconds: float) -> "Deadline":
        """Return a deadline so many seconds from now, but no later than this one."""
        timeout = min(seconds, self._until - self._clock())
        return Deadline(timeout, clock=self._clock, sleep=self._sleep)

    def pause(self, seconds: float, problem: str) -> None:
        """Wait for some seconds.

        Args:
            seconds: how long.
            problem: what is wrong if the time is over.

        Raises:
            SlurmUnavailableError: the time is over.
        """
        if self._clock() >= self._until:
            raise SlurmUnavailableError(problem)
        self._sleep(seconds)
