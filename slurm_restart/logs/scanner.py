"""Reads a log as it streams by and keeps what the rules say of it, in bounded memory."""

from collections.abc import Iterator, Sequence

from slurm_restart.core.finding import Finding
from slurm_restart.logs.engine import Engine
from slurm_restart.logs.lines import without_escapes
from slurm_restart.logs.reader import STRUCTURE, Reader
from slurm_restart.logs.rule import Rule

MAX_LINE = 16 * 1024
"""Bytes of a line that are looked at; also the size in which input is taken."""
SAMPLE = 8
"""Lines before one that may matter, and at the end of a block, that are asked for progress."""


class LogScanner:
    """Applies rules to a stream of bytes.

    Args:
        rules: in the order in which they are tried.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._blocks = _Blocks(Engine(rules, also=STRUCTURE))
        self._tail = b""
        self._waiting = b""

    def feed(self, chunk: bytes) -> None:
        """Take the next bytes of the log, cut wherever they happen to be."""
        # Without NULs a hole in a file costs nothing, and UTF-16 reads as the ASCII it mostly is.
        self._waiting += chunk.replace(b"\0", b"")
        # Blocks of one size: what is found must not depend on how the log was cut into chunks.
        whole = len(self._waiting) // MAX_LINE * MAX_LINE
        for start in range(0, whole, MAX_LINE):
            block, self._tail = _cut(self._tail + self._waiting[start : start + MAX_LINE])
            self._blocks.read(block)
        self._waiting = self._waiting[whole:]

    def findings(self) -> tuple[Finding, ...]:
        """What has been found so far in order of position, the unfinished last line included."""
        blocks = self._blocks.copy()
        block, tail = _cut(self._tail + self._waiting)
        blocks.read(block, remember=False)
        blocks.read(tail, remember=False)
        return blocks.reader.found()


def _cut(data: bytes) -> tuple[bytes, bytes]:
    """(the whole lines, the unfinished one); of a line longer than `MAX_LINE` only its beginning.

    Only the first line can be longer: the others began in the last block.
    """
    first = min(end for end in (data.find(b"\n"), data.find(b"\r"), len(data)) if end >= 0)
    if first > MAX_LINE:
        data = data[:MAX_LINE] + data[first:]
    end = 1 + max(data.rfind(b"\n"), data.rfind(b"\r"))
    return data[:end], data[end:]


def _numbered(block: bytes) -> Iterator[tuple[int, bytes]]:
    """The lines of a block, each with the number of line feeds before it."""
    for line, text in enumerate(block.split(b"\n")):
        for part in text.split(b"\r"):
            yield line, part


class _Blocks:
    """Whole lines in, of which the reader gets those that may matter."""

    def __init__(self, engine: Engine, reader: Reader | None = None, line: int = 1) -> None:
        self._engine = engine
        self.reader = Reader(engine) if reader is None else reader
        self._line = line

    def copy(self) -> "_Blocks":
        """One that goes on from here without changing this one."""
        return _Blocks(self._engine, self.reader.copy(), self._line)

    def read(self, block: bytes, *, remember: bool = True) -> None:
        """Read the lines of a block that may matter, and all lines of a traceback."""
        block = without_escapes(block)
        suspects = self._engine.sift(block, remember=remember)
        # Progress is of interest only after something has been found.
        if suspects or self.reader.inside or self.reader.kept:
            self._read_lines([(self._line + n, raw) for n, raw in _numbered(block)], suspects)
        self._line += block.count(b"\n")

    def _read_lines(self, lines: list[tuple[int, bytes]], suspects: frozenset[int]) -> None:
        reader = self.reader
        passed = 0
        for number, (line, raw) in enumerate(lines):
            if number in suspects or reader.inside:
                reader.passed(lines[max(passed, number - SAMPLE) : number])
                reader.read(line, raw)
                passed = number + 1
        reader.passed(lines[max(passed, len(lines) - SAMPLE) :])
