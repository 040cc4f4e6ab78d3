"""Scans a stream of log bytes and keeps its findings in bounded memory."""

from collections.abc import Sequence
from heapq import merge

from slurm_restart.core.finding import Finding
from slurm_restart.logs.ending import LAST_BYTES, find_ending
from slurm_restart.logs.finding_collector import FindingCollector
from slurm_restart.logs.host_lines import PLACING
from slurm_restart.logs.line_counting import Count, count_line_feeds
from slurm_restart.logs.lines import without_escapes
from slurm_restart.logs.literals import line_end
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.tracebacks import STRUCTURE

MAX_LINE = 16 * 1024
"""Bytes of a line that are searched."""
BLOCK = 128 * 1024
"""Bytes that are searched at a time."""
SAMPLE = 8
"""Lines before a suspect line, and at the end of a block, that are searched for progress."""
_SAMPLE_BYTES = 4096
_FEW = 32
"""Lines with escape sequences of a block that are processed one by one."""
SMALL = "python"
"""The finder for small processes and small logs: Hyperscan's compiler takes 10 MB more."""


def make_matcher(rules: Sequence[LogRule], finder: str | None = None) -> RuleMatcher:
    """Return the matcher for scanners; `finder`: see `RuleMatcher`."""
    return RuleMatcher(rules, also=(*STRUCTURE, *PLACING), finder=finder)


class LogScanner:
    """Applies rules to a stream of bytes.

    Args:
        matcher: from `make_matcher`; several scanners can share it.
        count: how line feeds are counted.
    """

    def __init__(self, matcher: RuleMatcher, count: Count = count_line_feeds) -> None:
        self._blocks = _Blocks(matcher, FindingCollector(matcher), count)
        self._matcher = matcher
        self._last = b""
        """The last whole lines that were processed."""
        self._tail = b""
        self._waiting = bytearray()

    def for_another_log(self) -> "LogScanner":
        """Return a scanner with the same rules that has read nothing."""
        return LogScanner(self._matcher)

    def feed(self, chunk: bytes) -> None:
        """Process the next bytes of the log, cut at any position."""
        # Without NULs, holes in a file cost nothing and most UTF-16 text reads as ASCII.
        chunk = chunk.replace(b"\0", b"")
        if len(chunk) == BLOCK and not self._waiting:
            self._take(chunk)
            return
        self._waiting += chunk
        # Blocks of one size: findings must not depend on how the log was cut into chunks.
        whole = len(self._waiting) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            self._take(bytes(self._waiting[start : start + BLOCK]))
        del self._waiting[:whole]

    def _take(self, block: bytes) -> None:
        lines, self._tail = _cut(self._tail + block)
        self._blocks.read(lines)
        self._last = (self._last + lines[-LAST_BYTES:])[-LAST_BYTES:]

    @property
    def lines(self) -> int:
        """Number of line feeds so far."""
        return self._blocks.line - 1 + (self._tail + self._waiting).count(b"\n")

    @property
    def is_settled(self) -> bool:
        """Whether progress precedes the first finding, so that no earlier line is the cause."""
        reader = self._blocks.reader
        return reader.progress_came_first if reader.kept else reader.progress > 0

    def findings(self) -> tuple[Finding, ...]:
        """Return the findings so far in order, the unfinished last line included."""
        blocks = self._blocks.copy()
        block, tail = _cut(self._tail + bytes(self._waiting))
        blocks.read(block)
        blocks.read(tail)
        return blocks.reader.found(blocks.line - 1 + bool(tail))

    def ending(self) -> Finding | None:
        """Return the line among the last ones with which the program reports its own end."""
        rest = self._tail + bytes(self._waiting)
        data = (self._last + rest[-LAST_BYTES:])[-LAST_BYTES:]
        return find_ending(self._matcher, data, self.lines + 1)


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """Split into whole lines and the unfinished line; a first line that is too long is shortened.

    Only the unfinished line can grow with every block.
    """
    first = min(end for end in (data.find(b"\n"), data.find(b"\r"), len(data)) if end >= 0)
    if first > MAX_LINE:
        data = data[:MAX_LINE] + data[first:]
    end = 1 + max(data.rfind(b"\n"), data.rfind(b"\r"))
    return data[:end], data[end:]


