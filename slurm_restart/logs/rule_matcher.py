"""Finds the lines of a block that may match a rule, and the first rule that matches a line."""

import re
from collections.abc import Callable, Iterable, Iterator, Sequence
from dataclasses import dataclass

from slurm_restart.core.finding import Role, Speaker
from slurm_restart.core.hostlist import expand
from slurm_restart.errors import SlurmError
from slurm_restart.logs.lines import ERROR, with_level
from slurm_restart.logs.literals import make_finder
from slurm_restart.logs.patterns import literals
from slurm_restart.logs.rule import SEPARATE, Branch, LogRule

MAX_NAMES = 256
"""A line that gives more node names blames no node."""


@dataclass(frozen=True, slots=True)
class RuleMatch:
    """A rule that matches a line, and the node names that its pattern captured."""

    rule: LogRule
    nodes: tuple[str, ...]
    number: int
    """Place of the rule, or of an alternative of it, in the order in which they are tried."""


class _Pattern:
    """A regular expression that is compiled when it is first needed, which takes about 1 ms."""

    __slots__ = ("_compiled", "_source")

    def __init__(self, source: str) -> None:
        self._source = source
        self._compiled: re.Pattern[str] | None = None

    @property
    def compiled(self) -> re.Pattern[str]:
        if self._compiled is None:
            self._compiled = re.compile(self._source)
        return self._compiled


class _Alternative:
    """A rule's pattern, or one of its alternatives, which is compiled when it is first needed."""

    __slots__ = ("_compiled", "_end", "_start", "more_literals", "rule")

    def __init__(self, rule: LogRule, branch: Branch) -> None:
        self.rule = rule
        self.more_literals = branch.more_literals
        self._start, self._end = branch.start, branch.end
        self._compiled: re.Pattern[str] | None = None

    @property
    def compiled(self) -> re.Pattern[str]:
        if self._compiled is None:
            self._compiled = re.compile(self.rule.pattern[self._start : self._end])
        return self._compiled


def _alternatives(rule: LogRule) -> Iterable[Branch]:
    if rule.branches:
        return rule.branches
    texts = rule.literals or tuple(literals(rule.pattern))
    return (Branch(0, len(rule.pattern), texts, rule.more_literals),)


