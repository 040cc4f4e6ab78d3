"""Matches the suspect lines of a log and keeps their findings in bounded memory.

Python tracebacks are read as units: only the line of the exception counts, not the source lines
above it, and of a chain of exceptions the first is the cause.
"""

import string
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass, field, replace

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Naming, Role, Speaker
from slurm_restart.logs.failure_kind import explained, with_kind
from slurm_restart.logs.host_lines import HostLines
from slurm_restart.logs.host_prefixes import HostPrefixes, without_host
from slurm_restart.logs.lines import is_warning, readable, split_label, truncated
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher, match_message
from slurm_restart.logs.timestamps import logged_at
from slurm_restart.logs.titles import Titles
from slurm_restart.logs.tracebacks import (
    CHAINS,
    CODE,
    EXCEPTION,
    IGNORED,
    TRACEBACK,
    TracebackState,
)

KEEP_FIRST = 8
KEEP_LAST = 4
"""Findings kept of each rule: the first ones for the cause, the last ones for the end."""
KEEP_MESSAGES = 32
"""Last messages kept: those at the end of the log may tell the cause."""
START = 200
"""Lines up to which a program with progress still counts as starting."""
EARLY = 10_000
"""Lines up to which a program without progress counts as starting; NCCL may print thousands."""
NEXT_LINES = 3
"""Lines between the notice of an ignored exception and its traceback."""
MAX_LABELS = 4096
MAX_NOISE = 512
MAX_TRACEBACK = 2000
"""Lines after which a traceback without an exception line counts as ended."""

_NO_REASON = frozenset({Role.CASCADE, Role.TEARDOWN, Role.NOISE})
"""Roles of lines that give no reason for what a title announces."""
_REASONS = frozenset({Role.ROOT, Role.MESSAGE})
"""Roles of titles that are shown as the cause themselves."""
_OTHER_BYTES = bytes(set(range(256)) - set(string.ascii_letters.encode()))


@dataclass(slots=True)
class _RuleFindings:
    """The findings of one rule."""

    first: list[Finding] = field(default_factory=list)
    last: deque[Finding] = field(default_factory=lambda: deque(maxlen=KEEP_LAST))

    def add(self, finding: Finding) -> None:
        if len(self.first) < KEEP_FIRST:
            self.first.append(finding)
        else:
            self.last.append(finding)


class _Said:
    """A line of which the speaker is only identified if a pattern matches it."""

    __slots__ = ("_label", "_speaker", "_text", "host", "message")

    def __init__(self, text: str, label: str, message: str) -> None:
        self._text = text
        self._label = label
        self._speaker: Speaker | None = None
        self.message = message
        self.host = ""

    def speaker(self) -> Speaker:
        if self._speaker is None:
            from slurm_restart.logs.speakers import identify_speaker  # noqa: PLC0415  # 3 ms

            found = identify_speaker(self._text, self._label, self.message)
            self._speaker, self.host = found
        return self._speaker


