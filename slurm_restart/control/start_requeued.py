"""Helper process of the hook: wait until the job is PENDING, then make it start."""

import os
import signal
import time

from slurm_restart.control.adjust_pending import PendingJob, adjust_pending
from slurm_restart.control.controller import Controller
from slurm_restart.control.propagate_exclusions import propagate_exclusions
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.slurm.interface import Slurm

_FIRST_POLL, _SLOWEST_POLL = 0.1, 2.0
_ROUNDING = 0.2
"""Seconds added to a wait for a begin time, which Slurm keeps in whole seconds."""


def detach() -> bool:
    """Fork a helper process that slurmctld does not wait for; return True in the helper.

    slurmctld waits for every process that holds the hook's descriptors, and kills the hook's
    process group (both measured), so the helper gets its own session and descriptors.
    """
    if os.fork():
        return False
    os.setsid()
    null = os.open(os.devnull, os.O_RDWR)
    for descriptor in (0, 1, 2):
        os.dup2(null, descriptor)
    os.closerange(3, 256)
    signal.alarm(0)
    return True


def start_requeued(controller: Controller, job_id: int, comment_record: CommentRecord) -> None:
    """Start a requeued job as soon as that is safe, and propagate exclusions to later phases."""
    limits = controller.site.limits
    deadline = time.monotonic() + limits.helper_timeout
    job = _await_pending(controller.slurm, job_id, deadline)
    if job is None:
        controller.log(job_id)("not PENDING in time: left to the reconciler")
        return
    # slurmd refuses a start in the second in which the job was killed ("Job credential revoked").
    # No condition can be awaited: only time has to pass.
    time.sleep(limits.margin)
    due = _adjust(controller, job_id, comment_record)
    propagate_exclusions(controller, job, comment_record)
    wait = 0.0 if due is None else due - time.time()
    if 0 < wait < deadline - time.monotonic():
        time.sleep(wait + _ROUNDING)
        _adjust(controller, job_id, comment_record)


def _await_pending(slurm: Slurm, job_id: int, deadline: float) -> Job | None:
    """Return the job once it is PENDING without COMPLETING; None: another state, or not in time."""
    poll = _FIRST_POLL
    while time.monotonic() < deadline:
        job = slurm.job(job_id)
        if not job.completing and job.state is not None:
            return job if job.state is JobState.PENDING else None
        time.sleep(poll)
        poll = min(poll * 1.5, _SLOWEST_POLL)
    return None


def _adjust(controller: Controller, job_id: int, comment_record: CommentRecord) -> int | None:
    job = controller.slurm.job(job_id)
    if job.state is not JobState.PENDING or job.completing:
        return None
    nodes = controller.slurm.nodes()
    pending = PendingJob(job=job, comment_record=comment_record, nodes=nodes, startable=True)
    return adjust_pending(controller, pending)
