"""Run every check of the installation; each result says what is wrong and what to do about it."""

import os
from collections.abc import Iterator, Mapping
from pathlib import Path

from slurm_restart.control.checks import (
    deadlines,
    hook,
    interpreter,
    known_bugs,
    site_files,
    slurm_conf,
    state,
    timer,
)
from slurm_restart.control.checks.context import Context, NotKnownError
from slurm_restart.control.checks.path_owners import weak_places
from slurm_restart.control.checks.result import Check, CheckResult, Finding, unknown
from slurm_restart.control.checks.run_as import CannotTryError
from slurm_restart.control.site import Site, load_site
from slurm_restart.errors import ConfigError, CsxError, SlurmError
from slurm_restart.slurm.commands import Commands

_ROOT = 0

CHECKS: tuple[Check, ...] = (
    *site_files.CHECKS,
    *hook.CHECKS,
    *interpreter.CHECKS,
    *state.CHECKS,
    *timer.CHECKS,
    *deadlines.CHECKS,
    *slurm_conf.CHECKS,
    *known_bugs.CHECKS,
)


def gather(site_path: Path) -> Context:
    """Read the site's settings and Slurm's configuration; what cannot be read is noted.

    Slurm's commands and slurm.conf are those of the settings. If the settings cannot be used, or if
    this process is root's and another user could have written them, those of the environment.
    """
    site_path = site_path.absolute()
    site = _read_site(site_path)
    bin_dir = slurm_conf = None
    doubt = ""
    if isinstance(site, Site) and not (doubt := _doubt(site_path)):
        bin_dir, slurm_conf = site.slurm_bin, site.slurm_conf
    try:
        config: Mapping[str, str] | str = Commands(bin_dir, slurm_conf).config()
    except SlurmError as error:
        config = f"{error}{doubt}"
    return Context(
        site_path=site_path,
        site_found=site,
        config_found=config,
        bin_dir=bin_dir,
        slurm_conf=slurm_conf,
    )


def _read_site(site_path: Path) -> Site | tuple[str, ...]:
    try:
        return load_site(site_path)
    except ConfigError as error:
        return error.problems


def _doubt(site_path: Path) -> str:
    """Return why root must not run what the settings name; empty: nothing speaks against it."""
    if os.geteuid() != _ROOT:
        return ""
    try:
        weak = weak_places(site_path, {_ROOT})
    except OSError as error:
        return f" (asked without {site_path}: {error})"
    return f" (asked without {site_path}, since {weak[0]})" if weak else ""


def examine(context: Context) -> tuple[CheckResult, ...]:
    """Run every check and return the results, in a fixed order."""
    return tuple(result for check in CHECKS for result in run_check(check, context))


def run_check(check: Check, context: Context) -> Iterator[CheckResult]:
    """Run one check. What it cannot read, or may not try, is a result too."""
    try:
        findings = tuple(check.run(context))
    except (NotKnownError, CannotTryError) as error:
        findings = (unknown(str(error), error.remedy),)
    except (OSError, CsxError) as error:
        findings = (_unreadable(error),)
    for finding in findings:
        yield CheckResult(
            check=check.id, level=finding.level, text=finding.text, remedy=finding.remedy
        )


def _unreadable(error: Exception) -> Finding:
    return unknown(f"not checked: {error}", "run csx-restart doctor as root")
