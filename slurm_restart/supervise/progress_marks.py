"""How much a program had printed when it was seen to have made progress."""

import time
from collections.abc import Callable

APART = 1.0
"""Seconds by which two looks for progress are apart."""


class ProgressMarks:
    """Knows which lines of its output a program has survived.

    What is seen at a look, a new checkpoint for example, may be older than the last lines before
    that look. It is newer than those that were there at the look before.

    Args:
        printed: returns the number of lines of the output so far.
    """

    def __init__(self, printed: Callable[[], int] = int) -> None:
        self._printed = printed
        self._marks = 0, 0
        self._last_at = float("-inf")

    def note(self) -> None:
        """Note that progress is seen now; what one look finds counts once."""
        now = time.monotonic()
        if now - self._last_at >= APART:
            self._marks = self._marks[1], self._printed()
            self._last_at = now

    @property
    def went_on(self) -> int:
        """Number of lines after which the program has made progress."""
        return self._marks[0]