class RuleMatcher:
    """A set of rules prepared for searching.

    A rule's pattern is tried only on lines that contain one of its literals, and one of its further
    literals, because the search for fixed texts is much faster than that for patterns. Of a pattern
    that is one alternation each alternative has literals of its own.

    Args:
        rules: in the order in which they are tried; the first that matches a line judges it.
        also: further fixed texts that make a line suspect.
        finder: how fixed texts are searched for; None: the fastest way that is installed.
    """

    def __init__(
        self, rules: Sequence[LogRule], *, also: Iterable[str] = (), finder: str | None = None
    ) -> None:
        self._progress = [_Pattern(rule.pattern) for rule in rules if rule.role is Role.PROGRESS]
        self._finished = [
            (_Pattern(rule.pattern), rule) for rule in rules if rule.role is Role.FINISHED
        ]
        self._kinds = [(_Pattern(rule.pattern), rule) for rule in rules if rule.role is Role.KIND]
        self._rules: list[_Alternative] = []
        """In the order in which they are tried, by number."""
        texts: dict[str, list[int]] = {text: [] for text in also}
        for rule in (rule for rule in rules if rule.role not in SEPARATE):
            for branch in _alternatives(rule):
                for text in branch.literals:
                    texts.setdefault(text, []).append(len(self._rules))
                self._rules.append(_Alternative(rule, branch))
        self._others = frozenset(
            number
            for number, known in enumerate(self._rules)
            if known.rule.speakers and Speaker.PROGRAM not in known.rule.speakers
        )
        """Numbers of those that are for few lines, so that the speaker is asked for first."""
        self._finder = make_finder(texts, finder)
        self._levelled: dict[str, tuple[int, ...]] = {}
        """Numbers of the rules of which a literal is in a level, by the level."""
        self.name = self._finder.name
        """The finder's name."""

    def suspects(self, block: bytes) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of the lines of a block that may match a rule, in their order.

        Lines end with a line feed or a carriage return, which is not part of them.
        """
        return self._finder.lines(block)

    def is_suspect(self, line: bytes) -> bool:
        """Whether one line may match a rule."""
        return next(iter(self._finder.lines(line)), None) is not None

    def is_progress(self, text: str) -> bool:
        """Whether a readable line without its label reports progress."""
        return any(pattern.compiled.search(text) for pattern in self._progress)

    def finished(self, text: str) -> LogRule | None:
        """Return the first rule that takes a readable line without its label for a program's end.

        A pattern is compiled only where one of its literals is in the line.
        """
        for pattern, rule in self._finished:
            needed = rule.literals or literals(rule.pattern)
            if any(part in text for part in needed) and pattern.compiled.search(text):
                return rule
        return None

    def kind(self, text: str, speaker: Speaker) -> LogRule | None:
        """Return the first rule over words that matches a line of a failure, or None.

        Args:
            text: a readable line without its label, of which no other rule knows the cause.
            speaker: who printed the line.
        """
        for pattern, rule in self._kinds:
            if speaker in rule.believed and pattern.compiled.search(text):
                return rule
        return None

    def match(
        self, text: str, speaker: Callable[[], Speaker], known: RuleMatch | None = None
    ) -> RuleMatch | None:
        """Return the first rule that matches a line and is for its speaker, or None.

        Args:
            text: a readable line without its label.
            speaker: returns who printed the line; only called if a pattern may match.
            known: what another form of the line matches; it is returned unless a rule that is tried
                before it matches this form.
        """
        return self._first(self._finder.rules(text.encode()), text, speaker, known)

    def match_level(
        self, text: str, speaker: Callable[[], Speaker], known: RuleMatch | None = None
    ) -> RuleMatch | None:
        """Return the first rule that requires the level and matches a message with it, or None.

        Args:
            text: the level, as `ERROR: `, and a readable line without its label.
            speaker: returns who printed the line; only called if a pattern may match.
            known: see `match`.
        """
        level = text[: len(ERROR)]
        if level not in self._levelled:
            self._levelled[level] = tuple(self._finder.rules(level.encode()))
        return self._first(self._levelled[level], text, speaker, known)

    def _first(
        self,
        numbers: Iterable[int],
        text: str,
        speaker: Callable[[], Speaker],
        known: RuleMatch | None,
    ) -> RuleMatch | None:
        for number in numbers:
            if known is not None and number >= known.number:
                return known
            pattern = self._rules[number]
            needed, rule = pattern.more_literals, pattern.rule
            if needed and not any(map(text.__contains__, needed)):
                continue
            if number in self._others and speaker() not in rule.speakers:
                continue
            found = pattern.compiled.search(text)
            if found and speaker() in rule.believed:
                names = _names(found) if rule.blame is not None else ()
                return RuleMatch(rule, names, number)
        return known


def match_message(
    matcher: RuleMatcher, text: str, message: str, speaker: Callable[[], Speaker]
) -> RuleMatch | None:
    """Return the first rule that matches a message, with or without the level of its line.

    Args:
        matcher: the rules.
        text: the readable line.
        message: the line without labels, time and level, and without blanks at its ends.
        speaker: returns who printed the line.
    """
    hit = matcher.match(message, speaker)
    for levelled in with_level(text, message):
        hit = matcher.match_level(levelled, speaker, hit)
    return hit


def split_names(text: str) -> tuple[str, ...]:
    """Return the node names in a text such as `csx3,csx[5-7]`, each once; none if it is no list."""
    try:
        names = expand(text.strip(","))
    except SlurmError:
        return ()
    return names if len(names) <= MAX_NAMES else ()


def _names(found: re.Match[str]) -> tuple[str, ...]:
    return split_names(found["node"]) if found["node"] else ()
