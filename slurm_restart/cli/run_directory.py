"""What the run directory says of a job, for the commands that show where runs stand."""

from slurm_restart.cli.find_run import Target
from slurm_restart.core.job import Job
from slurm_restart.core.run_counters import OwnAttempts, RunCounters
from slurm_restart.errors import StateError
from slurm_restart.frozen import frozen
from slurm_restart.supervise.run_records import own_attempts
from slurm_restart.trainer.attempt_records import AttemptStart
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir


@frozen
class Directory:
    """What the run directory says; None: not known here."""

    plan: RunPlan | None = None
    own: OwnAttempts | None = None
    """The attempts of the job."""
    start: AttemptStart | None = None
    """Of the newest attempt."""
    of_this_job: bool = False
    """Whether that is one of the job itself, not of one whose run it takes up."""
    reached: int | None = None
    """The highest step of that attempt: the job's Comment is written at most every 30 s."""


def read_directory(target: Target) -> Directory:
    """Return what the run directory of a job says now."""
    if target.run_dir is None:
        return Directory()
    run_dir = RunDir(target.run_dir)
    try:
        plan, attempts = RunPlan.load(run_dir.plan), run_dir.attempts()
    except (OSError, StateError):
        return Directory()
    own = own_attempts(plan, attempts, target.job_id)
    if not attempts:
        return Directory(plan=plan, own=own)
    start = attempts[-1].start()
    return Directory(
        plan=plan,
        own=own,
        start=start,
        of_this_job=start is not None and target.job_id in (None, start.job_id),
        reached=attempts[-1].reached(),
    )


def count_restarts(
    job: Job | None, own: OwnAttempts | None, counters: RunCounters | None
) -> int | None:
    """Return the restarts by Slurm and those in place; None: one of them is not known."""
    by_slurm = job.restarts if job is not None else None if own is None else own.restarts
    return None if by_slurm is None or counters is None else by_slurm + counters.in_place
