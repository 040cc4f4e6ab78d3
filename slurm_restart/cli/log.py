"""`csx-restart log`: show run.log and the output of all attempts as one log, and follow it."""

import json
import sys
import time
from collections.abc import Iterable
from dataclasses import asdict
from pathlib import Path

import click

from slurm_restart.cli.find_run import Target, resolve_known
from slurm_restart.cli.run_log import Follower, LogLine, lines_of
from slurm_restart.cli.site import site_option, site_or_defaults
from slurm_restart.cli.terminal import has_colours, output_width, wrap_lines
from slurm_restart.control.site import Site
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import CsxError, UsageError
from slurm_restart.trainer.rundir import RunDir

_INTERVAL = 0.5
"""Seconds between two looks at the files."""
_INDENT = 2
"""Blanks before what continues a line of run.log; the program's own lines stay as they are."""
_ASK_EVERY = 10.0
"""Seconds between two questions to Slurm whether the run has ended."""


@click.command()
@click.argument("target")
@click.option("-f", "--follow", is_flag=True, help="Show what is added, until the run has ended.")
@click.option("--attempt", metavar="N", type=click.IntRange(min=0), help="Only attempt N, from 0.")
@site_option
@click.option("--json", "as_json", is_flag=True, help="Print an object a line, as JSON.")
def command(
    target: str,
    follow: bool,  # noqa: FBT001 - a flag
    attempt: int | None,
    site_path: Path,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Show the log of TARGET (a job id or a run directory): all attempts as one.

    The lines of run.log say how each attempt started and ended; between them stands what the
    trainer printed. Colours are left out, of a progress bar the last state is shown, and control
    characters are escaped.
    """
    site = site_or_defaults(site_path)
    found = resolve_known(target, site)[0]
    if found.run_dir is None:
        raise UsageError(f"{target}: its run directory is not known: give the run directory")
    run_dir = RunDir(found.run_dir)
    _require_attempt(run_dir, attempt, follow=follow)
    if not follow:
        _print(lines_of(run_dir, attempt=attempt), as_json=as_json)
        return
    follower = Follower(run_dir, attempt=attempt)
    ends = follower.begin()
    _print(lines_of(run_dir, attempt=attempt, ends=ends), as_json=as_json)
    _follow(follower, found, site, as_json=as_json)


def _require_attempt(run_dir: RunDir, attempt: int | None, *, follow: bool) -> None:
    numbers = [each.number for each in run_dir.attempts()]
    if attempt is None or attempt in numbers or follow:
        return
    known = f"the last is {numbers[-1]}" if numbers else "none has started"
    raise UsageError(f"--attempt {attempt}: there is no such attempt: {known}")


def _follow(follower: Follower, target: Target, site: Site, *, as_json: bool) -> None:
    """Print what is added until Slurm shows that the run has ended, or does not know it."""
    asked = time.monotonic()
    ended = _is_over(target)
    while True:
        lines = follower.read()
        _print(lines, as_json=as_json)
        sys.stdout.flush()
        if ended and not lines:
            return
        time.sleep(_INTERVAL)
        if not ended and time.monotonic() - asked > _ASK_EVERY:
            asked = time.monotonic()
            ended = _has_ended(target, site)


def _has_ended(target: Target, site: Site) -> bool:
    try:
        return _is_over(resolve_known(str(target.run_dir), site)[0])
    except CsxError:
        return False  # the directory cannot be read at this moment


def _is_over(target: Target) -> bool:
    """Return whether Slurm shows that the run has ended, or does not know it."""
    if target.unanswered is not None:
        return False
    return target.job is None or target.job.over


def _print(lines: Iterable[LogLine], *, as_json: bool) -> None:
    colours, width = has_colours(), output_width()
    for line in lines:
        if as_json:
            click.echo(json.dumps(asdict(line)))
            continue
        text = escape_controls(line.text, keep="\t")
        if line.source == "output":
            click.echo(text)
            continue
        for part in wrap_lines([text], width, _INDENT):
            click.echo(click.style(part, bold=True) if colours else part)
