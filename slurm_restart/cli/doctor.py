"""`csx-restart doctor`: check the installation on this controller."""

import json
from collections import Counter
from collections.abc import Sequence
from pathlib import Path

import click

from slurm_restart.cli.options import json_option
from slurm_restart.cli.site import site_option
from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Check, CheckResult, Finding, Level, ok
from slurm_restart.control.doctor import examine, gather, run_check
from slurm_restart.core.printable import escape_controls
from slurm_restart.slurm.choose_backend import choose_backend

_MARKS = {
    Level.OK: "ok     ",
    Level.WARNING: "warning",
    Level.PROBLEM: "PROBLEM",
    Level.UNKNOWN: "unknown",
}


@click.command()
@site_option
@json_option
def command(site_path: Path, as_json: bool) -> int:  # noqa: FBT001 - a flag
    """Check the installation on the controller; run it as root.

    SlurmUser and other users can run it too: what they may not try is shown as unknown.

    Exit code 0: no problem; 1: at least one problem, printed with its remedy.
    """
    context = gather(site_path)
    results = (*examine(context), *run_check(BACKEND, context))
    if as_json:
        click.echo(json.dumps([_data(result) for result in results], indent=2))
    else:
        _print(results)
    return int(any(result.level is Level.PROBLEM for result in results))


def _print(results: Sequence[CheckResult]) -> None:
    for (level, text, remedy), checks in _grouped(results).items():
        click.echo(f"{_MARKS[level]}  {', '.join(checks)}: {escape_controls(text)}")
        if remedy:
            click.echo(f"         remedy: {escape_controls(remedy)}")
    numbers = Counter(result.level for result in results)
    click.echo(", ".join(f"{numbers[level]} {level.value}" for level in reversed(Level)))


def _grouped(results: Sequence[CheckResult]) -> dict[tuple[Level, str, str | None], list[str]]:
    """Return the checks by what they found: many may be unknown for one reason."""
    found: dict[tuple[Level, str, str | None], list[str]] = {}
    for result in results:
        found.setdefault((result.level, result.text, result.remedy), []).append(result.check)
    return found


def _backend(context: Context) -> tuple[Finding, ...]:
    choice = choose_backend(
        long_lived=True,
        bin_dir=context.bin_dir,
        slurm_conf=context.slurm_conf,
        timeout=context.site.limits.command_timeout,
    )
    return (ok(f"reconcile --every reads jobs and nodes with {choice}"),)


BACKEND = Check(
    id="backend",
    meaning="What `csx-restart reconcile --every` reads jobs and nodes with.",
    run=_backend,
)


def _data(result: CheckResult) -> dict[str, str | None]:
    return {
        "check": result.check,
        "level": result.level.value,
        "text": result.text,
        "remedy": result.remedy,
    }
