"""Find the highest step that the trainer's output names, at a bounded cost."""

import re
import time
from collections.abc import Callable, Iterator

from slurm_restart.core.job_comment import MAX_STEP
from slurm_restart.logs.lines import without_escapes
from slurm_restart.logs.patterns import literals

MAX_LINE = 2048
"""Bytes of a line that are searched."""
SHARE = 0.1
"""Largest share of a CPU that the search takes; output beyond that is left out."""
ALLOWANCE = 1.0
"""CPU seconds that it may take at once."""
_ENDS = re.compile(rb"[\r\n]")
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
        texts = sorted(literals(pattern))
        # A line is searched only if it has one of the texts that every match contains.
        self._find = re.compile(b"|".join(re.escape(text.encode()) for text in texts)).finditer
        self._has_texts = bool(texts)
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._credit, self._credited_at = ALLOWANCE, clock()
        """CPU seconds that may be taken, and when that was."""
        self._tail = b""
        """The beginning of the unfinished line."""
        self._cut = False
        """Whether the beginning of the unfinished line was left out."""
        self._highest: int | None = None

    def feed(self, chunk: bytes) -> None:
        """Search the next bytes of the output, cut at any position."""
        now = self._clock()
        self._credit = min(ALLOWANCE, self._credit + SHARE * (now - self._credited_at))
        self._credited_at = now
        if self._credit <= 0:
            self._tail, self._cut = b"", True
            return
        began = self._cpu_clock()
        self._read(chunk)
        self._credit -= self._cpu_clock() - began

    def highest(self) -> int | None:
        """Return the highest step so far, the unfinished line included; None: there is none."""
        return _larger(self._highest, self._step(self._tail))

    def _read(self, chunk: bytes) -> None:
        if self._cut:
            end = _ENDS.search(chunk)
            if end is None:
                return
            chunk, self._cut = chunk[end.end() :], False
        block = self._tail + chunk
        end_of_lines = 1 + max(block.rfind(b"\n"), block.rfind(b"\r"))
        self._tail = block[end_of_lines : end_of_lines + MAX_LINE]
        for line in self._candidates(block[:end_of_lines]):
            self._highest = _larger(self._highest, self._step(line))

    def _candidates(self, block: bytes) -> Iterator[bytes]:
        if not self._has_texts:
            yield from block.replace(b"\r", b"\n").split(b"\n")
            return
        past = 0
        for found in self._find(block):
            if found.start() < past:
                continue
            at = found.start()
            start = max(past, 1 + block.rfind(b"\n", past, at), 1 + block.rfind(b"\r", past, at))
            # A block ends with the end of a line.
            ending = _ENDS.search(block, at)
            past = len(block) if ending is None else ending.start()
            yield block[start:past]

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
