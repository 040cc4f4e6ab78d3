"""The rule over log lines, and its validation."""

import re
from collections.abc import Iterable, Mapping
from dataclasses import field, replace
from enum import Enum
from typing import Any, NamedTuple, TypeVar

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Naming, Reason, Role, Speaker
from slurm_restart.frozen import frozen
from slurm_restart.logs.lines import split_label, with_level
from slurm_restart.logs.patterns import MIN_LETTERS, branches, danger, literals, more_literals

_E = TypeVar("_E", bound=Enum)
_ID = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")
_KEYS = (
    "id",
    "category",
    "role",
    "pattern",
    "blame",
    "confidence",
    "at_start",
    "speakers",
    "reason",
    "meaning",
    "remedy",
    "sources",
)
_TEXT_LISTS = ("sources", "speakers")
_REQUIRED = ("id", "category", "role", "pattern", "meaning", "examples")
_SIDES = ("positive", "negative")
_SPEAKERS = tuple(speaker.value for speaker in Speaker)
MAX_PATTERN = 2000
SEPARATE = frozenset({Role.PROGRESS, Role.FINISHED, Role.KIND})
"""Roles whose rules are tried on selected lines only, not on every suspect one."""

EVERYBODY = tuple(Speaker)
OF_THE_USER = (Speaker.PROGRAM, Speaker.LAUNCHER, Speaker.CONTAINER, Speaker.SHELL)
"""Those who know what the user has written: a daemon, a driver or a library reports only an errno
for which the node may be to blame as well."""
_BELIEVED = {
    Category.COMPILE: OF_THE_USER,
    Category.CONFIG: OF_THE_USER,
    Category.CODE: OF_THE_USER,
    Category.AUTH: OF_THE_USER,
    Category.STORAGE_FULL: (*OF_THE_USER, Speaker.LIBRARY),
}
"""Who is believed to know the cause, by the category of a root rule; others: everybody."""


class Branch(NamedTuple):
    """One alternative of a rule's pattern, which is tried by itself.

    `start` and `end` are its place in the pattern; for the others see `LogRule`.
    """

    start: int
    end: int
    literals: tuple[str, ...]
    more_literals: tuple[str, ...]


@frozen
class LogRule:
    """One pattern over a line and what it means.

    `pattern` is searched in the message of a line, without the rank, time and level in front;
    `^` matches the beginning of the message. `positive` lines must match it and `negative` ones
    must not. `sources` name the origin of the message: a document, a file of its program's
    sources, or a measurement.
    """

    id: str
    category: Category
    role: Role
    pattern: str
    meaning: str
    confidence: Confidence = Confidence.LIKELY
    at_start: Confidence | None = None
    """The confidence before the program has made progress: such failures repeat at each start."""
    speakers: tuple[Speaker, ...] = ()
    """Whose lines the rule is for; empty: those who are believed about such a category."""
    reason: Reason | None = None
    """Where the reason stands that a line announces; None: in the line itself."""
    remedy: str | None = None
    blame: Naming | None = None
    sources: tuple[str, ...] = ()
    origin: str = field(default="", compare=False)
    """FILE:LINE of the rule."""
    positive: tuple[str, ...] = ()
    negative: tuple[str, ...] = ()
    literals: tuple[str, ...] = field(default=(), compare=False)
    """Fixed texts of which every matching line holds one; empty: those of the branches, else
    `patterns.literals` finds them."""
    more_literals: tuple[str, ...] = field(default=(), compare=False)
    """Others of which it holds one as well (`patterns.more_literals`); empty: none."""
    branches: tuple[Branch, ...] = field(default=(), compare=False)
    """The alternatives of the pattern (`patterns.branches`); empty: it is tried as a whole."""

    @property
    def believed(self) -> tuple[Speaker, ...]:
        """The speakers whose lines the rule matches."""
        if self.speakers:
            return self.speakers
        return _BELIEVED.get(self.category, EVERYBODY) if self.role is Role.ROOT else EVERYBODY


class BadRuleError(Exception):
    """A rule is refused; `problems` are all the reasons, each as `key: what is wrong`."""

    def __init__(self, problems: list[str]) -> None:
        self.problems = tuple(problems)
        super().__init__("; ".join(problems))


def matches(pattern: str, line: str) -> re.Match[str] | None:
    """Return the match of a pattern in a readable line; `re` keeps compiled patterns."""
    message = split_label(line)[1].strip()
    found = re.search(pattern, message)
    for levelled in with_level(line, message):
        found = found or re.search(pattern, levelled)
    return found


def build(fields: Mapping[str, Any]) -> LogRule:
    """Validate the fields of a rule of a file and return the rule.

    Raises:
        BadRuleError: with all problems of the rule.
    """
    problems = _field_problems(fields)
    if problems:
        raise BadRuleError(problems)
    examples = fields["examples"]
    texts = {key: fields[key] for key in ("id", "pattern", "meaning")}
    rule = LogRule(
        **texts,
        category=_member(Category, fields, "category", problems, Category.UNKNOWN),
        role=_member(Role, fields, "role", problems, Role.NOISE),
        confidence=_member(Confidence, fields, "confidence", problems, Confidence.LIKELY),
        at_start=_member(Confidence, fields, "at_start", problems, Confidence.LIKELY)
        if "at_start" in fields
        else None,
        reason=_member(Reason, fields, "reason", problems, Reason.BELOW)
        if "reason" in fields
        else None,
        remedy=fields.get("remedy"),
        blame=_member(Naming, fields, "blame", problems, Naming.NODE)
        if "blame" in fields
        else None,
        sources=tuple(fields.get("sources", ())),
        speakers=_speakers(fields.get("speakers", ()), problems),
        positive=tuple(examples.get("positive", ())),
        negative=tuple(examples.get("negative", ())),
    )
    if not _ID.fullmatch(rule.id):
        problems.append(
            f"id: expected lower-case letters, digits and ._- (64 at most), got {rule.id!r}"
        )
    problems += _pattern_problems(rule) or _example_problems(rule) + _speaker_problems(rule)
    if problems:
        raise BadRuleError(problems)
    return with_literals(rule)


