"""What the commands that steer a run have in common: find its jobs, change their records."""

import json
from collections.abc import Callable, Iterable
from contextlib import suppress
from dataclasses import asdict, dataclass
from pathlib import Path

import click

from slurm_restart.cli.deadline import Deadline
from slurm_restart.cli.find_run import slurm_here
from slurm_restart.cli.job_record import record_of
from slurm_restart.cli.named_jobs import is_job_id, later_phases, named_jobs
from slurm_restart.cli.table import state_of
from slurm_restart.cli.terminal import output_width, wrap_lines
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import (
    CommentRecord,
    format_comment,
    split_user_comment,
)
from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import (
    JobNotFoundError,
    SlurmError,
    StateError,
    UsageError,
)
from slurm_restart.slurm.interface import Slurm
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir

CONFIRM = 0.5
"""Seconds after which a record that was written is read again: the supervisor writes it too."""
PAUSE = 1.0
"""Seconds until a job that is COMPLETING is looked at again."""
FORGOTTEN = "not known to Slurm any more"
INDENT = 2
"""Blanks before what continues a line about a job."""
_DENIED = ("Access/permission denied", "Invalid user id", "Operation not permitted")

Change = Callable[[Job, CommentRecord], CommentRecord]


@dataclass(frozen=True, kw_only=True)
class Steered:
    """The jobs that a command is about."""

    jobs: tuple[Job, ...]
    """The job of the phase that was named, or the tasks of its array."""
    later: tuple[Job, ...]
    """The jobs of the later phases that have not ended."""
    run_dir: Path | None
    """The run directory of the phase that was named; None: not known here."""

    def plan(self) -> RunPlan | None:
        """Return the plan of the phase; None: it cannot be read here."""
        if self.run_dir is None:
            return None
        with suppress(OSError, StateError):
            return RunPlan.load(RunDir(self.run_dir).plan)
        return None


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What has become of one job."""

    job: str
    """Its name, such as `120` or `120_4`."""
    phase: int | None
    """From 0; None: the job has no record of this plugin."""
    state: str | None
    """As squeue shows it; None: Slurm no longer knows the job."""
    result: str
    """One word for scripts."""
    text: str
    """What it means, for people."""


def outcome(name: str, job: Job | None, result: str, text: str) -> Outcome:
    """Return the outcome for a job; None: Slurm no longer knows it."""
    record = None if job is None else record_of(job)
    return Outcome(
        job=name,
        phase=None if record is None else record.phase,
        state=None if job is None else state_of(job),
        result=result,
        text=text,
    )


def show(outcomes: Iterable[Outcome], *, as_json: bool) -> None:
    """Print outcomes, a line each or as JSON."""
    if as_json:
        click.echo(json.dumps({"jobs": [asdict(each) for each in outcomes]}, indent=2))
        return
    lines = [
        escape_controls(f"job {each.job}: {each.state or FORGOTTEN}: {each.text}")
        for each in outcomes
    ]
    click.echo("\n".join(wrap_lines(lines, output_width(), INDENT)))


def find(slurm: Slurm, text: str) -> Steered:
    """Return the jobs of a job id, of an array's id, of a task (`120_4`) or of a run directory.

    Raises:
        JobNotFoundError: Slurm does not know such a job (any more).
        UsageError: the text is none of them, or the job is not managed by this plugin.
    """
    if is_job_id(text):
        named, jobs = named_jobs(slurm, text)
        job, run_dir = named[0], _run_dir(named[0])
    else:
        job, jobs = _job_of(slurm, Path(text))
        named, run_dir = (job,), Path(text).resolve()
    if record_of(job) is None:
        raise UsageError(
            f"job {job.name}: expected a run of csx-sbatch, got a job whose Comment holds no record"
        )
    return Steered(jobs=named, later=later_phases(job, jobs), run_dir=run_dir)


def _run_dir(job: Job) -> Path | None:
    """Return the run directory of a job, that of the whole array for a task; None: not known."""
    with suppress(SlurmError):
        script = slurm_here().script(job.job_id)
        if script is not None and RunDir(script.parent).plan.is_file():
            return script.parent
    return None


def _job_of(slurm: Slurm, path: Path) -> tuple[Job, tuple[Job, ...]]:
    """Return the newest job of a run directory, and all jobs of its owner."""
    if not path.is_dir():
        raise UsageError(f"{path}: expected a job id or a run directory (…_restartable)")
    try:
        plan = RunPlan.load(RunDir(path).plan)
        jobs = slurm.jobs(uid=path.stat().st_uid)
    except (StateError, OSError) as error:
        raise UsageError(f"{path}: not a run directory: {error}") from error
    own = [job for job in jobs if is_phase(job, plan)]
    if not own:
        raise JobNotFoundError(f"{path}: Slurm knows no job of this run (any more)")
    return max(own, key=lambda job: (job.submit_time or 0, job.job_id)), jobs


def is_phase(job: Job, plan: RunPlan) -> bool:
    """Whether a job is one of the phase that a plan describes."""
    record = record_of(job)
    if record is None or (record.run, record.phase) != (plan.run, plan.phase):
        return False
    return plan.array_task is None or plan.array_task == job.array_task_id


def edit_record(
    slurm: Slurm, job: Job, change: Change, deadline: Deadline, *, wait: bool = True
) -> Job | None:
    """Change the record in a job's Comment, make sure that it stays, return the job as it is then.

    Args:
        slurm: the cluster.
        job: the job.
        change: returns the record that is wanted, given the job and its record now.
        deadline: when to give up.
        wait: whether to wait while the job is COMPLETING, when Slurm changes no field of it.

    Returns:
        The job: with the record, or over, or (without `wait`) COMPLETING; None: Slurm no
        longer knows it.

    Raises:
        SlurmError: Slurm refuses the change.
        SlurmUnavailableError: it could not be made in time.
        UsageError: the change is not possible with the record.
    """
    run, problem = record_of(job), "it is COMPLETING"
    while True:
        try:
            shown = slurm.job(job.job_id)
        except JobNotFoundError:
            return None
        record = record_of(shown)
        if record is None or run is None or record.run != run.run:
            return None  # Slurm has given the id to another job
        closed = shown.completing and shown.state is not JobState.PENDING
        wanted = record if shown.over else change(shown, record)
        if wanted == record or (closed and not wait):
            return shown
        if not closed:
            problem = _write_record(slurm, shown, wanted)
        deadline.pause(
            PAUSE if closed else CONFIRM,
            f"job {job.name}: not changed in time: {problem}; try again",
        )


def _write_record(slurm: Slurm, job: Job, record: CommentRecord) -> str:
    """Write a record; return why that failed, for a failure that may pass."""
    comment = format_comment(record, split_user_comment(job.comment))
    try:
        slurm.update(job.name, {"Comment": comment})
    except JobNotFoundError:
        return "Slurm does not know it"
    except SlurmError as error:
        if any(text in error.stderr for text in _DENIED):
            who = "only the owner of the run, or an administrator of Slurm, may change it"
            raise SlurmError(f"{error}: {who}", stderr=error.stderr) from error
        return str(error)
    return "the job's own supervisor writes its Comment at the same time"
