"""Checks of rules that go beyond a single one: does each of them ever have a say?"""

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from slurm_restart.core.finding import Role
from slurm_restart.logs.lines import split_label
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.rule_sources import read_rule_sources
from slurm_restart.logs.rules import RuleSet, files_of, read_file


@dataclass(frozen=True, kw_only=True, slots=True)
class Linted:
    """How many rules are good, what is wrong with others, and what else may be of interest."""

    rules: int
    problems: tuple[str, ...]
    notes: tuple[str, ...]


def lint(paths: Sequence[Path] = ()) -> Linted:
    """Check files and directories of rules; without any, all rules that are in force.

    That a rule of a nearer layer takes the examples of another one is what layers are for.
    """
    found = _read(paths) if paths else read_rule_sources()
    taken = unheard(found.rules)
    return Linted(
        rules=len(found.rules),
        problems=(*found.problems, *(text for text, meant in taken if not meant)),
        notes=(
            *(f"{text} (a note only)" for text, meant in taken if meant),
            *(_replaced(rule, found.rules) for rule in found.replaced),
            *(
                f"{rule.origin}: {rule.id}: sources: none given (a note only)"
                for rule in found.rules
                if not rule.sources
            ),
        ),
    )


def _replaced(rule: LogRule, rules: Sequence[LogRule]) -> str:
    nearer = next(one for one in rules if one.id == rule.id)
    return f"{nearer.origin}: {rule.id}: replaces that of {rule.origin} (a note only)"


def _read(paths: Sequence[Path]) -> RuleSet:
    rules: dict[str, LogRule] = {}
    problems: list[str] = []
    for file in (one for path in paths for one in (files_of(path) if path.is_dir() else [path])):
        good, wrong = read_file(file)
        problems += wrong
        for rule in good:
            if (first := rules.setdefault(rule.id, rule)) is not rule:
                problems.append(f"{rule.origin}: {rule.id}: id: given before, in {first.origin}")
    return RuleSet(rules=tuple(rules.values()), problems=tuple(problems))


def unheard(rules: Iterable[LogRule]) -> list[tuple[str, bool]]:
    """(what, whether another layer means it so) for each example that an earlier rule takes.

    Rules of progress are asked apart.
    """
    known = tuple(rules)
    judging = [rule for rule in known if rule.role is not Role.PROGRESS]
    asked_apart = [replace(rule, role=Role.ROOT) for rule in known if rule.role is Role.PROGRESS]
    return [*_unheard(judging), *(text for rule in asked_apart for text in _unheard([rule]))]


def _unheard(rules: Sequence[LogRule]) -> list[tuple[str, bool]]:
    engine = RuleMatcher(rules)
    found = []
    for rule in rules:
        for line in rule.positive:
            hit = engine.match(split_label(line)[1].strip())
            if hit is None or hit.rule.id != rule.id:
                taker = "nothing" if hit is None else f"{hit.rule.id} ({hit.rule.origin})"
                text = f"{rule.origin}: {rule.id}: examples.positive: {taker} judges {line!r}"
                found.append((text, hit is not None and _layer(hit.rule) != _layer(rule)))
    return found


def _layer(rule: LogRule) -> Path:
    """The directory that a rule is from."""
    return Path(rule.origin.rpartition(":")[0]).parent
