"""`csx-restart rules`: list, show, test and check the rules over log lines."""

import json
import sys
from collections.abc import Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any, BinaryIO

import click

from slurm_restart.cli.options import json_option
from slurm_restart.core.category import Category
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import UsageError
from slurm_restart.logs.lint import lint
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_sources import read_rule_sources
from slurm_restart.logs.rule_test import RuleTest, explain_line

EXIT_PROBLEMS = 3
MAX_STDIN = 1 << 20
_EXTRA = click.option(
    "--rules",
    "extra",
    multiple=True,
    type=click.Path(path_type=Path, exists=True, dir_okay=False),
    metavar="FILE",
    help="Additional rules, tried before all others; repeatable.",
)


@click.group(context_settings={"help_option_names": ["-h", "--help"]})
def command() -> None:
    """Inspect the rules over log lines: those of the run, the user, the site and the package."""


@command.command("list")
@click.option("--family", help="Only rules with this first part of the id: slurm, nccl, python …")
@click.option("--category", help="Only rules of this category.")
@_EXTRA
@json_option
def list_rules(
    family: str | None,
    category: str | None,
    extra: tuple[Path, ...],
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """List the rules in the order in which they are tried."""
    known = read_rule_sources(extra).rules
    if category and category not in {known_category.value for known_category in Category}:
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
        _print(f"{rule.id:<{width}}  {kind:<20}  {rule.confidence.value:<7}  {rule.meaning}")


@command.command("show")
@click.argument("name", metavar="ID")
@_EXTRA
@json_option
def show(name: str, extra: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Show all fields of a rule."""
    known = read_rule_sources(extra).rules
    rule = next((rule for rule in known if rule.id == name), None)
    if rule is None:
        near = [rule.id for rule in known if name in rule.id]
        hint = f"; did you mean {', '.join(near[:5])}?" if near else ""
        raise UsageError(f"no rule {name!r}{hint} (csx-restart rules list)")
    if as_json:
        click.echo(json.dumps(_data(rule), indent=2))
        return
    for key, value in _data(rule).items():
        for text in value if isinstance(value, list) else [value]:
            if text is not None:
                _print(f"{key:<12}{text}")


@command.command("test")
@click.argument("lines", nargs=-1, metavar="LINE...")
@_EXTRA
@json_option
def test(lines: tuple[str, ...], extra: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001
    """Show which rule matches a LINE of a log first, and which others match it as well.

    Without LINE, lines are read from standard input. For a whole log: csx-restart classify.
    """
    known = read_rule_sources(extra).rules
    texts = list(lines) or _read_lines(sys.stdin.buffer)
    results = [explain_line(text, known) for text in texts]
    if as_json:
        click.echo(json.dumps([_result_data(result) for result in results], indent=2))
        return
    for result in results:
        for line in _result_lines(result):
            _print(line)


@command.command("lint")
@click.argument(
    "paths", nargs=-1, type=click.Path(path_type=Path, exists=True), metavar="[PATH]..."
)
@json_option
def check(paths: tuple[Path, ...], as_json: bool) -> None:  # noqa: FBT001 - a flag
    """Check rules: those in PATHs (files, or directories of *.yaml), or all rules in use.

    A rule is invalid for an unknown key, category or role, for a pattern that matches everything
    or may take very long, and for examples that fail, also because an earlier rule matches them.
    Exit codes: 0 no problems, 3 problems.
    """
    result = lint(paths)
    if as_json:
        click.echo(json.dumps(asdict(result), indent=2))
    else:
        for text in (*result.problems, *result.notes):
            _print(text)
        count = len(result.problems)
        noun = "problem" if count == 1 else "problems"
        click.echo(f"{result.rules} rules, {count or 'no'} {noun}")
    if result.problems:
        raise click.exceptions.Exit(EXIT_PROBLEMS)


def _print(line: str) -> None:
    """Print a line; control characters of rules and log lines are escaped."""
    click.echo(escape_controls(line))


def _read_lines(stream: BinaryIO) -> list[str]:
    """Return the lines of standard input; bytes that are not UTF-8 become surrogates.

    Raises:
        UsageError: more than `MAX_STDIN` bytes.
    """
    data = stream.read(MAX_STDIN + 1)
    if len(data) > MAX_STDIN:
        raise UsageError(
            f"standard input: expected at most {MAX_STDIN} bytes of lines; for a whole log: "
            "csx-restart classify -"
        )
    return [line.decode(errors="surrogateescape") for line in data.splitlines()]


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
        "speakers": [speaker.value for speaker in rule.believed],
        "pattern": rule.pattern,
        "sources": list(rule.sources),
        "positive": list(rule.positive),
        "negative": list(rule.negative),
        "origin": rule.origin,
    }


def _result_data(result: RuleTest) -> dict[str, Any]:
    return {
        "line": result.line,
        "label": result.label,
        "text": result.text,
        "speaker": result.speaker.value,
        "host": result.host or None,
        "logged_at": result.at,
        "progress": result.progress,
        "rule": result.rule.id if result.rule else None,
        "category": result.rule.category.value if result.rule else None,
        "role": result.rule.role.value if result.rule else None,
        "nodes": list(result.nodes),
        "others": [rule.id for rule in result.others],
    }


def _result_lines(result: RuleTest) -> list[str]:
    lines = [f"line      {result.text}"]
    if result.label:
        lines.append(f"label     {result.label}")
    on_host = f" on {result.host}" if result.host else ""
    lines.append(f"speaker   {result.speaker.value}{on_host}")
    if result.rule is None:
        lines.append(
            "rule      none: " + ("it reports progress" if result.progress else "no match")
        )
    else:
        rule = result.rule
        lines.append(
            f"rule      {rule.id} ({rule.role.value}, {rule.category.value}): {rule.meaning}"
        )
    if result.nodes:
        lines.append(f"names     {', '.join(result.nodes)}")
    if result.others:
        lines.append(f"later     {', '.join(rule.id for rule in result.others)}")
    return lines


__all__: Sequence[str] = ("command",)
