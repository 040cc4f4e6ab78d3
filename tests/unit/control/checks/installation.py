"""Changes to an installation that is set up right, and what the checks then find."""

import os
import pwd
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import CheckResult, Level
from slurm_restart.control.doctor import CHECKS, run_check
from slurm_restart.control.site import Site

ME = pwd.getpwuid(os.geteuid())
NOBODY = pwd.getpwnam("nobody")
as_root = pytest.mark.skipif(os.geteuid() != 0, reason="only root can run something as another")


def results(context: Context, check_id: str) -> tuple[CheckResult, ...]:
    """Return what the check with that id finds."""
    [check] = [check for check in CHECKS if check.id == check_id]
    found = tuple(run_check(check, context))
    assert all(result.check == check_id for result in found)
    assert all((result.remedy is None) == (result.level is Level.OK) for result in found)
    return found


def only(context: Context, check_id: str) -> CheckResult:
    """Return the one finding of a check."""
    [result] = results(context, check_id)
    return result


def level(context: Context, check_id: str) -> Level:
    """Return the level of the one finding of a check."""
    return only(context, check_id).level


def problem(context: Context, check_id: str) -> str:
    """Return the text of the one finding of a check, which is a problem."""
    result = only(context, check_id)
    assert result.level is Level.PROBLEM
    return result.text


def configured(context: Context, **config: str) -> Context:
    """Return the installation with other settings of slurm.conf."""
    return replace(context, config_found=dict(context.config) | config)


def without(context: Context, *names: str) -> Context:
    """Return the installation without settings that `scontrol show config` prints."""
    kept = {name: value for name, value in context.config.items() if name not in names}
    return replace(context, config_found=kept)


def sited(context: Context, **changes: Any) -> Context:
    """Return the installation with other settings in site.toml."""
    assert isinstance(context.site_found, Site)
    return replace(context, site_found=replace(context.site_found, **changes))


def limited(context: Context, **limits: float) -> Context:
    """Return the installation with other limits of the hook."""
    return sited(context, limits=replace(context.site.limits, **limits))


def for_nobody(context: Context) -> Context:
    """Return the installation with SlurmUser=nobody, which this process is not."""
    return configured(context, SlurmUser=f"nobody({NOBODY.pw_uid})")


def hook_of(context: Context) -> Path:
    """Return the path of the hook."""
    return Path(context.config["EpilogSlurmctld"])