def _coloured(block: bytes, matcher: RuleMatcher) -> list[tuple[int, int]] | None:
    """Return (start, end) of the lines that may match without their escape sequences.

    None: there are so many that removing the sequences from the whole block is cheaper.
    """
    found: list[tuple[int, int]] = []
    position = block.find(b"\x1b")
    for _ in range(_FEW):
        if position < 0:
            return found
        start = 1 + max(block.rfind(b"\n", 0, position), block.rfind(b"\r", 0, position))
        end = line_end(block, position)
        if matcher.is_suspect(without_escapes(block[start : min(end, start + MAX_LINE)])):
            found.append((start, end))
        position = block.find(b"\x1b", end)
    return None


class _Blocks:
    """Passes the suspect lines of blocks to the collector.

    Args:
        matcher: finds them.
        reader: gets them.
        count: how line feeds are counted.
        line: number of the next line.
    """

    def __init__(
        self, matcher: RuleMatcher, reader: FindingCollector, count: Count, line: int = 1
    ) -> None:
        self._matcher = matcher
        self._count = count
        self.reader = reader
        self.line = line

    def copy(self) -> "_Blocks":
        """Return an independent copy in the same state."""
        return _Blocks(self._matcher, self.reader.copy(), self._count, self.line)

    def read(self, block: bytes) -> None:
        """Process the suspect lines of a block, and all lines of a traceback."""
        coloured = _coloured(block, self._matcher)
        if coloured is None:
            block, coloured = without_escapes(block), []
        reader = _BlockReader(block, self.reader, self._count, self.line)
        for start, end in merge(self._matcher.suspects(block), coloured):
            reader.suspect(start, end)
        self.line = reader.finish()


class _BlockReader:
    """Reads one block from its beginning to its end."""

    def __init__(self, block: bytes, reader: FindingCollector, count: Count, line: int) -> None:
        self._block = block
        self._count = count
        self._reader = reader
        self._line = line
        """Number of the line at `_counted`."""
        self._counted = 0
        self._past = 0
        """Everything before this position has been read."""

    def suspect(self, start: int, end: int) -> None:
        """Process a suspect line."""
        self._finish_traceback(start)
        if start < self._past or self._reader.is_noise(self._block[start:end]):
            return
        self._note_progress(start)
        self._read(start, end)

    def finish(self) -> int:
        """Read to the end of the block; return the number of the next line."""
        self._finish_traceback(len(self._block))
        self._note_progress(len(self._block))
        return self._line_at(len(self._block))

    def _finish_traceback(self, until: int) -> None:
        while self._reader.wants_next and self._past < until:
            self._read(self._past, line_end(self._block, self._past))

    def _read(self, start: int, end: int) -> None:
        raw = without_escapes(self._block[start : min(end, start + MAX_LINE)])
        self._reader.read(self._line_at(start), raw)
        self._past = end + 1

    def _note_progress(self, until: int) -> None:
        """Pass the last lines before a position to the collector, for progress."""
        start = max(self._past, until - _SAMPLE_BYTES)
        if start >= until:
            return
        line = self._line_at(start)
        texts = self._block[start:until].split(b"\n")
        first = max(0, len(texts) - SAMPLE)
        self._reader.note_progress(
            [
                (line + first + number, raw)
                for number, text in enumerate(texts[first:])
                for raw in without_escapes(text).split(b"\r")
            ]
        )

    def _line_at(self, position: int) -> int:
        self._line += self._count(self._block, self._counted, position)
        self._counted = position
        return self._line
