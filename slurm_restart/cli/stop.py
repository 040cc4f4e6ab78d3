"""`csx-restart stop`: end a run, now or after its next checkpoint, so that nobody restarts it."""

from dataclasses import replace
from functools import partial
from pathlib import Path

import click

from slurm_restart.cli.cancel import cancel_until_ended
from slurm_restart.cli.deadline import Deadline
from slurm_restart.cli.find_run import slurm_here
from slurm_restart.cli.job_record import record_of
from slurm_restart.cli.options import json_option, timeout_option
from slurm_restart.cli.run_note import record_wish
from slurm_restart.cli.site import site_option
from slurm_restart.cli.steer import Outcome, Steered, edit_record, find, outcome, show
from slurm_restart.cli.stop_advice import after_the_end
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.errors import SlurmUnavailableError, UsageError
from slurm_restart.slurm.interface import Slurm

REQUEST_TIME = 15.0
"""Seconds for the request to be written; then the job is cancelled without it.

Without accounting, 22.05 changes nothing of a job that has lost a node (measured).
"""


@click.command()
@click.argument("run")
@click.option(
    "--after-checkpoint",
    is_flag=True,
    help="Let a running attempt go on until its next complete checkpoint.",
)
@timeout_option(600, "Seconds after which the command gives up.")
@site_option
@json_option
def command(
    run: str,
    after_checkpoint: bool,  # noqa: FBT001 - a flag
    timeout: int,
    site_path: Path,
    as_json: bool,  # noqa: FBT001 - a flag
) -> None:
    """End RUN (a job id, a task such as 120_4, or a run directory) and its later phases for good.

    The request is written into the job's Comment first, where the hook finds it: however the
    attempt ends then, the run is not restarted. Then the job is cancelled, repeatedly until Slurm
    shows that it has ended: Slurm ignores an scancel of a job that has failed and is COMPLETING. If
    Slurm does not take the request within 15 s, the job is cancelled without it.

    With --after-checkpoint a running attempt goes on: when its next checkpoint is complete, the
    supervisor asks the program to end, and the job ends as FAILED with the category cancelled. A
    job that waits for its start is cancelled at once, as are the later phases. The command does not
    wait for the checkpoint.

    `csx-restart resume` takes a stopped run up again.

    Exit codes: 0 ended, or it will after the checkpoint; 2 not possible for this run; 4 refused by
    Slurm, such as for another user's run; 5 unknown job; 75 not ended within the timeout.
    """
    slurm, deadline = slurm_here(), Deadline(timeout)
    steered = find(slurm, run)
    if after_checkpoint:
        _require_checkpoints(steered)
    stop = partial(stop_one, slurm, deadline=deadline, after_checkpoint=after_checkpoint)
    outcomes = [stop(job) for job in steered.jobs]
    outcomes += [
        _had_ended(slurm, job.name, cancel_until_ended(slurm, job, deadline))
        for job in steered.later
    ]
    show(outcomes, as_json=as_json)
    wish = "stop" + (" after the next checkpoint" if after_checkpoint else "")
    jobs = (*steered.jobs, *steered.later)
    stopped = [job for job, each in zip(jobs, outcomes, strict=True) if each.result != "had_ended"]
    record_wish(steered.run_dir, stopped, wish, site_path=site_path)


def _require_checkpoints(steered: Steered) -> None:
    plan = steered.plan()
    known = [record for job in steered.jobs if (record := record_of(job)) is not None]
    evaluates = any(record.mode.is_evaluation for record in known)
    if evaluates or (plan is not None and plan.is_measured):
        raise UsageError(
            "--after-checkpoint: no checkpoints of this run are known, so that it would never end: "
            "leave the option out"
        )


def _stopped(job: Job, record: CommentRecord) -> CommentRecord:
    return replace(record, stop=job.restarts)


def stop_one(slurm: Slurm, job: Job, *, deadline: Deadline, after_checkpoint: bool) -> Outcome:
    """Ask for the end of one job's run, and cancel the job unless it is to reach a checkpoint.

    Raises:
        SlurmError: Slurm refuses it.
        SlurmUnavailableError: it has not ended, or has no request for its next checkpoint, in time.
    """
    try:
        limit = deadline if after_checkpoint else deadline.within(REQUEST_TIME)
        shown = edit_record(slurm, job, _stopped, limit, wait=False)
    except SlurmUnavailableError:
        if after_checkpoint:
            raise
        return _had_ended(slurm, job.name, cancel_until_ended(slurm, job, deadline))
    if shown is None or shown.over:
        return _had_ended(slurm, job.name, shown)
    running = shown.state in (JobState.RUNNING, JobState.SUSPENDED) and not shown.completing
    if after_checkpoint and running:
        text = "ends after its next checkpoint, and is not restarted"
        return outcome(job.name, shown, "will_end", text)
    last = cancel_until_ended(slurm, job, deadline)
    # The hook does not restart a job with the request; one that was COMPLETING has none.
    certain = not shown.completing or shown.state is JobState.PENDING
    return _ended(job.name, last) if certain else _had_ended(slurm, job.name, last)


def _ended(name: str, job: Job | None) -> Outcome:
    return outcome(name, job, "ended", "the run ends here")


def _had_ended(slurm: Slurm, name: str, job: Job | None) -> Outcome:
    if job is not None and job.state is JobState.CANCELLED:
        return _ended(name, job)
    text = "it had ended before" + ("" if job is None else after_the_end(job, slurm))
    return outcome(name, job, "had_ended", text)
