"""Reads a log as it streams by and keeps what the rules say of it, in bounded memory.

Python tracebacks are read as units: only the line of the exception counts, not the source lines
above it, and of a chain of exceptions the first is the cause.
"""

from collections import deque
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field, replace

from slurm_restart.core.category import Confidence
from slurm_restart.core.finding import Finding, Role
from slurm_restart.logs.engine import Engine
from slurm_restart.logs.lines import readable, shown, split_label, without_escapes
from slurm_restart.logs.rule import Rule

MAX_LINE = 16 * 1024
"""Bytes of a line that are looked at; also the size in which input is taken."""
KEEP_FIRST = 8
KEEP_LAST = 4
"""Findings kept of each rule: the first ones for the cause, the last ones for the end."""
SURVIVED = 1000
"""Lines of usual output after which a program is taken to have survived an error.

A dying Python program prints its traceback first and then what it had buffered, 8 KiB a rank.
"""
NEXT_LINES = 3
"""Lines from what says that an exception is ignored to its traceback."""
MAX_LABELS = 4096
MAX_TRACEBACK = 2000
"""Lines after which a traceback whose exception never came is given up."""

_TRACEBACK = "Traceback (most recent call last)"
_CHAINS = (
    "During handling of the above exception, another exception occurred",
    "The above exception was the direct cause of the following exception",
)
# Python goes on after these: an error in a destructor, or in writing the log.
_IGNORED = ("Exception ignored in", "--- Logging error ---")


class LogScanner:
    """Applies rules to a stream of bytes.

    Args:
        rules: in the order in which they are tried.
    """

    def __init__(self, rules: Sequence[Rule]) -> None:
        self._reader = _Reader(Engine(rules, also=(_TRACEBACK, *_CHAINS, *_IGNORED)))
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
            self._reader.read_block(block)
        self._waiting = self._waiting[whole:]

    def findings(self) -> tuple[Finding, ...]:
        """What has been found so far in order of position, the unfinished last line included."""
        reader = self._reader.copy()
        block, tail = _cut(self._tail + self._waiting)
        reader.read_block(block, remember=False)
        reader.read_block(tail, remember=False)
        return reader.found()


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


@dataclass(slots=True)
class _Trace:
    """Where one rank is in printing exceptions."""

    chained: bool = False
    """The next exception was raised while handling, or because of, the one before."""
    explained: bool = False
    """An exception of this chain has been given as a cause."""
    ignored: int | None = None
    """Line that says that the exception which follows is ignored."""


@dataclass(slots=True)
class _Kept:
    """The findings of one rule, each with how much usual output had been printed before it."""

    first: list[tuple[Finding, int]] = field(default_factory=list)
    last: deque[tuple[Finding, int]] = field(default_factory=lambda: deque(maxlen=KEEP_LAST))

    def add(self, finding: Finding, usual: int) -> None:
        if len(self.first) < KEEP_FIRST:
            self.first.append((finding, usual))
        else:
            self.last.append((finding, usual))


@dataclass(slots=True)
class _Reader:
    """Whole lines in, findings out."""

    engine: Engine
    line: int = 1
    """Number of the next line."""
    traces: dict[str, _Trace] = field(default_factory=dict)
    """By rank label."""
    inside: set[str] = field(default_factory=set)
    """Labels of the ranks that are printing a traceback."""
    header: int = 0
    """Line of the last header of a traceback."""
    kept: dict[str, _Kept] = field(default_factory=dict)
    """By rule."""
    usual: int = 0
    """Lines so far that said what had been said before, and nothing of interest."""

    def copy(self) -> "_Reader":
        """A reader that goes on from here without changing this one."""
        traces = {label: replace(trace) for label, trace in self.traces.items()}
        kept = {rule: _Kept(list(k.first), k.last.copy()) for rule, k in self.kept.items()}
        return replace(self, traces=traces, inside=set(self.inside), kept=kept)

    def found(self) -> tuple[Finding, ...]:
        """The kept findings by position."""
        findings = [
            _survived(finding) if self.usual - usual > SURVIVED else finding
            for kept in self.kept.values()
            for finding, usual in (*kept.first, *kept.last)
        ]
        return tuple(sorted(findings, key=lambda finding: finding.line))

    def read_block(self, block: bytes, *, remember: bool = True) -> None:
        """Read the lines of a block that may matter, and all lines of a traceback."""
        block = without_escapes(block)
        sifted = self.engine.sift(block, remember=remember)
        self.usual += sifted.usual
        if sifted.suspects or self.inside:
            start = self.line
            for number, (line, raw) in enumerate(_numbered(block)):
                if number in sifted.suspects or self.inside:
                    self.line = start + line
                    self._read(readable(raw))
            self.line = start
        self.line += block.count(b"\n")

    def _read(self, text: str) -> None:
        label, body = split_label(text)
        if self.line - self.header > MAX_TRACEBACK:
            self.inside.clear()
        if _TRACEBACK in body:
            self._open(label)
        elif any(chain in body for chain in _CHAINS):
            self._trace(label).chained = True
        elif any(ignored in body for ignored in _IGNORED):
            self._trace(label).ignored = self.line
        elif label in self.inside:
            if body[:1] not in ("", " "):
                self._close(label, text, body)
        elif finding := self._judge(text, body):
            self._keep(finding)

    def _trace(self, label: str) -> _Trace:
        """The state of a rank; the one that began longest ago gives way to a new one."""
        if label not in self.traces and len(self.traces) >= MAX_LABELS:
            oldest = next(iter(self.traces))
            self.inside.discard(oldest)
            del self.traces[oldest]
        return self.traces.setdefault(label, _Trace())

    def _open(self, label: str) -> None:
        trace = self._trace(label)
        trace.explained = trace.explained and trace.chained
        if trace.ignored is not None and self.line - trace.ignored > NEXT_LINES:
            trace.ignored = None
        self.inside.add(label)
        self.header = self.line

    def _close(self, label: str, text: str, body: str) -> None:
        """The line of the exception: the one below the traceback that is not indented."""
        trace = self.traces[label]
        self.inside.discard(label)
        if finding := self._judge(text, body):
            if finding.role is Role.ROOT and trace.ignored is not None:
                finding = replace(finding, role=Role.TEARDOWN)
            elif finding.role is Role.ROOT and trace.chained and trace.explained:
                finding = replace(finding, role=Role.CASCADE)
            self._keep(finding)
            sure = finding.confidence is not Confidence.GUESS
            trace.explained = trace.explained or (finding.role is Role.ROOT and sure)
        trace.chained, trace.ignored = False, None

    def _judge(self, text: str, body: str) -> Finding | None:
        hit = self.engine.match(body.strip())
        if hit is None:
            return None
        return Finding(
            rule=hit.rule.id,
            category=hit.rule.category,
            role=hit.rule.role,
            line=self.line,
            text=shown(text),
            nodes=hit.nodes,
            confidence=hit.rule.confidence,
        )

    def _keep(self, finding: Finding) -> None:
        self.kept.setdefault(finding.rule, _Kept()).add(finding, self.usual)


def _survived(finding: Finding) -> Finding:
    """A finding after which the program went on as before: no more than a guess."""
    return replace(finding, confidence=Confidence.GUESS)