def with_literals(rule: LogRule) -> LogRule:
    """Return a rule with the fixed texts that its pattern needs."""
    if rule.role not in SEPARATE and (found := _branches(rule.pattern)):
        return replace(rule, branches=found)
    return replace(
        rule,
        literals=tuple(sorted(literals(rule.pattern))),
        more_literals=tuple(sorted(more_literals(rule.pattern))),
    )


def _branches(pattern: str) -> tuple[Branch, ...]:
    return tuple(
        Branch(
            start,
            end,
            tuple(sorted(literals(pattern[start:end]))),
            tuple(sorted(more_literals(pattern[start:end]))),
        )
        for start, end in branches(pattern)
    )


def _field_problems(fields: Mapping[str, Any]) -> list[str]:
    """Return problems of unknown or missing keys, and of values that are not text."""
    problems = [f"{key}: missing" for key in _REQUIRED if key not in fields]
    for key, value in fields.items():
        if key == "examples":
            problems += _examples_problems(value)
        elif key in _TEXT_LISTS:
            if not _is_texts(value) or not value:
                problems.append(f"{key}: expected a list of texts")
        elif key not in _KEYS:
            import difflib  # noqa: PLC0415  # 2 ms, for a mistake only

            near = difflib.get_close_matches(key, (*_KEYS, "examples"), n=1)
            problems.append(f"{key}: unknown key" + (f", did you mean {near[0]}?" if near else ""))
        elif not isinstance(value, str) or not value.strip():
            problems.append(f"{key}: expected text")
    return problems


def _examples_problems(value: Any) -> list[str]:
    if not isinstance(value, dict) or not value.get("positive"):
        return ["examples: expected lists `positive` (one line or more) and `negative`"]
    return [
        f"examples.{key}: expected a list of lines, under positive or negative"
        for key, lines in value.items()
        if key not in _SIDES or not _is_texts(lines)
    ]


def _is_texts(value: Any) -> bool:
    return isinstance(value, list) and all(isinstance(item, str) for item in value)


def _member(
    kind: type[_E], fields: Mapping[str, Any], key: str, problems: list[str], default: _E
) -> _E:
    try:
        return kind(fields.get(key, default.value))
    except ValueError:
        names = ", ".join(str(member.value) for member in kind)
        problems.append(f"{key}: expected one of {names}, got {fields[key]!r}")
        return default


def _speakers(names: Iterable[str], problems: list[str]) -> tuple[Speaker, ...]:
    wrong = [name for name in names if name not in _SPEAKERS]
    if wrong:
        problems.append(f"speakers: expected of {', '.join(_SPEAKERS)}, got {', '.join(wrong)}")
    return tuple(Speaker(name) for name in names if name in _SPEAKERS)


def _pattern_problems(rule: LogRule) -> list[str]:
    if len(rule.pattern) > MAX_PATTERN:
        return [f"pattern: expected at most {MAX_PATTERN} characters, got {len(rule.pattern)}"]
    try:
        compiled = re.compile(rule.pattern)
    except (re.error, RecursionError, OverflowError) as error:
        return [f"pattern: {error}"]
    problems = []
    if reason := danger(rule.pattern):
        problems.append(f"pattern: could take very long: {reason}")
    if not literals(rule.pattern):
        problems.append(
            f"pattern: expected fixed text with {MIN_LETTERS} letters or more in every match, "
            "with its case, so that it cannot match everything"
        )
    if set(compiled.groupindex) - {"node"}:
        problems.append("pattern: expected no named group but `node`")
    if ("node" in compiled.groupindex) != (rule.blame is not None):
        problems.append("blame: expected together with a group (?P<node>…) in the pattern")
    return problems


def _example_problems(rule: LogRule) -> list[str]:
    return [
        f"examples.{side}: the pattern {'does not match' if expected else 'matches'} {line!r}"
        for side, lines, expected in (
            ("positive", rule.positive, True),
            ("negative", rule.negative, False),
        )
        for line in lines
        if (matches(rule.pattern, line) is not None) is not expected
    ]


def _speaker_problems(rule: LogRule) -> list[str]:
    """Return problems of positive examples whose speakers the rule does not believe."""
    from slurm_restart.logs.speakers import identify_speaker  # noqa: PLC0415  # 3 ms

    problems = []
    for line in rule.positive:
        label, message = split_label(line)
        speaker, _ = identify_speaker(line, label, message)
        if speaker not in rule.believed:
            problems.append(
                f"speakers: {rule.category.value} is not believed of {speaker.value}, who prints "
                f"{line!r}; if it can know that, give it in `speakers`"
            )
    return problems
