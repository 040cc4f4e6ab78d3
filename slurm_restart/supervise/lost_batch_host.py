"""Requeue the job if Slurm has lost its batch host: `batch_host_watch` runs this on another node.

Without certainty nothing is done: the job is as it was, its batch host is no longer one of its
nodes, and the heartbeat stands still to the last moment. A batch host that is set DOWN while its
slurmd lives is another case: 22.05 and 24.11 kill the script and end the job as FAILED (measured).
The step is told to end then, and as long as it has not, the job can be requeued.

Where a hook requeues the job, the site's reconciler finds the loss too and comes first: it judges
and counts the end. If it has not come, the job is requeued as Slurm would have done it without
--no-kill, and the hook judges that end, as it does that of a job which Slurm ends.
"""

import signal
import sys
import time
from collections.abc import Callable
from enum import Enum
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
from slurm_restart.trainer import runlog
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir

GOES_ON = 1
"""Exit code after which the watch goes on."""
_PAUSE = 30.0
"""Seconds between two questions while others may act."""


class _Host(Enum):
    """What Slurm and the heartbeat show of the batch host."""

    KEPT = "kept"
    """It is the job's, or its supervisor lives."""
    LOST = "lost"
    JOB_OVER = "over"
    """This start of the job has ended: nothing is left to watch."""


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
    patience: float = 0
    """Seconds that others have for the requeue, from when the loss is first seen."""
    pause: float = _PAUSE
    is_ending: bool = False
    """Whether Slurm has told the step to end, as it does at the end of the job."""

    def requeue_if_lost(self) -> bool:
        """Requeue the job if its batch host is lost; return whether nothing is left to watch.

        Raises:
            CsxError: Slurm does not answer, or refuses the requeue; the plan cannot be read.
            OSError: the records cannot be read or written.
        """
        plan = RunPlan.load(self.run_dir.plan)
        if self.is_ending:
            if plan.requeues_itself and self._was_killed(plan):
                self._settle()
            return True
        host = self._await_others(plan)
        if host is _Host.LOST and plan.requeues_itself:
            self._settle()
        elif host is _Host.LOST:
            self._requeue(plan)
        return host is not _Host.KEPT

    def _look(self, plan: RunPlan) -> _Host:
        try:
            job = self.slurm(plan).job(self.job_id)
        except JobNotFoundError:
            return _Host.JOB_OVER
        if is_requeued(job, self.restarts) or job.completing or job.over:
            return _Host.JOB_OVER
        return _Host.LOST if self._is_lost(job) and not self._beats() else _Host.KEPT

    def _await_others(self, plan: RunPlan) -> _Host:
        """Return what there is when the others have had their time, or once it is no loss."""
        until = time.monotonic() + self.patience
        while (host := self._look(plan)) is _Host.LOST and time.monotonic() < until:
            time.sleep(min(self.pause, self.patience))
        return host

    def _requeue(self, plan: RunPlan) -> None:
        """Requeue the job with its owner's rights; the hook judges the end."""
        signal.signal(signal.SIGTERM, signal.SIG_IGN)  # Slurm ends the processes of the job
        slurm = self.slurm(plan)
        slurm.requeue(slurm.job(self.job_id).name)
        text = (
            f"requeued from another node: Slurm has lost the batch host, {self.host}, and nobody "
            f"else has requeued the job in {self.patience:.0f} s"
        )
        runlog.append(self.run_dir.log, runlog.line(runlog.MAIN, text, at=time.time()))

    def _settle(self) -> None:
        """Judge the end and requeue the job, as the supervisor would have done."""
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

    def _was_killed(self, plan: RunPlan) -> bool:
        """Return whether Slurm ends the job as its script was killed on a node that is down.

        A job that is cancelled, or ends by itself, shows another exit status, reason or state.
        """
        slurm = self.slurm(plan)
        job = slurm.job(self.job_id)
        killed = job.signal == signal.SIGKILL and job.reason not in ("", "None")
        failed = job.completing and job.state in (None, JobState.FAILED)
        if not (killed and failed) or is_requeued(job, self.restarts):
            return False
        return any(node.name == self.host and node.down for node in slurm.nodes())

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
    hostlist, seconds that others have for the requeue, last heartbeat; `ending` if Slurm has told
    the step to end.
    """
    run_dir, job_id, restarts, host, held, patience, heartbeat = sys.argv[1:8]
    try:
        is_over = HostQuestion(
            run_dir=RunDir(Path(run_dir)),
            job_id=int(job_id),
            restarts=int(restarts),
            host=host,
            held=expand(held),
            heartbeat=heartbeat,
            patience=float(patience),
            is_ending=bool(sys.argv[8:]),
            slurm=supervisor_context.cluster_of,
        ).requeue_if_lost()
    except (CsxError, OSError):
        is_over = False
    sys.exit(0 if is_over else GOES_ON)
