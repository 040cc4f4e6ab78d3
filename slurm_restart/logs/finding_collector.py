"""Reads the lines of a log that may matter and keeps what they say, in bounded memory.

Python tracebacks are read as units: only the line of the exception counts, not the source lines
above it, and of a chain of exceptions the first is the cause.
"""

import string
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Naming, Role
from slurm_restart.logs.lines import readable, shown, split_label
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.timestamps import logged_at
from slurm_restart.logs.tracebacks import (
    CHAINS,
    CODE,
    EXCEPTION,
    IGNORED,
    INSIDE,
    TRACEBACK,
    TracebackState,
)

KEEP_FIRST = 8
KEEP_LAST = 4
"""Findings kept of each rule: the first ones for the cause, the last ones for the end."""
START = 200
"""Lines of a program that gets on which still count as its start."""
NEXT_LINES = 3
"""Lines from what says that an exception is ignored to its traceback."""
MAX_LABELS = 4096
MAX_NOISE = 512
MAX_TRACEBACK = 2000
"""Lines after which a traceback whose exception never came is given up."""

_OTHER_BYTES = bytes(set(range(256)) - set(string.ascii_letters.encode()))


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
class FindingCollector:
    """Lines in, findings out."""

    engine: RuleMatcher
    line: int = 0
    """Number of the line that is being read, from 1."""
    progress: int = 0
    """Number of the last line that was seen to tell of progress."""
    traces: dict[str, TracebackState] = field(default_factory=dict)
    """By rank label."""
    inside: set[str] = field(default_factory=set)
    """Labels of the ranks that are printing a traceback."""
    header: int = 0
    """Line of the last header of a traceback."""
    kept: dict[str, _Kept] = field(default_factory=dict)
    """By rule."""
    was_well: bool = False
    """The program got on before anything was found."""
    handled: dict[int, None] = field(default_factory=dict)
    """Lines of exceptions that a later one of their chain explains better."""
    noise: set[bytes] = field(default_factory=set)
    """The letters of lines that are noise: a storm of it says the same with other numbers."""
    recovered: dict[Category, int] = field(default_factory=dict)
    """Line at which what had failed was said to work again."""

    def copy(self) -> "FindingCollector":
        """A reader that goes on from here without changing this one."""
        traces = {label: replace(trace) for label, trace in self.traces.items()}
        kept = {rule: _Kept(list(k.first), k.last.copy()) for rule, k in self.kept.items()}
        recovered, handled = dict(self.recovered), dict(self.handled)
        return replace(
            self,
            traces=traces,
            inside=set(self.inside),
            kept=kept,
            recovered=recovered,
            handled=handled,
            noise=set(self.noise),
        )

    def found(self) -> tuple[Finding, ...]:
        """The kept findings by position."""
        findings = [
            self._seen_from_the_end(finding)
            for kept in self.kept.values()
            for finding in (*kept.first, *kept.last)
        ]
        return tuple(sorted(findings, key=lambda finding: finding.line))

    def _seen_from_the_end(self, finding: Finding) -> Finding:
        if finding.line in self.handled:
            finding = replace(finding, role=Role.CASCADE)
        if self.recovered.get(finding.category, 0) > finding.line:
            finding = replace(finding, confidence=Confidence.GUESS)
        return replace(finding, went_on=max(0, self.progress - finding.line))

    def passed(self, lines: Sequence[tuple[int, bytes]]) -> None:
        """Take note of the last lines before one that may matter, or before a pause."""
        for line, raw in reversed(lines):
            if self.engine.is_progress(split_label(readable(raw))[1]):
                self.progress = line
                return

    def is_noise(self, raw: bytes) -> bool:
        """Whether a line is known to be noise, and needs no reading."""
        return not self.inside and raw.translate(None, _OTHER_BYTES) in self.noise

    def read(self, line: int, raw: bytes) -> None:
        """Read one line that may matter, or that is part of a traceback."""
        self.line = line
        text = readable(raw)
        label, body = split_label(text)
        if self.line - self.header > MAX_TRACEBACK:
            self.inside.clear()
        if self._is_structure(label, text, body):
            return
        if label in self.inside:
            if body[:1] not in INSIDE:
                self._close(label, text, body)
        elif CODE.match(body):
            return
        elif finding := self._judge(label, text, body):
            if EXCEPTION.match(body):
                finding = self._headless(self._trace(label), finding)
            elif finding.role is Role.NOISE and finding.rule in self.kept:
                self._remember_noise(raw)
            self._keep(finding)
        elif self.engine.is_progress(body):
            self.progress = line

    def _remember_noise(self, raw: bytes) -> None:
        if len(self.noise) >= MAX_NOISE:
            self.noise.clear()
        self.noise.add(raw.translate(None, _OTHER_BYTES))

    def _is_structure(self, label: str, text: str, body: str) -> bool:
        """Whether a line only says how tracebacks hang together; if so, it is taken note of."""
        if TRACEBACK in body:
            self._open(label, text)
        elif any(chain in body for chain in CHAINS):
            self._trace(label).chained = True
        elif any(ignored in body for ignored in IGNORED):
            self._trace(label).ignored = self.line
        else:
            return False
        return True

    def _trace(self, label: str) -> TracebackState:
        """The state of a rank; the one that began longest ago gives way to a new one."""
        if label not in self.traces and len(self.traces) >= MAX_LABELS:
            oldest = next(iter(self.traces))
            self.inside.discard(oldest)
            del self.traces[oldest]
        return self.traces.setdefault(label, TracebackState())

    def _open(self, label: str, text: str) -> None:
        trace = self._trace(label)
        trace.at = logged_at(text)
        if not trace.chained:
            trace.explained = None
        if trace.ignored is not None and self.line - trace.ignored > NEXT_LINES:
            trace.ignored = None
        self.inside.add(label)
        self.header = self.line

    def _close(self, label: str, text: str, body: str) -> None:
        """The line of the exception: the one below the traceback that is not indented."""
        trace = self.traces[label]
        self.inside.discard(label)
        if finding := self._judge(label, text, body):
            at = finding.at if finding.at is not None else trace.at
            finding = replace(finding, at=at, raised=True)
            self._keep(self._in_chain(trace, finding))
        trace.chained, trace.ignored = False, None

    def _headless(self, trace: TracebackState, finding: Finding) -> Finding:
        """The finding of an exception whose traceback is not in the log."""
        if not trace.chained:
            trace.explained = None
        finding = self._in_chain(trace, finding)
        trace.chained = False
        return finding

    def _in_chain(self, trace: TracebackState, finding: Finding) -> Finding:
        """The finding of an exception, as a consequence where an earlier one explains it."""
        if finding.role is not Role.ROOT:
            return finding
        if trace.ignored is not None:
            return replace(finding, role=Role.TEARDOWN)
        if trace.chained and trace.explained is not None:
            if not (trace.likely and finding.confidence is Confidence.CERTAIN):
                return replace(finding, role=Role.CASCADE)
            # The first was expected and handled, or says less of the same failure.
            self.handled[trace.explained] = None
            if len(self.handled) > MAX_LABELS:
                del self.handled[next(iter(self.handled))]
        if finding.confidence is not Confidence.GUESS:
            trace.explained = finding.line
            trace.likely = finding.confidence is Confidence.LIKELY
        return finding

    def _judge(self, label: str, text: str, body: str) -> Finding | None:
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
            naming=hit.rule.blame or Naming.NODE,
            rank=label,
            at=logged_at(text),
            confidence=hit.rule.confidence,
            at_start=hit.rule.at_start if self.progress < START else None,
        )

    def _keep(self, finding: Finding) -> None:
        if not self.kept:
            self.was_well = self.progress > 0
        if finding.role is Role.START:
            self._forget()
        elif finding.role is Role.RECOVERED:
            self.recovered[finding.category] = finding.line
        self.kept.setdefault(finding.rule, _Kept()).add(finding)

    def _forget(self) -> None:
        """Begin anew: what was found belongs to an attempt that is over."""
        for store in (self.kept, self.traces, self.inside, self.handled, self.recovered):
            store.clear()
        self.progress = 0
