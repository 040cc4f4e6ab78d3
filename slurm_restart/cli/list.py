"""`csx-restart list`: show runs, finished ones too, with filters."""

import json
import os
import time
from collections.abc import Callable
from dataclasses import asdict
from datetime import datetime
from pathlib import Path
from typing import Any

import click

from slurm_restart.cli.options import json_option
from slurm_restart.cli.run_rows import RunRow, merge_runs
from slurm_restart.cli.run_source import RunSource, find_source, site_commands, uid_of
from slurm_restart.cli.site import site_option, site_or_defaults
from slurm_restart.cli.table import Column, dash, fit_table, position, reason_of
from slurm_restart.cli.terminal import output_width
from slurm_restart.core.category import Category
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.commands import Commands
from slurm_restart.trainer.duration import parse_duration

_STATES = (*(state.value for state in JobState), "COMPLETING")
_CATEGORIES = tuple(category.value for category in Category)


def _choices(allowed: tuple[str, ...], change: Callable[[str], str]) -> Callable[..., set[str]]:
    """Return a reader of an option with names that are separated by commas."""

    def read(_context: click.Context, _parameter: click.Parameter, text: str | None) -> set[str]:
        names = {change(name.strip()) for name in (text or "").split(",") if name.strip()}
        for name in sorted(names - set(allowed)):
            raise click.BadParameter(f"{name!r}: expected one of {', '.join(allowed)}")
        return names

    return read


def _since(_context: click.Context, _parameter: click.Parameter, text: str | None) -> int | None:
    if text is None:
        return None
    try:
        return int(time.time()) - parse_duration(text)
    except ValueError:
        pass
    try:
        return int(datetime.fromisoformat(text).timestamp())
    except (ValueError, OverflowError, OSError):
        raise click.BadParameter(
            f"{text!r}: expected a time before now, such as 2h or 7d, or a date: 2026-11-29, "
            "2026-11-29T14:30"
        ) from None


def _nodes(_context: click.Context, _parameter: click.Parameter, text: str | None) -> set[str]:
    try:
        return set(expand(text or ""))
    except SlurmError as error:
        raise click.BadParameter(str(error)) from None


@click.command()
@click.option("--all", "everybody", is_flag=True, help="The runs of all users.")
@click.option("--user", metavar="NAME", help="The runs of a user.")
@click.option(
    "--state",
    "states",
    metavar="STATES",
    callback=_choices(_STATES, str.upper),
    help="Only runs in these states: RUNNING,PENDING.",
)
@click.option(
    "--category",
    "categories",
    metavar="NAMES",
    callback=_choices(_CATEGORIES, str.lower),
    help="Only runs whose last attempt ended like this: hardware.node,unknown.",
)
@click.option("--partition", metavar="NAME", help="Only runs that Slurm shows in this partition.")
@click.option(
    "--node", "nodes", metavar="LIST", callback=_nodes, help="Only runs that were on these nodes."
)
@click.option(
    "--since",
    metavar="TIME",
    callback=_since,
    help="Only runs that changed since: 2h, 7d, 2026-11-29.",
)
@site_option
@json_option
def command(site_path: Path, as_json: bool, **chosen: Any) -> None:  # noqa: FBT001 - a flag
    """Show your runs, finished ones too: state, attempt, step, and how the last attempt ended.

    The runs are those that Slurm shows, and those of the controller's journals or of the public
    copy of them. What Slurm's PrivateData hides is not shown. In a terminal the columns are those
    that fit its width; in a pipe all of them.
    """
    site = site_or_defaults(site_path)
    slurm = site_commands(site_path, site)
    user = chosen["user"]
    uid = uid_of(user) if user is not None else None if chosen["everybody"] else os.getuid()
    source = find_source(site, slurm, "csx-restart list")
    rows = [row for row in _rows(source, slurm, uid, chosen) if _is_chosen(row, chosen)]
    if as_json:
        click.echo(json.dumps([asdict(row) for row in rows], indent=2))
    else:
        click.echo(run_table(rows, with_user=uid != os.getuid()))


def _rows(
    source: RunSource, slurm: Commands, uid: int | None, chosen: dict[str, Any]
) -> list[RunRow]:
    jobs, unanswered = _jobs(slurm, uid)
    index = source.open(uid=uid)
    if index is None:
        if unanswered is not None:
            raise unanswered
        _warn("finished runs that Slurm has forgotten are not shown: no journals can be read here")
        return _on_nodes(merge_runs(jobs, ()), set(), chosen["nodes"])
    with index:
        if unanswered is not None:
            _warn(f"only the journals are shown: {unanswered}")
        for problem in index.unreadable:
            _warn(problem)
        rows = merge_runs(jobs, index.runs())
        been = {key for node in chosen["nodes"] for key in index.jobs_on(node)}
    return _on_nodes(rows, been, chosen["nodes"])


def _on_nodes(rows: list[RunRow], been: set[tuple[int, str]], nodes: set[str]) -> list[RunRow]:
    """Return the rows of runs that were on one of the nodes; all rows where none is asked for."""
    if not nodes:
        return rows
    return [row for row in rows if (row.job_id, row.run) in been or nodes & set(row.nodes)]


def _jobs(slurm: Commands, uid: int | None) -> tuple[tuple[Job, ...], SlurmError | None]:
    """Return the jobs that Slurm shows, or why it has not answered."""
    try:
        return slurm.jobs(uid=uid), None
    except SlurmError as error:
        return (), error


def _warn(text: str) -> None:
    click.echo(f"csx-restart: {escape_controls(text)}", err=True)


def _is_chosen(row: RunRow, chosen: dict[str, Any]) -> bool:
    states, since = chosen["states"], chosen["since"]
    return (
        (not states or bool(states & set((row.state or "").split("+"))))
        and (not chosen["categories"] or row.category in chosen["categories"])
        and (not chosen["partition"] or chosen["partition"] in (row.partition or "").split(","))
        and (since is None or (row.changed or 0) >= since)
    )


def run_table(rows: list[RunRow], *, with_user: bool) -> str:
    """Return the rows as a table for the width of the terminal."""
    if not rows:
        return "no runs"
    columns = [
        Column(head="JOBID"),
        Column(head="USER", rank=1 if with_user else 9),
        Column(head="PARTITION", rank=8),
        Column(head="STATE"),
        Column(head="ATTEMPT", rank=3),
        Column(head="STEP", rank=2),
        Column(head="RESTARTS", rank=6),
        Column(head="NODES", rank=7),
        Column(head="CHANGED", rank=5),
        Column(head="LAST END", rank=1),
        Column(head="REASON", rank=4, is_text=True),
    ]
    cells = [
        (
            row.name,
            row.user if with_user else "",
            dash(row.partition),
            dash(row.state),
            dash(row.attempt),
            position(row.step, row.unit),
            dash(row.restarts),
            dash(row.num_nodes),
            _clock(row.changed),
            dash(row.category),
            reason_of(row.reason),
        )
        for row in rows
    ]
    return fit_table(columns, cells, width=output_width())


def _clock(seconds: int | None) -> str:
    if seconds is None:
        return "-"
    return time.strftime("%m-%d %H:%M", time.localtime(seconds))
