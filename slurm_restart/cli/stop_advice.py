"""Format how to stop a run for certain, where a single scancel may have no effect."""

from slurm_restart.cli.job_record import record_of
from slurm_restart.core.job import Job, JobState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.interface import Slurm

NEVER_SATISFIED = "DependencyNeverSatisfied"


def stop_advice(job: Job) -> str | None:
    """Return how to stop the run of a job; None where scancel does what everybody expects.

    Slurm accepts an scancel of a job that is COMPLETING and not requeued yet, and ignores it
    (slurmctld, job_signal: the job counts as finished), so that the hook may still restart it.
    """
    if job.completing and job.state is not JobState.PENDING:
        if job.state in (JobState.CANCELLED, JobState.COMPLETED):
            return None
        return (
            "Slurm ignores an scancel until the job is requeued or has ended: "
            f"`csx-restart cancel {job.name}` repeats it"
        )
    if job.state is not JobState.PENDING:
        return None
    if job.reason == NEVER_SATISFIED:
        return _never_starts(job)
    if job.restarts or job.completing:
        return f"it waits for its next attempt: `scancel {job.name}` ends the run"
    return None


def _never_starts(job: Job) -> str:
    ended, record = "an earlier phase has ended without success", record_of(job)
    if record is not None and record.self_requeue:
        return f"{ended}, and this one never starts: `scancel {job.name}` ends it"
    return (
        f"{ended}: the controller cancels this one, or lets it wait if that phase is restarted; "
        f"`scancel {job.name}` cancels it at once"
    )


def after_the_end(job: Job, slurm: Slurm) -> str:
    """Return what may still become of a job that had ended before it could be stopped.

    Empty: nothing. Only the reconciler restarts a job that has ended, and only one that the hook
    was to restart.
    """
    record = record_of(job)
    if job.state is JobState.COMPLETED or record is None or record.self_requeue:
        return ""
    if not may_have_hook(slurm):
        return ""
    return (
        "; if no hook has judged this end, a sweep of the reconciler may still restart it: see "
        "csx-restart status"
    )


def may_have_hook(slurm: Slurm) -> bool:
    """Return whether slurmctld runs a program at the end of a job; True if it does not answer."""
    try:
        return slurm.cluster_facts().has_epilog
    except SlurmError:
        return True
