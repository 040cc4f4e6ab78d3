"""The rules over log lines: the package's own, the site's, and those of a user or a run."""

from pathlib import Path

from slurm_restart.frozen import frozen
from slurm_restart.logs.compiled_rules import FileRules, PackageRules
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_cache import RuleCache
from slurm_restart.safe_files import read_bounded

PACKAGE_RULES = Path(__file__).with_name("rules.d")
"""The package's directory of rules, one file a family, read in the order of their names."""
COMPILED_RULES = Path(__file__).with_name("compiled_rules.json")
"""The compiled form of the package's rules; the build of the package writes it."""
SITE_RULES = Path("/etc/slurm_restart/rules.d")
MAX_BYTES = 1_000_000
"""Size of one file of rules."""


@frozen
class RuleSet:
    """Rules in the order in which they are tried, and why others were refused.

    A problem is `FILE:LINE: RULE: key: what is wrong`.
    """

    rules: tuple[LogRule, ...]
    problems: tuple[str, ...]
    replaced: tuple[LogRule, ...] = ()
    """Rules for which a nearer layer has one of the same id."""


def load_rules(*extra: Path, site: Path | None = SITE_RULES) -> tuple[LogRule, ...]:
    """Return all valid rules; `read_rules` also returns what was refused and why."""
    return read_rules(*extra, site=site).rules


def read_rules(*extra: Path, site: Path | None = SITE_RULES) -> RuleSet:
    """Read every layer: the run's and the user's files, the site's directory, the package's.

    The first rule that matches a line judges it, so rules of the nearest layer are tried first,
    and each replaces a rule of the same id in the layers behind it. An invalid rule is left out
    and the others stay: a mistake in a site's file must not stop a job.

    Args:
        extra: files of rules, the nearest first; each must exist.
        site: a directory of `*.yaml` files, read in the order of their names; None: none.
    """
    compiled = PackageRules.load(COMPILED_RULES)
    site_files = files_of(site) if site is not None else []
    rules: dict[str, LogRule] = {}
    problems: list[str] = []
    replaced: list[LogRule] = []
    for path in (*extra, *site_files, *files_of(PACKAGE_RULES)):
        layer, wrong = read_file(path, compiled)
        problems += wrong
        replaced += [rule for rule in layer if rules.setdefault(rule.id, rule) is not rule]
    return RuleSet(rules=tuple(rules.values()), problems=tuple(problems), replaced=tuple(replaced))


def files_of(directory: Path) -> list[Path]:
    """Return the files of rules in a directory, in the order in which they are read."""
    return sorted(directory.glob("*.yaml"))


def read_file(path: Path, compiled: PackageRules | None = None) -> FileRules:
    """Return the valid rules of one file, and the problems of the others.

    A file that has not changed since it was validated is not parsed again: its compiled form is
    in the package (its own rules) or in the user's cache directory.

    Args:
        path: a file of rules.
        compiled: the compiled form of the package's rules.
    """
    try:
        data = read_bounded(path, MAX_BYTES)
    except OSError as error:
        return FileRules([], [f"{path}: {error.strerror}"])
    if compiled is not None and (rules := compiled.rules(path, data)) is not None:
        return rules
    cache = RuleCache.of_user()
    if (rules := cache.read(path, data)) is not None:
        return rules
    from slurm_restart.logs.rule_yaml import parse_rules  # noqa: PLC0415  # imports yaml, 15 ms

    rules = FileRules(*parse_rules(path, data))
    cache.write(path, data, rules)
    return rules
