"""Tests a single line: which rule matches it first, and which others match."""

from collections.abc import Sequence

from slurm_restart.core.category import Category
from slurm_restart.core.finding import Speaker
from slurm_restart.frozen import frozen
from slurm_restart.logs.failure_kind import tells_no_cause
from slurm_restart.logs.lines import readable, split_label
from slurm_restart.logs.rule import SEPARATE, LogRule, matches
from slurm_restart.logs.rule_matcher import RuleMatch, RuleMatcher, match_message
from slurm_restart.logs.speakers import identify_speaker
from slurm_restart.logs.timestamps import logged_at


@frozen
class RuleTest:
    """The result for a line. `text` is the message that patterns see, without label and stamps."""

    line: str
    label: str
    text: str
    speaker: Speaker
    host: str
    at: float | None
    progress: bool
    rule: LogRule | None
    nodes: tuple[str, ...]
    others: tuple[LogRule, ...]
    """Later rules that match as well."""


def explain_line(line: str, rules: Sequence[LogRule]) -> RuleTest:
    """Match one line by itself, without the context of tracebacks and later lines."""
    readable_line = readable(line.encode(errors="surrogateescape"))
    label, body = split_label(readable_line)
    text = body.strip()
    matcher = RuleMatcher(rules)
    speaker, host = identify_speaker(readable_line, label, text)
    match = match_message(matcher, readable_line, text, lambda: speaker)
    rule = match.rule if match else matcher.finished(text)
    if rule is not None and tells_no_cause(rule):
        kind = matcher.kind(text, speaker)
        rule = rule if kind is None or kind.category is Category.UNKNOWN else kind
    return RuleTest(
        line=line,
        label=label,
        text=text,
        speaker=speaker,
        host=host,
        at=logged_at(readable_line),
        progress=matcher.is_progress(text),
        rule=rule,
        nodes=match.nodes if match else (),
        others=tuple(
            other
            for other in rules
            if other is not rule
            and other.role not in SEPARATE
            and speaker in other.believed
            and matches(other.pattern, readable_line)
        ),
    )


def match_line(matcher: RuleMatcher, line: str) -> RuleMatch | None:
    """Return the first rule that matches a readable line, with its label, and its speaker."""
    label, message = split_label(line)
    return match_message(
        matcher, line, message.strip(), lambda: identify_speaker(line, label, message)[0]
    )
