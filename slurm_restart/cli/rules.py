"""`csx-restart rules`: the rules over log lines, listed, shown, tried on lines, and checked."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from slurm_restart.core.category import Category
from slurm_restart.errors import UsageError
from slurm_restart.logs.lint import lint
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_sources import read_rule_sources
from slurm_restart.logs.rule_test import RuleTest, explain_line

EXIT_PROBLEMS = 3
_EXTRA = click.option(
    "--rules",
    "extra",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Rules of your own, before all others; more than once.",
)
_JSON = click.option("--json", "as_json", is_flag=True, help="Print as JSON.")


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """The rules over log lines: those of the run, the user, the site and the package."""


@command.command("list")
@click.option("--family", help="Only the rules whose id begins so: slurm, nccl, python …")
@click.option("--category", help="Only the rules of this category.")
@_EXTRA
@_JSON
def list_rules(
    family: str | None,
    category: str | None,
    extra: tuple[Path, ...],
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """List the rules in the order in which they are tried."""
    known = read_rule_sources(extra).rules
    if category and category not in {one.value for one in Category}:
        raise UsageError(f"--category: no category {category!r}: {_categories()}")
    chosen = [
        rule
        for rule in known
        if (not family or rule.id.partition(".")[0] == family)
        and (not category or rule.category.value == category)
    ]
    if family and not chosen and not category:
        families = sorted({rule.id.partition(".")[0] for rule in known})
        raise UsageError(f"--family: no family {family!r}: {', '.join(families)}")
    if as_json:
        click.echo(json.dumps([_data(rule) for rule in chosen], indent=2))
        return
    width = max((len(rule.id) for rule in chosen), default=0)
    for rule in chosen:
        kind = rule.category.value if rule.role.value == "root" else rule.role.value
        click.echo(f"{rule.id:<{width}}  {kind:<20}  {rule.confidence.value:<7}  {rule.meaning}")


@command.command("show")
@click.argument("name", metavar="ID")
@_EXTRA
@_JSON
def show(name: str, extra: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Show all that there is to know of a rule."""
    known = read_rule_sources(extra).rules
    rule = next((one for one in known if one.id == name), None)
    if rule is None:
        near = [one.id for one in known if name in one.id]
        hint = f"; did you mean {', '.join(near[:5])}?" if near else ""
        raise UsageError(f"no rule {name!r}{hint} (csx-restart rules list)")
    if as_json:
        click.echo(json.dumps(_data(rule), indent=2))
        return
    for key, value in _data(rule).items():
        for text in value if isinstance(value, list) else [value]:
            if text is not None:
                click.echo(f"{key:<12}{text}")


@command.command("test")
@click.argument("lines", nargs=-1, metavar="LINE...")
@_EXTRA
@_JSON
def test(lines: tuple[str, ...], extra: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001
    """Say which rule judges a LINE of a log, and which others match it as well.

    Without LINE, lines are read from standard input. A whole log: csx-restart classify.
    """
    known = read_rule_sources(extra).rules
    texts = list(lines) or [line.rstrip("\n") for line in sys.stdin]
    trials = [explain_line(text, known) for text in texts]
    if as_json:
        click.echo(json.dumps([_trial_data(trial) for trial in trials], indent=2))
        return
    for trial in trials:
        click.echo("\n".join(_trial_lines(trial)))


@command.command("lint")
@click.argument(
    "paths", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[PATH]..."
)
@_JSON
def check(paths: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Check rules: those in PATHs (files, or directories of *.yaml), or all that are in force.

    A rule is refused for an unknown key, category or role, for a pattern that matches everything
    or may take very long, and for examples that do not hold, also where an earlier rule takes
    them. Exit codes: 0 all good, 3 problems.
    """
    result = lint(paths)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    else:
        for text in (*result.problems, *result.notes):
            click.echo(text)
        count = len(result.problems)
        noun = "problem" if count == 1 else "problems"
        click.echo(f"{result.rules} rules, {count or 'no'} {noun}")
    if result.problems:
        raise click.exceptions.Exit(EXIT_PROBLEMS)


def _categories() -> str:
    return ", ".join(sorted(category.value for category in Category))


def _data(rule: LogRule) -> dict[str, Any]:
    return {
        "id": rule.id,
        "category": rule.category.value,
        "role": rule.role.value,
        "confidence": rule.confidence.value,
        "meaning": rule.meaning,
        "remedy": rule.remedy,
        "blame": rule.blame.value if rule.blame else None,
        "pattern": rule.pattern,
        "sources": list(rule.sources),
        "positive": list(rule.positive),
        "negative": list(rule.negative),
        "origin": rule.origin,
    }


def _trial_data(trial: RuleTest) -> dict[str, Any]:
    return {
        "line": trial.line,
        "label": trial.label,
        "text": trial.text,
        "logged_at": trial.at,
        "progress": trial.progress,
        "rule": trial.rule.id if trial.rule else None,
        "category": trial.rule.category.value if trial.rule else None,
        "role": trial.rule.role.value if trial.rule else None,
        "nodes": list(trial.nodes),
        "others": [rule.id for rule in trial.others],
    }


def _trial_lines(trial: RuleTest) -> list[str]:
    lines = [f"line      {trial.text}"]
    if trial.label:
        lines.append(f"label     {trial.label}")
    if trial.rule is None:
        lines.append(
            "rule      none: " + ("it tells of progress" if trial.progress else "no match")
        )
    else:
        rule = trial.rule
        lines.append(
            f"rule      {rule.id} ({rule.role.value}, {rule.category.value}): {rule.meaning}"
        )
    if trial.nodes:
        lines.append(f"names     {', '.join(trial.nodes)}")
    if trial.others:
        lines.append(f"behind it {', '.join(rule.id for rule in trial.others)}")
    return lines


__all__: Sequence[str] = ("command",)
