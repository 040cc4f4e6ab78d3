"""`csx-restart set`: change the restart settings of a run that was submitted."""

from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import click

from slurm_restart.cli.deadline import Deadline
from slurm_restart.cli.find_run import slurm_here
from slurm_restart.cli.job_record import record_of
from slurm_restart.cli.options import json_option, timeout_option
from slurm_restart.cli.run_note import record_wish
from slurm_restart.cli.run_settings import Assignment, apply, parse_assignments
from slurm_restart.cli.site import site_option
from slurm_restart.cli.steer import Outcome, edit_record, find, outcome, show
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.errors import UsageError
from slurm_restart.trainer.run_plan import RunPlan


@click.command()
@click.argument("run")
@click.argument("settings", nargs=-1, required=True, metavar="NAME=VALUE...")
@timeout_option(60, "Seconds to wait while the job is COMPLETING.")
@site_option
@json_option
def command(
    run: str,
    settings: Sequence[str],
    timeout: int,
    site_path: Path,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """Change restart settings of RUN (a job id, a task such as 120_4, or a run directory).

    The names are those of the settings at submission: max_num_restarts, min_num_csx or min_nodes,
    stop_on_repeat, shrink_after, give_up_after, exclude_for. `default` gives one of the last four
    the site's default. The limits of the site hold as before.

    The change holds from the next end or wait of the job on, and for the later phases of the run.
    While the job is COMPLETING, Slurm changes nothing of it: the command waits until it is requeued
    or has ended. Of a run that has ended nothing can be changed.

    Exit codes: 0 changed, or as wanted already; 2 wrong usage, or the run has ended; 4 refused by
    Slurm, such as for another user's run; 5 unknown job; 75 not changed within the timeout.
    """
    assignments = parse_assignments(settings)
    slurm = slurm_here()
    steered = find(slurm, run)
    plan = steered.plan()
    change = partial(_changed, assignments, plan)
    jobs = [*steered.jobs, *steered.later]
    for job in jobs:
        _require_possible(job, change)
    deadline = Deadline(timeout)
    outcomes = [
        _outcome(job, edit_record(slurm, job, change, deadline), assignments) for job in jobs
    ]
    if all(each.result == "ended" for each in outcomes):
        raise UsageError(
            "; ".join(f"job {each.job} has ended: {each.state or 'unknown'}" for each in outcomes)
            + ": nothing of it can be changed; csx-restart resume takes a run up again"
        )
    show(outcomes, as_json=as_json)
    changed = [job for job, each in zip(jobs, outcomes, strict=True) if each.result != "ended"]
    record_wish(steered.run_dir, changed, f"set {' '.join(settings)}", site_path=site_path)


def _changed(
    assignments: Sequence[Assignment], plan: RunPlan | None, _job: Job, record: CommentRecord
) -> CommentRecord:
    # A later phase may have another size than the plan of the first.
    return apply(assignments, record, plan if plan and record.phase == plan.phase else None)


def _require_possible(job: Job, change: Callable[[Job, CommentRecord], CommentRecord]) -> None:
    """Refuse before anything is changed."""
    record = record_of(job)
    if record is not None:
        change(job, record)


def _outcome(job: Job, shown: Job | None, assignments: Sequence[Assignment]) -> Outcome:
    if shown is None or shown.over:
        return outcome(job.name, shown, "ended", "it has ended: nothing is changed")
    values = ", ".join(
        f"{each.setting.name} {'the default' if each.value is None else each.value}"
        for each in assignments
    )
    when = "its next end" if shown.state is not JobState.PENDING else "now"
    return outcome(job.name, shown, "set", f"{values}, from {when} on")
