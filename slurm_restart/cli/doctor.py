"""`csx-restart doctor`: check the installation on this controller."""

import json
from pathlib import Path

import click

from slurm_restart.cli.site import site_option
from slurm_restart.control.controller import commands_for
from slurm_restart.control.doctor import CheckResult, Level, Setup, examine
from slurm_restart.control.site import Site, load_site
from slurm_restart.core.printable import escape_controls
from slurm_restart.slurm.choose_backend import choose_backend

_MARKS = {Level.OK: "ok     ", Level.NOTE: "note   ", Level.PROBLEM: "PROBLEM"}


@click.command()
@site_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(site_path: Path, as_json: bool) -> int:  # noqa: FBT001 - a flag
    """Check the installation on the controller; run it as root or SlurmUser.

    Exit code 0: no problem; 1: at least one problem, printed with its remedy.
    """
    site = load_site(site_path)
    config = commands_for(site).config()
    findings = (*examine(Setup(site=site, site_path=site_path, config=config)), _backend(site))
    if as_json:
        click.echo(json.dumps([_data(finding) for finding in findings], indent=2))
    else:
        for finding in findings:
            text = escape_controls(finding.text)
            click.echo(f"{_MARKS[finding.level]}  {finding.check}: {text}")
            if finding.remedy:
                click.echo(f"         remedy: {escape_controls(finding.remedy)}")
    return int(any(finding.level is Level.PROBLEM for finding in findings))


def _backend(site: Site) -> CheckResult:
    choice = choose_backend(
        long_lived=True,
        bin_dir=site.slurm_bin,
        slurm_conf=site.slurm_conf,
        timeout=site.limits.command_timeout,
    )
    text = f"reconcile --every reads jobs and nodes with {choice}"
    return CheckResult(check="backend", level=Level.OK, text=text)


def _data(finding: CheckResult) -> dict[str, str | None]:
    return {
        "check": finding.check,
        "level": finding.level.value,
        "text": finding.text,
        "remedy": finding.remedy,
    }
