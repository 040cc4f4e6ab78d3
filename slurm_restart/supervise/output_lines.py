"""Pass on lines of the trainer's output that have one of some texts in them, at a bounded cost."""

import re
import time
from collections.abc import Callable, Collection, Iterator

MAX_LINE = 2048
"""Bytes of an unfinished line that are kept; more of it are left out."""
SHARE = 0.1
"""Largest share of a CPU that the search takes; output beyond that is left out."""
ALLOWANCE = 1.0
"""CPU seconds that it may take at once."""
_ENDS = re.compile(rb"[\r\n]")


class OutputLines:
    """Finds the lines that may be of interest; one thread feeds.

    Args:
        texts: a line is passed on if one of them is in it; none: every line is.
        take: called with each such line once it has ended; its time counts.
        clock: returns seconds.
        cpu_clock: returns CPU seconds of the thread that feeds.
    """

    def __init__(
        self,
        texts: Collection[str],
        take: Callable[[bytes], None],
        *,
        clock: Callable[[], float] = time.monotonic,
        cpu_clock: Callable[[], float] = time.thread_time,
    ) -> None:
        # A line is searched only if it has one of the texts that every match contains.
        wanted = b"|".join(re.escape(text.encode()) for text in sorted(texts))
        self._find = re.compile(wanted).finditer
        self._has_texts = bool(texts)
        self._take = take
        self._clock = clock
        self._cpu_clock = cpu_clock
        self._credit, self._credited_at = ALLOWANCE, clock()
        """CPU seconds that may be taken, and when that was."""
        self.unfinished = b""
        """The beginning of the line that has not ended yet."""
        self._cut = False
        """Whether the beginning of the unfinished line was left out."""

    def feed(self, chunk: bytes) -> None:
        """Search the next bytes of the output, cut at any position."""
        now = self._clock()
        self._credit = min(ALLOWANCE, self._credit + SHARE * (now - self._credited_at))
        self._credited_at = now
        if self._credit <= 0:
            self.unfinished, self._cut = b"", True
            return
        began = self._cpu_clock()
        self._read(chunk)
        self._credit -= self._cpu_clock() - began

    def _read(self, chunk: bytes) -> None:
        if self._cut:
            end = _ENDS.search(chunk)
            if end is None:
                return
            chunk, self._cut = chunk[end.end() :], False
        block = self.unfinished + chunk
        end_of_lines = 1 + max(block.rfind(b"\n"), block.rfind(b"\r"))
        self.unfinished = block[end_of_lines : end_of_lines + MAX_LINE]
        for line in self._candidates(block[:end_of_lines]):
            self._take(line)

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
