"""Tell the kind of a failure by the words of its line, where no rule knows the program."""

from dataclasses import replace

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Role
from slurm_restart.logs.host_prefixes import without_host
from slurm_restart.logs.lines import split_label
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher

_WHAT = "what(): "
_UNKNOWN_SO_FAR = frozenset({Role.ROOT, Role.MESSAGE})
_MISTAKES = frozenset({Category.CODE, Category.CONFIG})


def tells_no_cause(known: Finding | LogRule) -> bool:
    """Return whether a line, or each line of a rule, is a failure of unknown cause."""
    return (
        known.role in _UNKNOWN_SO_FAR
        and known.category is Category.UNKNOWN
        and known.confidence is Confidence.GUESS
        and known.reason is None
    )


def with_kind(matcher: RuleMatcher, finding: Finding) -> Finding:
    """Return a finding of unknown cause with the kind that its words tell, others as they are.

    So are the words of a C++ exception that was not caught; if they do not demand another input,
    they explain the abort, which then counts no more than they do. This is done for the few
    findings that are kept, not while a log is searched: the words are common ones.
    """
    thrown = finding.category is Category.SOFTWARE_CRASH and _WHAT in finding.text
    if not tells_no_cause(finding) and not (thrown and finding.confidence is Confidence.GUESS):
        return finding
    rule = _kind_of(matcher, finding)
    if rule is None or rule.category is Category.UNKNOWN:
        return finding
    explains = thrown and rule.at_start is None
    return replace(
        finding,
        rule=rule.id,
        category=rule.category,
        at_start=rule.at_start,
        confidence=Confidence.LIKELY if explains else finding.confidence,
    )


def explained(matcher: RuleMatcher, title: Finding, line: int, text: str) -> Finding:
    """Return the finding of a title with the line that gives its reason.

    Where the title only guesses a mistake of the user, and the words of the reason tell of what no
    input brings about, they give the kind. That of a title of unknown cause follows: `with_kind`.

    Args:
        matcher: has the rules over words.
        title: the finding.
        line: number of the line with the reason.
        text: that line, as far as it is kept.
    """
    found = replace(title, line=line, text=text, reason=None)
    if title.confidence is not Confidence.GUESS or title.category not in _MISTAKES:
        return found
    rule = _kind_of(matcher, found)
    if rule is None or not rule.category.recoverable:
        return found
    return replace(found, category=rule.category, at_start=None)


def _kind_of(matcher: RuleMatcher, finding: Finding) -> LogRule | None:
    message = split_label(finding.text)[1].strip()
    return matcher.kind(without_host(message) or message, finding.speaker)
