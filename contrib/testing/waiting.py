"""Wait for conditions, with deadlines that only end a hang, however busy the machine is."""

import time
from collections.abc import Callable

DEADLINE = 300.0
"""Seconds. A condition that does not hold by then never will: on an idle machine all of them hold
within half a minute, and the tests must pass with four busy processes on each CPU."""
LONG_DEADLINE = 600.0
"""Seconds. The same for what takes several attempts of a job."""


def await_(
    condition: Callable[[], object],
    what: str,
    *,
    timeout: float = DEADLINE,
    interval: float = 0.05,
) -> None:
    """Return once the condition holds.

    Args:
        condition: called until its result is true.
        what: the condition in words, for the error message.
        timeout: seconds after which to give up.
        interval: seconds between two calls.

    Raises:
        AssertionError: the condition did not hold within `timeout` seconds.
    """
    deadline = time.monotonic() + timeout
    while not condition():
        if time.monotonic() > deadline:
            raise AssertionError(f"{what}: not within {timeout:g} s")
        time.sleep(interval)
