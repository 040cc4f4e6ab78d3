"""Run every check of the installation; each result says what is wrong and what to do about it."""

from collections.abc import Iterator
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
from slurm_restart.control.checks.result import Check, CheckResult, Finding, unknown
from slurm_restart.control.checks.run_as import CannotTryError
from slurm_restart.control.controller import commands_for
from slurm_restart.control.site import Site, load_site
from slurm_restart.errors import ConfigError, CsxError, SlurmError
from slurm_restart.slurm.commands import Commands

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

    Without usable settings, Slurm's commands and slurm.conf are those of the environment.
    """
    site_path = site_path.absolute()
    site: Site | tuple[str, ...]
    try:
        site = load_site(site_path)
    except ConfigError as error:
        site = error.problems
    commands = commands_for(site) if isinstance(site, Site) else Commands()
    try:
        return Context(site_path=site_path, site_found=site, config_found=commands.config())
    except SlurmError as error:
        return Context(site_path=site_path, site_found=site, config_found=str(error))


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
