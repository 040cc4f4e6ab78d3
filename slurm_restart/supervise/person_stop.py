"""Determine whether a person has ended the batch script alone (`scancel --batch`)."""

import threading
from collections.abc import Callable

from slurm_restart.errors import SlurmError
from slurm_restart.slurm.interface import Slurm

TIMEOUT = 4.0
"""Seconds to wait for Slurm's answer. Where a KILL follows, it follows after KillWait (30 s)."""


def is_stopped_by_person(
    slurm: Slurm, job_id: int, others_signalled: Callable[[], bool], *, timeout: float = TIMEOUT
) -> bool:
    """Return whether a person sent the signal that asks this process to end.

    Slurm changes a job's state, or sets its PreemptTime, before it ends the job, and signals all
    processes of the batch step. A node that shuts down does the latter too. So a person it was if
    no other process was signalled and the job still runs.

    Args:
        slurm: the cluster.
        job_id: this job.
        others_signalled: whether another process of the batch step has had such a signal.
        timeout: seconds; without an answer until then the result is False.
    """
    answers: list[bool] = []

    def ask() -> None:
        try:
            job = slurm.job(job_id)
        except SlurmError:
            return  # Not known: the hook judges the end by Slurm's facts alone.
        running = job.running
        answers.append(running and job.preempt_time is None)

    if others_signalled():
        return False
    thread = threading.Thread(target=ask, name="person-stop", daemon=True)
    thread.start()
    thread.join(timeout)
    # Slurm signals the processes of a job one after the other: the others may be later.
    return answers == [True] and not others_signalled()
