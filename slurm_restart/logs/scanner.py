"""Reads a log as it streams by and keeps what the rules say of it, in bounded memory."""

from collections.abc import Sequence
from heapq import merge

from slurm_restart.core.finding import Finding
from slurm_restart.logs.finding_collector import FindingCollector
from slurm_restart.logs.line_counting import Count, count_line_feeds
from slurm_restart.logs.lines import without_escapes
from slurm_restart.logs.literals import line_end
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.tracebacks import STRUCTURE

MAX_LINE = 16 * 1024
"""Bytes of a line that are looked at."""
BLOCK = 128 * 1024
"""Bytes that are searched at a time."""
SAMPLE = 8
"""Lines before one that may matter, and at the end of a block, that are asked for progress."""
_SAMPLE_BYTES = 4096
_FEW = 32
"""Lines with escape sequences of a block that are looked at one by one."""
SMALL = "python"
"""The finder for a process that is to stay small: Hyperscan's compiler takes 10 MB more."""


def make_matcher(rules: Sequence[LogRule], finder: str | None = None) -> RuleMatcher:
    """The engine for scanners; see `Engine`."""
    return RuleMatcher(rules, also=STRUCTURE, finder=finder)


class LogScanner:
    """Applies rules to a stream of bytes.

    Args:
        engine: from `make_engine`; several scanners can share one.
        count: how line feeds are counted.
    """

    def __init__(self, engine: RuleMatcher, count: Count = count_line_feeds) -> None:
        self._blocks = _Blocks(engine, FindingCollector(engine), count)
        self._tail = b""
        self._waiting = bytearray()

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the log, cut wherever they happen to be."""
        # Without NULs a hole in a file costs nothing, and UTF-16 reads as the ASCII it mostly is.
        chunk = chunk.replace(b"\0", b"")
        if len(chunk) == BLOCK and not self._waiting:
            self._take(chunk)
            return
        self._waiting += chunk
        # Blocks of one size: what is found must not depend on how the log was cut into chunks.
        whole = len(self._waiting) // BLOCK * BLOCK
        for start in range(0, whole, BLOCK):
            self._take(bytes(self._waiting[start : start + BLOCK]))
        del self._waiting[:whole]

    def _take(self, block: bytes) -> None:
        lines, self._tail = _cut(self._tail + block)
        self._blocks.read(lines)

    @property
    def lines(self) -> int:
        """Line feeds so far."""
        return self._blocks.line - 1 + (self._tail + self._waiting).count(b"\n")

    @property
    def is_settled(self) -> bool:
        """Whether the program got on before anything was found: what came before is no cause."""
        reader = self._blocks.reader
        return reader.was_well if reader.kept else reader.progress > 0

    def findings(self) -> tuple[Finding, ...]:
        """What has been found so far in order of position, the unfinished last line included."""
        blocks = self._blocks.copy()
        block, tail = _cut(self._tail + bytes(self._waiting))
        blocks.read(block)
        blocks.read(tail)
        return blocks.reader.found()


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """(the whole lines, the unfinished one); of a first line that is too long only its beginning.

    The unfinished line can grow with every block; the others cannot.
    """
    first = min(end for end in (data.find(b"\n"), data.find(b"\r"), len(data)) if end >= 0)
    if first > MAX_LINE:
        data = data[:MAX_LINE] + data[first:]
    end = 1 + max(data.rfind(b"\n"), data.rfind(b"\r"))
    return data[:end], data[end:]


def _coloured(block: bytes, engine: RuleMatcher) -> list[tuple[int, int]] | None:
    """(start, end) of the lines that may match a rule once their escape sequences are gone.

    None: there are many of them, so that a block without them is cheaper.
    """
    found: list[tuple[int, int]] = []
    position = block.find(b"\x1b")
    for _ in range(_FEW):
        if position < 0:
            return found
        start = 1 + max(block.rfind(b"\n", 0, position), block.rfind(b"\r", 0, position))
        end = line_end(block, position)
        if engine.is_suspect(without_escapes(block[start : min(end, start + MAX_LINE)])):
            found.append((start, end))
        position = block.find(b"\x1b", end)
    return None


class _Blocks:
    """Whole lines in, of which the reader gets those that may matter.

    Args:
        engine: finds them.
        reader: gets them.
        count: how line feeds are counted.
        line: number of the next line.
    """

    def __init__(
        self, engine: RuleMatcher, reader: FindingCollector, count: Count, line: int = 1
    ) -> None:
        self._engine = engine
        self._count = count
        self.reader = reader
        self.line = line

    def copy(self) -> "_Blocks":
        """One that goes on from here without changing this one."""
        return _Blocks(self._engine, self.reader.copy(), self._count, self.line)

    def read(self, block: bytes) -> None:
        """Read the lines of a block that may matter, and all lines of a traceback."""
        coloured = _coloured(block, self._engine)
        if coloured is None:
            block, coloured = without_escapes(block), []
        walk = _Walk(block, self.reader, self._count, self.line)
        for start, end in merge(self._engine.suspects(block), coloured):
            walk.suspect(start, end)
        self.line = walk.finish()


class _Walk:
    """The way through one block, from its beginning to its end."""

    def __init__(self, block: bytes, reader: FindingCollector, count: Count, line: int) -> None:
        self._block = block
        self._count = count
        self._reader = reader
        self._line = line
        """Number of the line at `_counted`."""
        self._counted = 0
        self._past = 0
        """What is before has been read."""

    def suspect(self, start: int, end: int) -> None:
        """Read a line that may matter."""
        self._finish_traceback(start)
        if start < self._past or self._reader.is_noise(self._block[start:end]):
            return
        self._pass(start)
        self._read(start, end)

    def finish(self) -> int:
        """Go to the end of the block; the number of the line that follows."""
        self._finish_traceback(len(self._block))
        self._pass(len(self._block))
        return self._line_at(len(self._block))

    def _finish_traceback(self, until: int) -> None:
        while self._reader.inside and self._past < until:
            self._read(self._past, line_end(self._block, self._past))

    def _read(self, start: int, end: int) -> None:
        raw = without_escapes(self._block[start : min(end, start + MAX_LINE)])
        self._reader.read(self._line_at(start), raw)
        self._past = end + 1

    def _pass(self, until: int) -> None:
        """Show the reader the last lines before a place."""
        start = max(self._past, until - _SAMPLE_BYTES)
        if start >= until:
            return
        line = self._line_at(start)
        texts = self._block[start:until].split(b"\n")
        first = max(0, len(texts) - SAMPLE)
        self._reader.passed(
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
