"""`csx-restart nodes`: what all runs tell of each node, and an administrator's decisions on one."""

import json
import os
import time
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING

import click

from slurm_restart.cli.administrator import become_controller, person
from slurm_restart.cli.options import json_option
from slurm_restart.cli.run_source import find_source, site_commands
from slurm_restart.cli.site import site_option, site_or_defaults
from slurm_restart.cli.table import Column, dash, fit_table
from slurm_restart.cli.terminal import output_width, wrap_lines
from slurm_restart.control.site import Site
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import NodeState
from slurm_restart.core.node_summary import NodeSummary, summarize_nodes
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import SlurmError, UsageError
from slurm_restart.slurm.commands import Commands
from slurm_restart.trainer.duration import EXPECTED, parse_duration

if TYPE_CHECKING:
    from slurm_restart.control.controller import Controller
    from slurm_restart.control.node_decisions import Changed

_INDENT = 15
_SHOWN = 20
"""Job ids that a message names."""
_MAX_REASON = 400


def _duration(_context: click.Context, _parameter: click.Parameter, text: str) -> int:
    try:
        return parse_duration(text)
    except ValueError:
        raise click.BadParameter(f"{text!r}: expected {EXPECTED}") from None


@click.group(invoke_without_command=True)
@click.option("--node", "nodes", metavar="LIST", help="Only these nodes, each with all evidence.")
@click.option("--all", "everybody", is_flag=True, help="The runs of all users.")
@site_option
@json_option
@click.pass_context
def command(
    context: click.Context,
    nodes: str | None,
    everybody: bool,  # noqa: FBT001 - a flag
    site_path: Path,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Show for each node the attempts of your runs on it, how they ended, and its exclusions.

    The source is the controller's journals, or the public copy of them. An administrator sees the
    runs of all users, others with --all, unless Slurm's PrivateData hides jobs.
    """
    if context.invoked_subcommand is not None:
        return
    asked = _names(nodes) if nodes else None
    site = site_or_defaults(site_path)
    slurm = site_commands(site_path, site)
    found = _summaries(site, slurm, everybody=everybody)
    shown = [each for each in found if asked is None or each.node in asked]
    if asked is not None and (unknown := sorted(set(asked) - {each.node for each in shown})):
        raise UsageError(f"{', '.join(unknown)}: no run on record has been on this node")
    if as_json:
        click.echo(json.dumps([asdict(each) for each in shown], indent=2))
    elif asked is not None:
        lines = (line for each in shown for line in _detail(each))
        click.echo("\n".join(wrap_lines(lines, output_width(), _INDENT)))
    else:
        click.echo(_table(shown))


def _names(text: str) -> tuple[str, ...]:
    try:
        return expand(text)
    except SlurmError as error:
        raise UsageError(f"--node: {error}") from None


def _summaries(site: Site, slurm: Commands, *, everybody: bool) -> list[NodeSummary]:
    own = os.getuid()
    source = find_source(site, slurm, "csx-restart nodes")
    index = source.open(uid=None if everybody or source.is_controller else own)
    if index is None:
        raise UsageError(
            "no journals can be read here: set export_dir in the site's settings, or run this "
            "command as root on the controller"
        )
    with index:
        for problem in index.unreadable:
            _warn(problem)
        exclusions = [(each.job_id, each.exclusion) for each in index.exclusions()]
        return summarize_nodes(index.node_ends(), exclusions, _states(slurm), now=time.time())


def _states(slurm: Commands) -> tuple[NodeState, ...]:
    try:
        return slurm.nodes()
    except SlurmError as error:
        _warn(f"Slurm's states of the nodes are not shown: {error}")
        return ()


def _warn(text: str) -> None:
    click.echo(f"csx-restart: {escape_controls(text)}", err=True)


def _table(summaries: list[NodeSummary]) -> str:
    if not summaries:
        return "no runs"
    columns = [
        Column(head="NODE"),
        Column(head="STATE", rank=4),
        Column(head="ATTEMPTS", rank=1),
        Column(head="FAILED"),
        Column(head="EXCLUDED", rank=2),
        Column(head="ENDS", rank=5, is_text=True),
        Column(head="LAST EVIDENCE", rank=3, is_text=True),
    ]
    cells = [
        (
            each.node,
            dash(each.state),
            str(each.attempts),
            str(each.failed),
            _excluded(each),
            _ends(each),
            each.evidence[0].text if each.evidence else "-",
        )
        for each in summaries
    ]
    return fit_table(columns, cells, width=output_width())


def _excluded(each: NodeSummary) -> str:
    count = len(each.excluded_by)
    if not count:
        return "-"
    until = max(run.until for run in each.excluded_by)
    return f"{count} {'run' if count == 1 else 'runs'} until {_clock(until)}"


def _ends(each: NodeSummary) -> str:
    ordered = sorted(each.ends.items(), key=lambda item: (-item[1], item[0]))
    return ", ".join(f"{count} {category}" for category, count in ordered)


def _detail(each: NodeSummary) -> list[str]:
    lines = [f"{each.node}: {each.state or 'not known to Slurm'}"]
    if each.slurm_reason:
        lines.append(f"  Slurm says   {each.slurm_reason}")
    lines.append(f"  attempts     {each.attempts}: {_ends(each) or 'none'}")
    lines += [
        f"  excluded     by job {run.job_id} until {_clock(run.until)}: {run.evidence}"
        for run in each.excluded_by
    ]
    lines += [
        f"  evidence     {_clock(item.at)} job {item.job_id}: {item.text}" for item in each.evidence
    ]
    return list(map(escape_controls, lines))


def _clock(seconds: int) -> str:
    return time.strftime("%m-%d %H:%M", time.localtime(seconds))


@command.command()
@click.argument("node")
@click.option("--reason", default="", help="Why, for people: it is shown by `explain`.")
@site_option
def clear(node: str, reason: str, site_path: Path) -> None:
    """End the exclusion of NODE in all runs: they may use it again.

    For administrators: root, or SlurmUser. Each run's journal records the decision, and who made
    it. A run that excludes the node on new evidence does so again.
    """
    from slurm_restart.control.node_decisions import clear_node  # noqa: PLC0415 - slow to import

    who = person()  # before the user changes
    controller = become_controller(site_path, "csx-restart nodes clear")
    _require_node(controller, node)
    changed = clear_node(controller, node, why=_why("cleared", who, reason))
    _report(changed, f"{node}: no run excluded it", f"{node}: no longer excluded by")


@command.command()
@click.argument("node")
@click.option(
    "--for",
    "duration",
    metavar="TIME",
    callback=_duration,
    default="24h",
    show_default=True,
    help="How long: 8h, 2d.",
)
@click.option("--reason", default="", help="Why, for people: it is shown by `explain`.")
@site_option
def exclude(node: str, duration: int, reason: str, site_path: Path) -> None:
    """Exclude NODE from all runs that have begun, from their next attempt on.

    For administrators: root, or SlurmUser. Each run's journal records the decision, and who made
    it. The present attempts go on, and no job that starts for the first time avoids the node: to
    keep all jobs off it, drain it with scontrol.
    """
    from slurm_restart.control.node_decisions import exclude_node  # noqa: PLC0415 - slow to import

    who = person()  # before the user changes
    controller = become_controller(site_path, "csx-restart nodes exclude")
    _require_node(controller, node)
    until = int(time.time()) + duration
    why = _why("excluded", who, reason)
    changed = exclude_node(controller, node, until=until, why=why)
    _report(
        changed,
        f"{node}: there is no run that has begun and has not ended",
        f"{node}: excluded until {_clock(until)} by",
    )


def _require_node(controller: "Controller", node: str) -> None:
    if node not in {each.name for each in controller.slurm.nodes()}:
        raise UsageError(f"{node}: Slurm knows no node of this name")


def _why(verb: str, who: str, reason: str) -> str:
    text = f"{verb} by an administrator ({who})"
    return f"{text}: {escape_controls(reason)[:_MAX_REASON]}" if reason else text


def _report(changed: "Changed", none: str, some: str) -> None:
    for problem in changed.problems:
        _warn(problem)
    count = len(changed.jobs)
    jobs = ", ".join(map(str, changed.jobs[:_SHOWN])) + (" …" if count > _SHOWN else "")
    click.echo(f"{some} {count} {'run' if count == 1 else 'runs'}: {jobs}" if count else none)
