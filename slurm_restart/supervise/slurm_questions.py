"""Ask Slurm, in threads, how long a job has before it is killed, and signal its steps."""

import threading
import time
from collections.abc import Callable

from slurm_restart.core.job import Job, JobState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.events import Events, Preempted
from slurm_restart.supervise.stop_request import GracePeriods

PREEMPTION_TRIES = 5
"""How often Slurm is asked after the warning; without an answer it is that of the time limit."""
_PAUSE = 1.0
"""Seconds before Slurm is asked again."""


def read_kill_wait(slurm: Callable[[], Slurm], grace: GracePeriods) -> None:
    """Set KillWait of Slurm's configuration in the grace periods, once Slurm has answered.

    Args:
        slurm: returns the cluster.
        grace: keeps its value if Slurm does not answer.
    """

    def read() -> None:
        try:
            grace.kill_wait = slurm().cluster_facts().kill_wait
        except SlurmError:
            return

    threading.Thread(target=read, name="kill-wait", daemon=True).start()


def report_preemption(slurm: Callable[[], Slurm], job_id: int, events: Events) -> None:
    """Put `Preempted` into the queue if the warning signal was sent for a preemption.

    Slurm sends it then if PreemptParameters has send_user_signal and there is a GraceTime. The job
    stays RUNNING, with PreemptTime set, and EndTime at the end of that time (measured on 24.11).
    """

    def ask() -> None:
        for _ in range(PREEMPTION_TRIES):
            try:
                job = slurm().job(job_id)
                if job.state is JobState.RUNNING and job.preempt_time is not None:
                    events.put(Preempted(_grace_time(slurm(), job)))
            except SlurmError:
                time.sleep(_PAUSE)
            else:
                return

    threading.Thread(target=ask, name="preemption", daemon=True).start()


def _grace_time(slurm: Slurm, job: Job) -> int:
    """Return the seconds between PreemptTime and the time at which Slurm ends the job."""
    if job.end_time is not None and job.preempt_time is not None:
        return max(0, job.end_time - job.preempt_time)
    # The EndTime of a job without time limit is not shown.
    return max(part.grace_time for part in slurm.partitions() if part.name in job.partitions)


def signal_steps(
    slurm: Callable[[], Slurm], job_id: int, name: str, warn: Callable[[str], None]
) -> None:
    """Send a signal to all tasks of the job's steps, as Slurm does for --signal without `B:`.

    Args:
        slurm: returns the cluster.
        job_id: this job.
        name: the signal without SIG.
        warn: called with a message if Slurm refuses or does not answer.
    """

    def send() -> None:
        try:
            slurm().signal_steps(job_id, name)
        except SlurmError as error:
            warn(f"the job's steps could not be sent {name}: {error}")

    threading.Thread(target=send, name="signal-steps", daemon=True).start()
