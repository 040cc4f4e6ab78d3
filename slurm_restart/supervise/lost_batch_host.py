"""Requeue the job if Slurm has lost its batch host: `batch_host_watch` runs this on another node.

Without certainty nothing is done: the job is as it was, its batch host is no longer one of its
nodes, and the heartbeat stands still to the last moment.
"""

import sys
from collections.abc import Callable
from pathlib import Path

from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.own_end import is_requeued
from slurm_restart.errors import CsxError, JobNotFoundError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise import supervisor_context
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.settle_run import Settlement
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir

GOES_ON = 1
"""Exit code after which the watch goes on."""


@frozen
class HostQuestion:
    """What is asked about a batch host.

    Args:
        run_dir: the phase's directory.
        job_id: the job.
        restarts: its restart count when it started.
        host: its batch host.
        held: all nodes that it started on.
        heartbeat: the last one that was seen.
        slurm: returns the cluster of a plan.
    """

    run_dir: RunDir
    job_id: int
    restarts: int
    host: str
    held: tuple[str, ...]
    heartbeat: str
    slurm: Callable[[RunPlan | None], Slurm]

    def requeue_if_lost(self) -> bool:
        """Requeue the job if its batch host is lost; return whether nothing is left to watch.

        Raises:
            CsxError: Slurm does not answer, or refuses the requeue; the plan cannot be read.
            OSError: the records cannot be read or written.
        """
        plan = RunPlan.load(self.run_dir.plan)
        try:
            job = self.slurm(plan).job(self.job_id)
        except JobNotFoundError:
            return True
        if is_requeued(job, self.restarts) or job.completing or job.over:
            return True
        if not self._is_lost(job) or self._beats():
            return False
        Settlement(
            run_dir=self.run_dir,
            job=JobEnvironment(
                job_id=self.job_id,
                restarts=self.restarts,
                nodes=self._attempt_nodes(),
                num_nodes=None,
                node_name=self.host,
                held=self.held,
            ),
            slurm=self.slurm,
            tell=lambda _text: None,
            exit_code=1,
            is_host_lost=True,
        ).run()
        return True

    def _is_lost(self, job: Job) -> bool:
        return job.state is JobState.RUNNING and bool(job.nodes) and self.host not in job.nodes

    def _beats(self) -> bool:
        try:
            with self.run_dir.heartbeat.open() as stream:
                return stream.readline().strip() != self.heartbeat
        except FileNotFoundError:
            return bool(self.heartbeat)

    def _attempt_nodes(self) -> tuple[str, ...]:
        attempts = self.run_dir.attempts()
        start = attempts[-1].start() if attempts else None
        is_of_this_start = start is not None and start.restarts == self.restarts
        return start.nodes if start is not None and is_of_this_start else self.held


def main() -> None:
    """Ask, and exit with 0 if nothing is left to watch.

    Arguments: run directory, job id, restart count, batch host, all nodes of the job as a
    hostlist, last heartbeat.
    """
    run_dir, job_id, restarts, host, held, heartbeat = sys.argv[1:]
    try:
        is_over = HostQuestion(
            run_dir=RunDir(Path(run_dir)),
            job_id=int(job_id),
            restarts=int(restarts),
            host=host,
            held=expand(held),
            heartbeat=heartbeat,
            slurm=supervisor_context.cluster_of,
        ).requeue_if_lost()
    except (CsxError, OSError):
        is_over = False
    sys.exit(0 if is_over else GOES_ON)
