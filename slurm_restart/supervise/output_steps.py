"""Find the highest step that the trainer's output names, at a bounded cost."""

import re
import time
from collections.abc import Callable

from slurm_restart.core.job_comment import MAX_STEP
from slurm_restart.logs.lines import without_escapes
from slurm_restart.logs.patterns import literals
from slurm_restart.supervise.output_lines import MAX_LINE, OutputLines

_MAX_DIGITS = len(str(MAX_STEP))


class OutputSteps:
    """Searches the output for a pattern, line by line.

    The methods may be called by different threads: one feeds, another reads.

    Args:
        pattern: a regular expression; its first group is the step. What `logs.patterns.danger`
            refuses may take very long.
        clock: returns seconds.
        cpu_clock: returns CPU seconds of the thread that feeds.
    """

    def __init__(
        self,
        pattern: str,
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        self._search = re.compile(pattern.encode()).search
        self._lines = OutputLines(literals(pattern), self._take, clock=clock, cpu_clock=cpu_clock)
        self._highest: int | None = None

    def feed(self, chunk: bytes) -> None:
        """Search the next bytes of the output, cut at any position."""
        self._lines.feed(chunk)

    def highest(self) -> int | None:
        """Return the highest step so far, the unfinished line included; None: there is none."""
        return _larger(self._highest, self._step(self._lines.unfinished))

    def _take(self, line: bytes) -> None:
        self._highest = _larger(self._highest, self._step(line))

    def _step(self, line: bytes) -> int | None:
        found = self._search(without_escapes(line[:MAX_LINE]))
        text = found[1] if found is not None else None
        if text is None or not text.isdigit() or len(text) > _MAX_DIGITS:
            return None
        step = int(text)
        return step if step <= MAX_STEP else None


def _larger(first: int | None, second: int | None) -> int | None:
    known = [step for step in (first, second) if step is not None]
    return max(known, default=None)