@dataclass(slots=True)
class FindingCollector:
    """Collects the findings of one log from its lines."""

    matcher: RuleMatcher
    line: int = 0
    """Number of the current line, from 1."""
    began: int = 0
    """Number of the line at which the attempt began; 0: the first one."""
    progress: int = 0
    """Number of the last line that reported progress; 0: none."""
    matched: int = 0
    """Number of lines that a rule matched."""
    tracebacks: dict[str, TracebackState] = field(default_factory=dict)
    """By rank label."""
    inside: set[str] = field(default_factory=set)
    """Labels of the ranks that are printing a traceback."""
    header: int = 0
    """Line of the last header of a traceback."""
    kept: dict[str, _RuleFindings] = field(default_factory=dict)
    """By rule."""
    progress_came_first: bool = False
    """The program reported progress before the first finding."""
    handled: dict[int, None] = field(default_factory=dict)
    """Lines of exceptions for which a later one of the same chain is the better cause."""
    noise: set[bytes] = field(default_factory=set)
    """The letters of lines that are noise: repetitions differ in their numbers only."""
    recovered: dict[Category, int] = field(default_factory=dict)
    """Line that reports recovery from failures of a category."""
    hosts: HostLines = field(default_factory=HostLines)
    """Where the tasks and ranks run."""
    prefixes: HostPrefixes = field(default_factory=HostPrefixes)
    """Hosts that a launcher puts in front of each line."""
    messages: deque[Finding] = field(default_factory=lambda: deque(maxlen=KEEP_MESSAGES))
    """The last lines with the words of a failure of which no rule knows more."""
    titles: Titles = field(default_factory=Titles)
    """Titles of messages whose reason stands on a line that has not been read yet."""

    @property
    def wants_next(self) -> bool:
        """Whether the next line has to be read, whatever it is."""
        return bool(self.inside or self.titles.open)

    def copy(self) -> "FindingCollector":
        """Return an independent copy in the same state."""
        tracebacks = {label: replace(trace) for label, trace in self.tracebacks.items()}
        kept = {rule: _RuleFindings(list(k.first), k.last.copy()) for rule, k in self.kept.items()}
        recovered, handled = dict(self.recovered), dict(self.handled)
        return replace(
            self,
            tracebacks=tracebacks,
            inside=set(self.inside),
            kept=kept,
            recovered=recovered,
            handled=handled,
            noise=set(self.noise),
            hosts=self.hosts.copy(),
            prefixes=self.prefixes.copy(),
            messages=self.messages.copy(),
            titles=self.titles.copy(),
        )

    def found(self, last: int) -> tuple[Finding, ...]:
        """Return the kept findings in order of their lines.

        Args:
            last: number of the last line of the log.
        """
        findings = [
            self._rate(finding, last - self.matched)
            for kept in self.kept.values()
            for finding in (*kept.first, *kept.last)
        ]
        findings += [self._rate(message, last - self.matched) for message in self.messages]
        findings += [self._rate(title, last - self.matched) for title in self.titles.unexplained()]
        return tuple(sorted(findings, key=lambda finding: finding.line))

    def _rate(self, finding: Finding, unmatched: int) -> Finding:
        """Return a finding with what is known from the lines after it."""
        finding = with_kind(self.matcher, finding)
        if finding.line in self.handled:
            finding = replace(finding, role=Role.CASCADE)
        if self.recovered.get(finding.category, 0) > finding.line:
            finding = replace(finding, confidence=Confidence.GUESS)
        host = finding.host or self.hosts.placed.host_of(finding.rank)
        return replace(
            finding,
            host=host,
            went_on=max(0, self.progress - finding.line),
            followed=max(0, unmatched - finding.followed),
        )

    def note_progress(self, lines: Sequence[tuple[int, bytes]]) -> None:
        """Update the progress from the last lines before a suspect line or the end of a block."""
        for line, raw in reversed(lines):
            if self.matcher.is_progress(split_label(readable(raw))[1]):
                self.progress = line
                return

    def is_noise(self, raw: bytes) -> bool:
        """Whether a line is known to be noise and need not be matched."""
        return not self.wants_next and raw.translate(None, _OTHER_BYTES) in self.noise

    def read(self, line: int, raw: bytes) -> None:
        """Process one suspect line, or one that is part of a traceback."""
        self.line = line
        text = readable(raw)
        label, body = self.prefixes.split(text)
        self.hosts.read(label, body)
        if self.line - self.header > MAX_TRACEBACK:
            self.inside.clear()
        if self.titles.open and self._is_reason(label, text, body):
            return
        if self._is_structure(label, text, body):
            return
        if label in self.inside:
            trace = self.tracebacks[label]
            if trace.is_inside(body):
                trace.note_frame(body)
            else:
                self._close(label, text, body)
        elif CODE.match(body):
            return
        elif finding := self._match(label, text, body):
            self._take(label, body, raw, finding)
        elif self.matcher.is_progress(body):
            self.progress = line

    def _take(self, label: str, body: str, raw: bytes, finding: Finding) -> None:
        """Keep the finding of a line outside tracebacks; a title's waits for its reason."""
        if EXCEPTION.match(body):
            finding = self._without_traceback(self._traceback_state(label), finding)
        elif finding.role is Role.NOISE and finding.rule in self.kept:
            self._remember_noise(raw)
        if not self.titles.add(label, finding):
            self._keep(finding)

    def _is_reason(self, label: str, text: str, body: str) -> bool:
        """Whether a line is the reason under a title; if so, keep the title's finding with it.

        A line that is a sure cause by a rule of its own makes the title a mere header.
        """
        for title in self.titles.expired(self.line):
            self._keep(title)
        waiting = self.titles.take(label, body, self.line)
        if waiting is None:
            return False
        own = None if TRACEBACK in body else self._match(label, text, body)
        own = own and with_kind(self.matcher, own)
        known = own is not None and _explains(own, waiting)
        if own is not None and own.role is not Role.MESSAGE:
            self.matched -= 1
        if own is not None and self.titles.add(label, own):
            # A title under a title: the reason stands below both.
            self._keep(replace(waiting, role=Role.HEADER, reason=None))
            return True
        if own is not None and own.role is Role.HEADER:
            self.titles.open[label] = waiting
            self._keep(own)
            return True
        if own is not None and own.role in _NO_REASON and waiting.role in _REASONS:
            self._keep(replace(waiting, reason=None))
            return False
        if known or TRACEBACK in body:
            self._keep(replace(waiting, role=Role.HEADER))
            return False
        self._keep(explained(self.matcher, waiting, self.line, truncated(text)))
        return True

    def _remember_noise(self, raw: bytes) -> None:
        if len(self.noise) >= MAX_NOISE:
            self.noise.clear()
        self.noise.add(raw.translate(None, _OTHER_BYTES))

    def _is_structure(self, label: str, text: str, body: str) -> bool:
        """Whether a line is part of the structure of tracebacks; if so, record it."""
        if TRACEBACK in body:
            self._open(label, text, body)
        elif any(chain in body for chain in CHAINS):
            self._traceback_state(label).chained = True
        elif any(ignored in body for ignored in IGNORED):
            self._traceback_state(label).ignored = self.line
        else:
            return False
        return True

    def _traceback_state(self, label: str) -> TracebackState:
        """Return the state of a rank; the oldest one is dropped when there are `MAX_LABELS`."""
        if label not in self.tracebacks and len(self.tracebacks) >= MAX_LABELS:
            oldest = next(iter(self.tracebacks))
            self.inside.discard(oldest)
            del self.tracebacks[oldest]
        return self.tracebacks.setdefault(label, TracebackState())

    def _open(self, label: str, text: str, body: str) -> None:
        trace = self._traceback_state(label)
        trace.indent = len(body) - len(body.lstrip(" "))
        trace.at = logged_at(text)
        trace.reading = None
        if not trace.chained:
            trace.explained = None
        if trace.ignored is not None and self.line - trace.ignored > NEXT_LINES:
            trace.ignored = None
        self.inside.add(label)
        self.header = self.line

    def _close(self, label: str, text: str, body: str) -> None:
        """End a traceback at the line of its exception, the first one that is not indented."""
        trace = self.tracebacks[label]
        self.inside.discard(label)
        if finding := self._match(label, text, body):
            at = finding.at if finding.at is not None else trace.at
            category = trace.category_of(finding.category)
            finding = replace(finding, at=at, raised=True, category=category)
            finding = self._in_chain(trace, finding)
            if not self.titles.add(label, finding):
                self._keep(finding)
        trace.chained, trace.ignored = False, None

    def _without_traceback(self, trace: TracebackState, finding: Finding) -> Finding:
        """Return the finding of an exception whose traceback is not in the log."""
        if not trace.chained:
            trace.explained = None
        finding = self._in_chain(trace, finding)
        trace.chained = False
        return finding

    def _in_chain(self, trace: TracebackState, finding: Finding) -> Finding:
        """Return the finding of an exception, as a cascade where an earlier one is the cause."""
        if finding.role is not Role.ROOT:
            return finding
        if trace.ignored is not None:
            return replace(finding, role=Role.TEARDOWN)
        if trace.chained and trace.explained is not None:
            if not (trace.likely and finding.confidence is Confidence.CERTAIN):
                return replace(finding, role=Role.CASCADE)
            # The first was expected and handled, or is a less specific report of the same failure.
            self.handled[trace.explained] = None
            if len(self.handled) > MAX_LABELS:
                del self.handled[next(iter(self.handled))]
        if finding.confidence is not Confidence.GUESS:
            trace.explained = finding.line
            trace.likely = finding.confidence is Confidence.LIKELY
        return finding

    def _match(self, label: str, text: str, body: str) -> Finding | None:
        said = _Said(text, label, body.strip())
        hit = match_message(self.matcher, text, said.message, said.speaker)
        if shorter := without_host(said.message):
            hit = self.matcher.match(split_label(shorter)[1], said.speaker, hit)
        if hit is None:
            return None
        # A program that warns goes on.
        warned = not hit.rule.category.recoverable and is_warning(text)
        # What no rule knows does not count as a line that one knows.
        self.matched += hit.rule.role is not Role.MESSAGE
        return Finding(
            rule=hit.rule.id,
            category=hit.rule.category,
            role=hit.rule.role,
            line=self.line,
            text=truncated(text),
            nodes=hit.nodes,
            naming=hit.rule.blame or Naming.NODE,
            rank=label,
            at=logged_at(text),
            confidence=_of_warning(hit.rule) if warned else hit.rule.confidence,
            speaker=said.speaker(),
            host=said.host,
            progressed=self.progress > 0,
            early=self._is_early(),
            at_start=None if warned else hit.rule.at_start,
            followed=self.line - self.matched,
            reason=hit.rule.reason,
        )

    def _is_early(self) -> bool:
        """Return whether the program was still starting before the current line."""
        if self.progress:
            return self.progress - self.began < START
        return self.line - self.began <= EARLY

    def _keep(self, finding: Finding) -> None:
        if finding.role is Role.MESSAGE:
            self.messages.append(finding)
            return
        if not self.kept:
            self.progress_came_first = self.progress > 0
        if finding.role is Role.START:
            self._reset()
        elif finding.role is Role.RECOVERED:
            self.recovered[finding.category] = finding.line
        self.kept.setdefault(finding.rule, _RuleFindings()).add(finding)

    def _reset(self) -> None:
        """Drop all state: it belongs to an attempt that has ended."""
        for store in (self.kept, self.tracebacks, self.inside, self.handled, self.recovered):
            store.clear()
        self.titles.open.clear()
        self.messages.clear()
        self.hosts = HostLines()
        self.progress = 0
        self.began = self.line


def _of_warning(rule: LogRule) -> Confidence:
    """Return the confidence of a cause that stops runs, if the line is only a warning."""
    certain = rule.confidence is Confidence.CERTAIN
    return Confidence.CERTAIN if certain else Confidence.GUESS


def _explains(line: Finding, title: Finding) -> bool:
    """Return whether the line under a title tells the cause better than the title does."""
    if line.role is Role.ROOT:
        return _is_known(line) or title.role is Role.MESSAGE
    if line.role is not Role.MESSAGE or line.category is Category.UNKNOWN:
        return False
    return line.category.recoverable or title.category is Category.UNKNOWN


def _is_known(finding: Finding) -> bool:
    """Return whether a rule tells the cause of a line, at least while the program was starting."""
    return finding.confidence is not Confidence.GUESS or finding.as_starting is not None
