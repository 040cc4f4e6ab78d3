"""Spare nodes of a submission: what is wrong with them, and what they need of the cluster."""

from collections.abc import Iterable
from dataclasses import replace

from slurm_restart.core.job_comment import MAX_NODES
from slurm_restart.core.recovery import Recovery
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.submit.submission import PhaseJob, Submission
from slurm_restart.trainer.settings import Settings


def spares_problems(settings: Settings, jobs: Iterable[PhaseJob]) -> list[str]:
    """Return why the spares cannot be used."""
    if not settings.spares:
        return []
    where = settings.origins.get("spares", "spares")
    if settings.recovery is Recovery.REQUEUE:
        return [f"{where}: expected recovery auto or in-place beside it, got requeue"]
    problems = []
    for job in jobs:
        if job.plan.policy is None:
            problems.append(f"{where}: expected a job that restarts: without restarts none is used")
        elif job.plan.num_nodes + settings.spares > MAX_NODES:
            problems.append(f"{where}: expected at most {MAX_NODES} nodes with the spares")
    return problems[:1]


def fit_to_cluster(submission: Submission, slurm: Slurm) -> tuple[Submission, str | None]:
    """Return the submission as it suits this cluster, and what the user should know of that.

    A job that outlives its batch host stays RUNNING without a script until the site's reconciler
    finds it, or the watch on another of its nodes, which can only requeue it. One that must not be
    requeued (`recovery: in-place`) is left to the reconciler. Where there certainly is none,
    because slurmctld runs no hook, such a job outlives a node only if spares are asked for.
    """
    if not any(map(_needs_reconciler, submission.jobs)):
        return submission, None
    try:
        if slurm.cluster_facts().has_epilog:
            return submission, None
    except SlurmError:
        return submission, None
    if any(job.plan.spares for job in submission.jobs if _needs_reconciler(job)):
        return submission, (
            "this cluster has no hook (EpilogSlurmctld is not set), and so nobody who ends a job "
            "with spares that has lost its batch host: it stays RUNNING up to its time limit"
        )
    jobs = tuple(
        replace(job, outlives_nodes=job.outlives_nodes and not _needs_reconciler(job))
        for job in submission.jobs
    )
    return replace(submission, jobs=jobs), None


def _needs_reconciler(job: PhaseJob) -> bool:
    """Return whether only the reconciler would end the job if its batch host were lost."""
    return job.plan.keeps_allocation and not job.plan.needs_host_watch
