"""Checks over several rules: duplicate ids, and rules that an earlier rule shadows."""

from collections.abc import Iterable, Sequence
from dataclasses import replace
from pathlib import Path

from slurm_restart.core.finding import Role
from slurm_restart.frozen import frozen
from slurm_restart.logs.rule import SEPARATE, LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.rule_sources import read_rule_sources
from slurm_restart.logs.rule_test import match_line
from slurm_restart.logs.rules import RuleSet, files_of, read_file


@frozen
class Linted:
    """Result of a check: the number of valid rules, the problems, and notes."""

    rules: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def lint(paths: Sequence[Path] = ()) -> Linted:
    """Check files and directories of rules; without any, all rules that are in use.

    A rule of a nearer layer may shadow another one: this is a note, not a problem.
    """
    found = _read(paths) if paths else read_rule_sources()
    shadowed = shadowed_examples(found.rules)
    return Linted(
        rules=len(found.rules),
        problems=(*found.problems, *(text for text, is_intended in shadowed if not is_intended)),
        notes=(
            *(f"{text} (a note only)" for text, is_intended in shadowed if is_intended),
            *(_replaced(rule, found.rules) for rule in found.replaced),
            *(
                f"{rule.origin}: {rule.id}: sources: none given (a note only)"
                for rule in found.rules
                if not rule.sources
            ),
        ),
    )


def _replaced(rule: LogRule, rules: Sequence[LogRule]) -> str:
    nearer = next(other for other in rules if other.id == rule.id)
    return f"{nearer.origin}: {rule.id}: replaces that of {rule.origin} (a note only)"


def _read(paths: Sequence[Path]) -> RuleSet:
    rules: dict[str, LogRule] = {}
    problems: list[str] = []
    for file in (
        other for path in paths for other in (files_of(path) if path.is_dir() else [path])
    ):
        good, wrong = read_file(file)
        problems += wrong
        for rule in good:
            if (first := rules.setdefault(rule.id, rule)) is not rule:
                problems.append(f"{rule.origin}: {rule.id}: id: given before, in {first.origin}")
    return RuleSet(rules=tuple(rules.values()), problems=tuple(problems))


def shadowed_examples(rules: Iterable[LogRule]) -> list[tuple[str, bool]]:
    """Return (message, whether the other rule is of another layer) for each shadowed example.

    An example is shadowed if an earlier rule matches it. Rules of progress and of a program's end
    are matched separately.
    """
    known = tuple(rules)
    judging = [rule for rule in known if rule.role not in SEPARATE]
    separate = [replace(rule, role=Role.ROOT) for rule in known if rule.role in SEPARATE]
    return [*_shadowed(judging), *(text for rule in separate for text in _shadowed([rule]))]


def _shadowed(rules: Sequence[LogRule]) -> list[tuple[str, bool]]:
    matcher = RuleMatcher(rules)
    found = []
    for rule in rules:
        for line in rule.positive:
            hit = match_line(matcher, line)
            if hit is None or hit.rule.id != rule.id:
                taker = "nothing" if hit is None else f"{hit.rule.id} ({hit.rule.origin})"
                text = f"{rule.origin}: {rule.id}: examples.positive: {taker} matches {line!r}"
                found.append((text, hit is not None and _layer(hit.rule) != _layer(rule)))
    return found


def _layer(rule: LogRule) -> Path:
    """Return the directory that a rule comes from."""
    return Path(rule.origin.rpartition(":")[0]).parent
