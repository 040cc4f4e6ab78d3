"""`csx-restart status`: show the state, attempt and step of runs."""

import json
import os
import time
from pathlib import Path
from typing import Any

import click

from slurm_restart.cli.backend import backend_option
from slurm_restart.cli.find_run import MAX_PROBLEMS, Target, resolve_known
from slurm_restart.cli.site import site_option, site_or_defaults
from slurm_restart.cli.stop_advice import stop_advice
from slurm_restart.cli.table import dash, format_table, position, state_of
from slurm_restart.cli.task_table import array_tasks, task_table
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, is_managed, parse_comment
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import CommentRecordError
from slurm_restart.slurm.choose_backend import choose_backend
from slurm_restart.slurm.interface import Slurm


@click.command()
@click.argument("target", required=False)
@click.option("--all", "everybody", is_flag=True, help="The runs of all users.")
@backend_option
@site_option
@click.option("--json", "as_json", is_flag=True, help="Print as JSON.")
def command(
    target: str | None,
    everybody: bool,  # noqa: FBT001 - a flag
    backend: str,
    site_path: Path,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Show where TARGET (a job id or a run directory) stands; without it, all your runs.

    Without TARGET the runs are those that Slurm still knows. The job id of a job array, or its run
    directory, shows a table of its tasks; 120_4 is one of them.
    """
    if target is None:
        choice = choose_backend(backend, long_lived=False)
        rows = [
            _row(job, comment_record) | {"backend": str(choice)}
            for job, comment_record in _managed(choice.slurm, everybody=everybody)
        ]
        click.echo(json.dumps(rows, indent=2) if as_json else _table(rows))
        return
    if tasks := array_tasks(target):
        click.echo(json.dumps(tasks, indent=2) if as_json else task_table(tasks))
        return
    data = _detail(resolve_known(target, site_or_defaults(site_path))[0])
    click.echo(json.dumps(data, indent=2) if as_json else _format_detail(data))


def _managed(slurm: Slurm, *, everybody: bool) -> list[tuple[Job, CommentRecord]]:
    jobs = slurm.jobs(uid=None if everybody else os.getuid())
    found = []
    for job in jobs:
        if is_managed(job.comment):
            try:
                found.append((job, parse_comment(job.comment)))
            except CommentRecordError:
                continue
    return found


def _row(job: Job, comment_record: CommentRecord) -> dict[str, Any]:
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
        "min_nodes": comment_record.min_nodes,
        "max_num_restarts": comment_record.max_restarts,
        "run": comment_record.run,
    }


def _table(rows: list[dict[str, Any]]) -> str:
    if not rows:
        return "no runs"
    head = ("JOBID", "STATE", "REASON", "PHASE", "ATTEMPT", "STEP", "NODES")
    cells = [
        (
            row["name"],
            row["state"],
            row["reason"],
            str(row["phase"]),
            dash(row["attempt"]),
            position(row["step"], row["unit"]),
            f"{row['nodes']}/{row['num_nodes']}",
        )
        for row in rows
    ]
    return format_table(head, cells)


def _detail(target: Target) -> dict[str, Any]:
    data: dict[str, Any] = {
        "backend": "commands (one job is always read by Slurm's commands)",
        "job_id": target.job_id,
        "run": target.run,
        "run_dir": str(target.run_dir) if target.run_dir else None,
        "state": None,
        "summary": target.summary,
        "warnings": list(target.warnings),
        "problems": list(target.problems),
    }
    job = target.job
    if job is not None:
        data |= {
            "state": state_of(job),
            "reason": job.reason,
            "restarts": job.restarts,
            "nodes": list(job.nodes),
            "excluded": list(job.exc_nodes),
            "admin_comment": job.admin_comment,
        }
        if job.state is JobState.PENDING:
            data["begins"] = job.eligible_time
        if (advice := stop_advice(job)) is not None:
            data["to_stop"] = advice
        try:
            comment_record = parse_comment(job.comment)
            data |= {
                "attempt": comment_record.attempt,
                "step": comment_record.step,
                "unit": comment_record.unit.value,
            }
        except CommentRecordError:
            data["comment_record"] = "the job's Comment holds no record of this plugin"
    return data


def _format_detail(data: dict[str, Any]) -> str:
    lines = [f"job {data['job_id']}: {data['state'] or 'not known to Slurm any more'}"]
    shown = ("reason", "attempt", "step", "restarts", "run_dir", "admin_comment", "comment_record")
    values = data | {"step": position(data.get("step"), data.get("unit"))}
    lines += [f"  {name:<14} {values[name]}" for name in shown if data.get(name) not in (None, "")]
    for name in ("nodes", "excluded"):
        if data.get(name):
            lines.append(f"  {name:<14} {','.join(data[name])}")
    if data.get("begins"):
        begins = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(data["begins"]))
        lines.append(f"  {'begins':<14} not before {begins}")
    if data.get("to_stop"):
        lines.append(f"  {'to stop it':<14} {data['to_stop']}")
    for number, run in enumerate(data["summary"].get("runs", [])):
        steps = f"steps {dash(run.get('starting_step'))} to {dash(run.get('ending_step'))}"
        why = f": {run['failure_reason']}" if run.get("failure_reason") else ""
        tier = ", restarted in place" if run.get("in_place") else ""
        lines.append(f"  attempt {number:<6} {run.get('status')}, {steps}{tier}{why}")
    lines += [f"  {'warning':<14} {text}" for text in data["warnings"][:MAX_PROBLEMS]]
    lines += [f"  {'problem':<14} {text}" for text in data["problems"][:MAX_PROBLEMS]]
    if (more := len(data["problems"]) - MAX_PROBLEMS) > 0:
        lines.append(f"  {'problem':<14} {more} more: csx-restart status --json")
    return "\n".join(map(escape_controls, lines))
