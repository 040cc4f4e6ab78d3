"""Format how to stop a run for certain, where a single scancel may have no effect."""

from slurm_restart.core.job import Job, JobState

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
        return (
            "an earlier phase has ended without success: the controller cancels this one, or lets "
            f"it wait if that phase is restarted; `scancel {job.name}` cancels it at once"
        )
    if job.restarts or job.completing:
        return f"it waits for its next attempt: `scancel {job.name}` ends the run"
    return None
