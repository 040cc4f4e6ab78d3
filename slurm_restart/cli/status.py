"""`csx-restart status`: show the state, attempt and step of runs."""

import json
import os
import sys
import time
from dataclasses import asdict
from pathlib import Path
from typing import Any

import click

from slurm_restart.cli.backend import backend_option
from slurm_restart.cli.find_run import resolve_known
from slurm_restart.cli.format_status import OBSERVE_MODE, format_status
from slurm_restart.cli.options import json_option
from slurm_restart.cli.run_status import run_status
from slurm_restart.cli.site import site_option, site_or_defaults
from slurm_restart.cli.table import Column, dash, fit_table, position, reason_of, state_of
from slurm_restart.cli.task_table import array_tasks, task_table
from slurm_restart.cli.terminal import output_width
from slurm_restart.control.site import Site
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, is_managed, parse_comment
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import CommentRecordError, SlurmUnavailableError, UsageError
from slurm_restart.slurm.choose_backend import choose_backend
from slurm_restart.slurm.interface import Slurm

_CLEAR = "\x1b[H\x1b[2J"
"""Clears a terminal."""
_FINAL = frozenset(state.value for state in JobState if state.is_final)


@click.command()
@click.argument("target", required=False)
@click.option("--all", "everybody", is_flag=True, help="The runs of all users.")
@backend_option
@site_option
@click.option("--watch", is_flag=True, help="Show TARGET again and again, until it has ended.")
@click.option(
    "--interval",
    metavar="SECONDS",
    type=click.FloatRange(min=1),
    default=5,
    show_default=True,
    help="Seconds between two looks of --watch.",
)
@json_option
def command(  # noqa: PLR0917 - the options of click
    target: str | None,
    everybody: bool,  # noqa: FBT001 - a flag
    backend: str,
    site_path: Path,
    watch: bool,  # noqa: FBT001 - a flag
    interval: float,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Show where TARGET (a job id or a run directory) stands; without it, all your runs.

    Without TARGET the runs are those that Slurm still knows (`list` shows the others too). The job
    id of a job array, or its run directory, shows a table of its tasks; 120_4 is one of them.
    """
    if watch and (target is None or as_json):
        raise UsageError("--watch shows one run: give TARGET, without --json")
    if target is None:
        choice = choose_backend(backend, long_lived=False)
        observes = site_or_defaults(site_path).observe
        rows = [
            _row(job, record, observes=observes) | {"backend": str(choice)}
            for job, record in _managed(choice.slurm, everybody=everybody)
        ]
        click.echo(json.dumps(rows, indent=2) if as_json else _table(rows))
        if any(row["observed"] for row in rows):
            click.echo(f"csx-restart: mode {OBSERVE_MODE}", err=True)
        return
    if tasks := array_tasks(target):
        click.echo(json.dumps(tasks, indent=2) if as_json else task_table(tasks))
        return
    site = site_or_defaults(site_path)
    if watch:
        _watch(target, site, interval)
        return
    status = run_status(*resolve_known(target, site), site)
    click.echo(json.dumps(asdict(status), indent=2) if as_json else format_status(status))


def _managed(slurm: Slurm, *, everybody: bool) -> list[tuple[Job, CommentRecord]]:
    jobs = slurm.jobs(uid=None if everybody else os.getuid())
    found = []
    for job in jobs:
        if is_managed(job.comment):
            try:
                found.append((job, parse_comment(job.comment)))
            except CommentRecordError:
                continue
    return sorted(found, key=lambda pair: (pair[0].array_job_id or pair[0].job_id, pair[0].job_id))


def _row(job: Job, comment_record: CommentRecord, *, observes: bool) -> dict[str, Any]:
    return {
        "job_id": job.job_id,
        "name": job.name,
        "state": state_of(job),
        "reason": job.reason,
        "phase": comment_record.phase,
        "attempt": comment_record.attempt,
        "step": comment_record.step,
        "unit": comment_record.unit.value,
        "nodes": job.num_nodes,
        "num_nodes": comment_record.num_nodes,
        "spares": comment_record.spares,
        "min_nodes": comment_record.min_nodes,
        "max_num_restarts": comment_record.max_restarts,
        "run": comment_record.run,
        "observed": observes and not comment_record.self_requeue,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no runs"
    columns = (
        Column(head="JOBID"),
        Column(head="STATE"),
        Column(head="REASON", rank=2),
        Column(head="PHASE", rank=4),
        Column(head="ATTEMPT", rank=1),
        Column(head="STEP", rank=1),
        Column(head="NODES", rank=3),
    )
    cells = [
        (
            row["name"],
            row["state"],
            reason_of(row["reason"]),
            str(row["phase"]),
            dash(row["attempt"]),
            position(row["step"], row["unit"]),
            f"{row['nodes']}/{row['num_nodes']}" + (f"+{row['spares']}" if row["spares"] else ""),
        )
        for row in rows
    ]
    return fit_table(columns, cells, width=output_width())


def _watch(target: str, site: Site, every: float) -> None:
    """Show a run again and again until it has ended."""
    terminal = sys.stdout.isatty()
    while True:
        try:
            status = run_status(*resolve_known(target, site), site)
        except SlurmUnavailableError as error:
            click.echo(f"csx-restart: {escape_controls(error)}", err=True)
        else:
            stamp = time.strftime("%H:%M:%S")
            click.echo(f"{_CLEAR if terminal else ''}{format_status(status)}\n{stamp}")
            if status.slurm_answers and (status.state is None or status.state in _FINAL):
                return
            if not terminal:
                click.echo()
        sys.stdout.flush()
        time.sleep(every)
