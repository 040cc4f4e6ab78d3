from typing import Any

import pytest

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Naming, Role
from slurm_restart.logs.rule import BadRuleError, build

GOOD: dict[str, Any] = {
    "id": "site.filer",
    "category": "storage.io",
    "role": "root",
    "pattern": r"filer (?P<node>\w+) went away",
    "blame": "node",
    "confidence": "certain",
    "meaning": "The filer restarted.",
    "remedy": "Wait.",
    "examples": {"positive": ["3: filer f1 went away"], "negative": ["filer f1 came back"]},
}


def test_a_good_rule() -> None:
    rule = build(GOOD)
    assert (rule.id, rule.category, rule.role) == ("site.filer", Category.STORAGE_IO, Role.ROOT)
    assert (rule.blame, rule.confidence) == (Naming.NODE, Confidence.CERTAIN)
    assert rule.negative == ("filer f1 came back",)


def test_confidence_remedy_and_blame_are_optional() -> None:
    fields = {k: v for k, v in GOOD.items() if k not in ("confidence", "remedy", "blame")}
    rule = build({**fields, "pattern": "filer .* went away"})
    assert (rule.confidence, rule.remedy, rule.blame) == (Confidence.LIKELY, None, None)


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"id": "Site Filer"}, "id: expected lower-case letters"),
        ({"id": "x" * 65}, "id: expected lower-case letters"),
        ({"category": "storage"}, "category: expected one of completed, "),
        (
            {"role": "cause"},
            "role: expected one of root, cascade, header, message, kind, teardown, recovered,",
        ),
        ({"confidence": "sure"}, "confidence: expected one of certain, likely, guess"),
        ({"blame": "rack"}, "blame: expected one of node, system, host, peer"),
        ({"meaning": ""}, "meaning: expected text"),
        ({"remedy": ["a"]}, "remedy: expected text"),
        ({"pattren": "x"}, "pattren: unknown key, did you mean pattern?"),
        ({"pattern": "filer ("}, "pattern: missing ), unterminated subpattern"),
        ({"pattern": "filer .* went away"}, "blame: expected together with a group"),
        ({"pattern": r"filer (?P<who>\w+) went away"}, "pattern: expected no named group but"),
        ({"pattern": ".*"}, "pattern: expected fixed text with 3 letters or more"),
        ({"pattern": r"filer (?P<node>(\w+)+) went away"}, "pattern: could take very long"),
        ({"pattern": "x" * 3000}, "pattern: expected at most 2000 characters"),
        ({"pattern": "(" * 500 + "filer" + ")" * 500}, "pattern: "),
        ({"examples": {}}, "examples: expected lists"),
        ({"examples": {"positive": "x"}}, "examples.positive: expected a list of lines"),
        ({"examples": {"positive": ["a filer"]}}, "examples.positive: the pattern does not match"),
        (
            {"examples": {"positive": ["filer f1 went away"], "negative": ["filer f1 went away"]}},
            "examples.negative: the pattern matches 'filer f1 went away'",
        ),
    ],
)
def test_a_bad_rule_is_refused_with_the_reason(change: dict[str, Any], problem: str) -> None:
    with pytest.raises(BadRuleError) as caught:
        build({**GOOD, **change})
    assert any(found.startswith(problem) for found in caught.value.problems), caught.value.problems


def test_all_problems_are_reported_at_once() -> None:
    with pytest.raises(BadRuleError) as caught:
        build({"id": "x", "role": "", "colour": "red"})
    keys = {problem.split(":")[0] for problem in caught.value.problems}
    assert keys == {"category", "role", "pattern", "meaning", "examples", "colour"}
