"""Parse and validate a file of rules in YAML."""

from collections.abc import Iterable
from dataclasses import replace
from pathlib import Path
from typing import Any

import yaml

from slurm_restart.errors import ConfigError
from slurm_restart.logs.rule import BadRuleError, LogRule, build

MAX_DEPTH = 20
"""Levels of nesting; a rule has five."""


def parse_rules(path: Path, data: bytes) -> tuple[list[LogRule], list[str]]:
    """Return the valid rules of a file and the problems of the others, each with its line.

    Args:
        path: the file's name, for `LogRule.origin` and the messages; it is not opened.
        data: the file's content.
    """
    try:
        nodes = _nodes(path, _text(path, data))
    except ConfigError as error:
        return [], list(error.problems)
    rules: dict[str, LogRule] = {}
    problems: list[str] = []
    for node in nodes:
        try:
            rule = build(_fields(node))
            _add(rules, replace(rule, origin=f"{path}:{node.start_mark.line + 1}"))
        except BadRuleError as error:
            place = f"{path}:{node.start_mark.line + 1}: {_name(node)}"
            problems += [f"{place}: {problem}" for problem in error.problems]
    return list(rules.values()), problems


def _add(rules: dict[str, LogRule], rule: LogRule) -> None:
    if rules.setdefault(rule.id, rule) is not rule:
        raise BadRuleError(["id: given twice in this file"])


def _name(node: Any) -> str:
    """Return the id of a rule that may be invalid, for a message; `?` without one."""
    pairs = node.value if node.id == "mapping" else ()
    return next((str(value.value) for key, value in pairs if key.value == "id"), "?")


def _text(path: Path, data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"{path}: expected UTF-8: {error.reason}"]) from None


def _nodes(path: Path, text: str) -> list[Any]:
    """Return the YAML node of each rule of a file `rules: [{…}, …]`."""
    loader = getattr(yaml, "CSafeLoader", yaml.SafeLoader)
    try:
        # The composer recurses in C, without a limit of its own.
        if deep := _too_deep(yaml.parse(text, Loader=loader)):
            raise ConfigError(str(path), [f"{path}:{deep}: expected at most {MAX_DEPTH} levels"])
        root: Any = yaml.compose(text, Loader=loader)
    except yaml.YAMLError as error:
        mark = getattr(error, "problem_mark", None)
        place = f"{path}:{mark.line + 1}" if mark else str(path)
        problem = getattr(error, "problem", None) or "characters that YAML does not allow"
        raise ConfigError(str(path), [f"{place}: not YAML: {problem}"]) from None
    if root is None:
        return []
    if (
        root.id != "mapping"
        or [key.value for key, _ in root.value] != ["rules"]
        or root.value[0][1].id != "sequence"
    ):
        raise ConfigError(str(path), [f"{path}:1: expected `rules:` with a list of rules"])
    return list(root.value[0][1].value)


def _too_deep(events: Iterable[Any]) -> int | None:
    """Return the line at which YAML is nested deeper than `MAX_DEPTH`, or None."""
    depth = 0
    for event in events:
        depth += type(event).__name__ in ("MappingStartEvent", "SequenceStartEvent")
        depth -= type(event).__name__ in ("MappingEndEvent", "SequenceEndEvent")
        if depth > MAX_DEPTH:
            return int(event.start_mark.line) + 1
    return None


def _fields(node: Any) -> dict[str, Any]:
    fields = _plain(node)
    if not isinstance(fields, dict):
        raise BadRuleError(["expected a rule: keys and values"])
    return fields


def _plain(node: Any) -> Any:
    """Convert a YAML node to dicts, lists and strings; no value becomes a number or a date."""
    if node.id == "scalar":
        return node.value
    if node.id == "sequence":
        return [_plain(item) for item in node.value]
    values: dict[str, Any] = {}
    for key, value in node.value:
        name = str(key.value)
        if name in values:
            raise BadRuleError([f"{name}: given twice"])
        values[name] = _plain(value)
    return values
