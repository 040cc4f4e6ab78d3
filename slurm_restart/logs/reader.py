"""Reads the lines of a log that may matter and keeps what they say, in bounded memory.

Python tracebacks are read as units: only the line of the exception counts, not the source lines
above it, and of a chain of exceptions the first is the cause.
"""

from collections import deque
from collections.abc import Iterable
from dataclasses import dataclass, field, replace

from slurm_restart.core.category import Confidence
from slurm_restart.core.finding import Finding, Role
from slurm_restart.logs.engine import Engine
from slurm_restart.logs.lines import readable, shown, split_label

KEEP_FIRST = 8
KEEP_LAST = 4
"""Findings kept of each rule: the first ones for the cause, the last ones for the end."""
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
STRUCTURE = (_TRACEBACK, *_CHAINS, *_IGNORED)
"""Texts that the reader wants to see besides what the rules look for."""


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
    """The findings of one rule."""

    first: list[Finding] = field(default_factory=list)
    last: deque[Finding] = field(default_factory=lambda: deque(maxlen=KEEP_LAST))

    def add(self, finding: Finding) -> None:
        if len(self.first) < KEEP_FIRST:
            self.first.append(finding)
        else:
            self.last.append(finding)


@dataclass(slots=True)
class Reader:
    """Lines in, findings out."""

    engine: Engine
    line: int = 0
    """Number of the line that is being read, from 1."""
    progress: int = 0
    """Number of the last line that was seen to tell of progress."""
    traces: dict[str, _Trace] = field(default_factory=dict)
    """By rank label."""
    inside: set[str] = field(default_factory=set)
    """Labels of the ranks that are printing a traceback."""
    header: int = 0
    """Line of the last header of a traceback."""
    kept: dict[str, _Kept] = field(default_factory=dict)
    """By rule."""

    def copy(self) -> "Reader":
        """A reader that goes on from here without changing this one."""
        traces = {label: replace(trace) for label, trace in self.traces.items()}
        kept = {rule: _Kept(list(k.first), k.last.copy()) for rule, k in self.kept.items()}
        return replace(self, traces=traces, inside=set(self.inside), kept=kept)

    def found(self) -> tuple[Finding, ...]:
        """The kept findings by position."""
        findings = [
            replace(finding, went_on=max(0, self.progress - finding.line))
            for kept in self.kept.values()
            for finding in (*kept.first, *kept.last)
        ]
        return tuple(sorted(findings, key=lambda finding: finding.line))

    def passed(self, lines: Iterable[tuple[int, bytes]]) -> None:
        """Take note of the last lines before one that may matter, or before a pause."""
        for line, raw in lines:
            if self.engine.is_progress(split_label(readable(raw))[1]):
                self.progress = line

    def read(self, line: int, raw: bytes) -> None:
        """Read one line that may matter, or that is part of a traceback."""
        self.line = line
        text = readable(raw)
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
        self.kept.setdefault(finding.rule, _Kept()).add(finding)
