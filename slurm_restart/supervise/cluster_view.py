"""What a job that requeues itself asks Slurm about itself and the cluster."""

import time
from collections.abc import Callable

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.job import Job, NodeState, PartitionState
from slurm_restart.errors import SlurmError, SlurmUnavailableError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm

RETRY = 2.0
"""Seconds between two questions to a slurmctld that does not answer."""


@frozen
class ClusterView:
    """A job and its cluster at one time."""

    job: Job
    nodes: tuple[NodeState, ...]
    partitions: tuple[PartitionState, ...]
    reserved: tuple[str, ...] | None
    """The nodes of the job's reservation; None: it has none."""
    cluster: ClusterFacts


def ask_cluster(slurm: Slurm, job_id: int) -> ClusterView:
    """Return what Slurm shows now.

    Raises:
        SlurmError: Slurm does not answer, or does not know the job.
    """
    job = slurm.job(job_id)
    return ClusterView(
        job=job,
        nodes=slurm.nodes(),
        partitions=slurm.partitions(),
        reserved=_reserved(slurm, job),
        cluster=slurm.cluster_facts(),
    )


def _reserved(slurm: Slurm, job: Job) -> tuple[str, ...] | None:
    if not job.reservation:
        return None
    try:
        return slurm.reservation_nodes(job.reservation)
    except SlurmUnavailableError:
        raise
    except SlurmError:
        return ()  # deleted: the job waits


def await_cluster(
    slurm: Callable[[], Slurm], job_id: int, *, until: float, warn: Callable[[str], None]
) -> ClusterView:
    """Return what Slurm shows, as soon as it answers: the job lasts as long as this process.

    Args:
        slurm: returns the cluster.
        job_id: this job.
        until: monotonic time at which the wait is given up.
        warn: called once with a message if Slurm does not answer.

    Raises:
        SlurmError: there was no answer in time, or Slurm does not know the job.
    """
    warned = False
    while True:
        try:
            return ask_cluster(slurm(), job_id)
        except SlurmUnavailableError as error:
            if time.monotonic() > until:
                raise
            if not warned:
                warn(f"the end cannot be judged yet: {error}")
            warned = True
            time.sleep(RETRY)


def is_still_running(slurm: Callable[[], Slurm], job_id: int) -> bool:
    """Return whether Slurm shows the job RUNNING.

    Raises:
        SlurmError: Slurm does not answer.
    """
    return slurm().job(job_id).running
