"""The layers of rules: the run's files, the user's, the site's, the package's; nearest first."""

import os
from collections.abc import Sequence
from pathlib import Path

from slurm_restart.logs.rules import SITE_RULES, RuleSet, files_of, read_rules


def user_rules() -> Path:
    """Return the directory of the user's own rules."""
    base = os.environ.get("XDG_CONFIG_HOME") or "~/.config"
    return Path(base).expanduser() / "slurm_restart" / "rules.d"


def read_rule_sources(run: Sequence[Path] = (), *, site: Path | None = SITE_RULES) -> RuleSet:
    """Return all valid rules, and why others were refused.

    Args:
        run: the run's own files, the nearest first.
        site: the site's directory; None: none.
    """
    return read_rules(*run, *files_of(user_rules()), site=site)
