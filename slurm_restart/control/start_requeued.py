"""Helper process of the hook: wait until the job is PENDING, then make it start."""

import os
import signal
import time

from slurm_restart.control.advance import advance
from slurm_restart.control.controller import Controller


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


def start_requeued(controller: Controller, job_id: int, look_again: float) -> None:
    """Advance a requeued job until it needs nothing more, or the time limit is reached.

    Args:
        controller: the cluster's controller.
        job_id: the job.
        look_again: when to look at the job for the first time, in epoch seconds.
    """
    deadline = time.time() + controller.site.limits.helper_timeout
    due: float | None = look_again
    while due is not None and due < deadline:
        # Only time has to pass here: Slurm does not notify, and slurmd refuses an early start.
        time.sleep(max(0.0, due - time.time()))
        due = advance(controller, job_id)
    if due is not None:
        controller.log(job_id)("not started in time: left to the reconciler")
