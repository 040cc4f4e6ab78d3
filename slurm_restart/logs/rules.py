"""The rules over log lines: the package's own, the site's, and those of a user or a run."""

from collections.abc import Iterable
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

from slurm_restart.errors import ConfigError
from slurm_restart.logs.rule import BadRuleError, LogRule, build

PACKAGE_RULES = Path(__file__).with_name("rules.d")
"""The package's directory of rules, one file a family, read in the order of their names."""
SITE_RULES = Path("/etc/slurm_restart/rules.d")
MAX_BYTES = 1_000_000
"""Size of one file of rules."""
MAX_DEPTH = 20


@dataclass(frozen=True, kw_only=True, slots=True)
class RuleSet:
    """Rules in the order in which they are tried, and why others were refused.

    A problem is `FILE:LINE: RULE: key: what is wrong`.
    """

    rules: tuple[LogRule, ...]
    problems: tuple[str, ...]
    replaced: tuple[LogRule, ...] = ()
    """Rules that a nearer layer has one of the same id for."""


def load_rules(*extra: Path, site: Path | None = SITE_RULES) -> tuple[LogRule, ...]:
    """All good rules; see `read_rules`, which also says what was refused and why."""
    return read_rules(*extra, site=site).rules


def read_rules(*extra: Path, site: Path | None = SITE_RULES) -> RuleSet:
    """Read every layer: the run's and the user's files, the site's directory, the package's.

    The first rule that matches a line judges it, so the nearest layer has the first word, and its
    rule also replaces one of the same id behind it. A bad rule is left out, and never the others:
    a mistake in a site's file must not stop a job.

    Args:
        extra: files of rules, the nearest first; each must exist.
        site: a directory of `*.yaml` files, read in the order of their names; None: none.
    """
    site_files = files_of(site) if site is not None else []
    rules: dict[str, LogRule] = {}
    problems: list[str] = []
    replaced: list[LogRule] = []
    for path in (*extra, *site_files, *files_of(PACKAGE_RULES)):
        layer, wrong = read_file(path)
        problems += wrong
        replaced += [rule for rule in layer if rules.setdefault(rule.id, rule) is not rule]
    return RuleSet(rules=tuple(rules.values()), problems=tuple(problems), replaced=tuple(replaced))


def files_of(directory: Path) -> list[Path]:
    """The files of rules in a directory, in the order in which they are read."""
    return sorted(directory.glob("*.yaml"))


def read_file(path: Path) -> tuple[list[LogRule], list[str]]:
    """The good rules of one file, and the problems of the others."""
    try:
        nodes = _nodes(path, _text(path))
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
    """What a rule calls itself, for a message."""
    pairs = node.value if node.id == "mapping" else ()
    return next((str(value.value) for key, value in pairs if key.value == "id"), "?")


def _text(path: Path) -> str:
    try:
        with path.open("rb") as file:
            data = file.read(MAX_BYTES + 1)
    except OSError as error:
        raise ConfigError(str(path), [f"{path}: {error.strerror}"]) from None
    if len(data) > MAX_BYTES:
        raise ConfigError(str(path), [f"{path}: expected at most {MAX_BYTES} bytes"])
    try:
        return data.decode()
    except UnicodeDecodeError as error:
        raise ConfigError(str(path), [f"{path}: expected UTF-8: {error.reason}"]) from None


def _nodes(path: Path, text: str) -> list[Any]:
    """The YAML node of each rule of a file `rules: [{…}, …]`."""
    import yaml  # noqa: PLC0415  # only a process that loads rules pays for it

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
    """The line at which YAML is nested deeper than any rule; None: nowhere."""
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
    """A YAML node as dicts, lists and texts; nothing is read as a number or a date."""
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
