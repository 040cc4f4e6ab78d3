"""Requeue the job after its supervisor was killed: run by the batch script's shell.

`csx-restart run --settle` does what the supervisor would have done: it counts the attempt, judges
its end and asks Slurm for the requeue, or completes what the supervisor had begun.
"""

import signal
import time
from collections.abc import Callable
from dataclasses import replace

from slurm_restart.core.category import Category
from slurm_restart.core.job import JobState, NodeState
from slurm_restart.core.journal_events import Action
from slurm_restart.core.own_end import is_requeued
from slurm_restart.errors import CsxError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.attempt_fence import is_overtaken
from slurm_restart.supervise.backfill import derive_end
from slurm_restart.supervise.cluster_view import ClusterView, await_cluster
from slurm_restart.supervise.expected_decision import format_decision
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.lost_nodes import blame_down
from slurm_restart.supervise.prepare_attempt import reached_step
from slurm_restart.supervise.self_requeue import EndedAttempt, OwnJudgement, SelfRequeue, judge
from slurm_restart.supervise.untold_end import format_end
from slurm_restart.trainer import runlog, summary
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import AttemptEnd, to_json
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

SLURM_WAIT = 900.0
"""Seconds to wait for Slurm's answer: the allocation stays as long as the shell waits."""


@frozen
class Settlement:
    """What is done once the supervisor is gone.

    Args:
        run_dir: the phase's directory.
        job: the allocation.
        slurm: returns the cluster of a plan.
        tell: called with each line for Slurm's log.
        exit_code: of the supervisor, as the shell has it.
        is_host_lost: whether Slurm has lost the batch host, and this runs on another node. Then
            there is no script whose end would be that of the job.
    """

    run_dir: RunDir
    job: JobEnvironment
    slurm: Callable[[RunPlan | None], Slurm]
    tell: Callable[[str], None]
    exit_code: int
    is_host_lost: bool = False

    def run(self) -> bool:
        """Judge the end and ask Slurm for what follows from it.

        Returns:
            Whether the run has finished: the supervisor had put its success on record.

        Raises:
            CsxError: the plan cannot be read, or Slurm refuses the requeue.
            OSError: the records cannot be read or written.
        """
        for number in (signal.SIGTERM, signal.SIGINT, signal.SIGHUP):
            # Slurm tells the processes of a requeued job to end, and this one has to go on.
            signal.signal(number, signal.SIG_IGN)
        plan = RunPlan.load(self.run_dir.plan)
        if not plan.requeues_itself or self.job.job_id is None:
            return False
        until = time.monotonic() + SLURM_WAIT
        view = await_cluster(lambda: self.slurm(plan), self.job.job_id, until=until, warn=self.tell)
        if self.is_host_lost:
            view = self._as_kept(view)
        attempt = self._attempt()
        if attempt is None:
            self.tell("csx-restart: nothing is settled: a later start of this job has begun")
            return False
        end = attempt.end()
        if end is not None and not _restarts(end):
            self._end_job(plan, view)
            return end.category == Category.COMPLETED.value
        judged = self._judge(plan, attempt, end, view)
        if judged is None:
            return False
        if end is None:
            self._record(plan, judged)
        requeue = SelfRequeue(
            plan=plan,
            run_dir=self.run_dir,
            slurm=lambda: self.slurm(plan),
            log=lambda text: self._log(runlog.MAIN, text),
        )
        requeue.carry_out(judged)
        if not judged.decision.action.restarts:
            self._end_job(plan, view)
        return False

    def _as_kept(self, view: ClusterView) -> ClusterView:
        """Return what Slurm would show if it had kept a job that it ends together with its host."""
        job = view.job
        if not job.completing or is_requeued(job, self.job.restarts):
            return view
        down = {node.name for node in view.nodes if node.down}
        nodes = tuple(name for name in self.job.held if name not in down)
        kept = replace(job, state=JobState.RUNNING, flags=frozenset(), reason="None", nodes=nodes)
        return replace(view, job=kept)

    def _end_job(self, plan: RunPlan, view: ClusterView) -> None:
        """Cancel a job that no script is left of."""
        if self.is_host_lost:
            self.slurm(plan).cancel(view.job.name)
            self._log(runlog.MAIN, "cancelled, as its batch host is lost, and the run has ended")

    def _attempt(self) -> AttemptDir | None:
        """Return the attempt of this start of the job, which may have ended before its record.

        None: Slurm has given this start up, and a later one has begun.
        """
        attempts = self.run_dir.attempts()
        newest = attempts[-1] if attempts else None
        start = None if newest is None else newest.start()
        earlier = start is not None and start.restarts != self.job.restarts
        if (start is None or earlier) and is_overtaken(attempts, self.job):
            return None
        if newest is None or earlier:
            return self.run_dir.new_attempt()
        return newest

    def _judge(
        self, plan: RunPlan, attempt: AttemptDir, end: AttemptEnd | None, view: ClusterView
    ) -> OwnJudgement | None:
        attempts = self.run_dir.attempts()
        if end is None:
            found = reached_step(plan, self.run_dir, attempts)
            end = derive_end(attempt, None, time.time(), found=found)
            end = replace(end, reason="the supervisor was killed", progress=bool(end.progress))
            if self.is_host_lost:
                end = blame_down(end, self._lost(view))
        return judge(
            plan,
            attempts,
            EndedAttempt(
                attempt=attempt,
                start=attempt.start(),
                end=end,
                exit_code=self.exit_code,
                by_itself=True,
                restarts=self.job.restarts,
                nodes=self.job.nodes,
                held=len(self.job.held),
            ),
            view,
        )

    def _lost(self, view: ClusterView) -> list[NodeState]:
        """Return the nodes of the attempt, or the batch host, that Slurm has lost."""
        mine = {*self.job.nodes, self.job.node_name} - {*view.job.nodes}
        return [node for node in view.nodes if node.name in mine]

    def _record(self, plan: RunPlan, judged: OwnJudgement) -> None:
        end = judged.amended()
        decision = format_decision(judged.decision)
        name = runlog.run_name(judged.ended.attempt.number)
        written = replace(end, expected_decision=decision)
        write_atomic(judged.ended.attempt.end_file, to_json(written))
        level = "INFO" if end.category == Category.COMPLETED.value else "ERROR"
        self._log(name, format_end(end), level=level)
        self._log(runlog.MAIN, f"decision: {decision}")
        summary.write(plan, self.run_dir, at=time.time())

    def _log(self, name: str, text: str, *, level: str = "INFO") -> None:
        self.tell(f"[{name}] {text}")
        line = runlog.line(name, text, at=time.time(), level=level)
        runlog.append(self.run_dir.log, line)


def _restarts(end: AttemptEnd) -> bool:
    """Return whether the supervisor had decided to restart, or had decided nothing."""
    final = (Action.LEAVE.value, Action.CANCEL.value)
    return not end.expected_decision.startswith(final)


def settle(settlement: Settlement) -> int:
    """Settle, and report in Slurm's log what prevents it; return the exit code of the job.

    It is that of the supervisor, but 0 where that was killed after the run had finished.
    """
    try:
        if settlement.run():
            return 0
    except (CsxError, OSError) as error:
        settlement.tell(f"csx-restart: the job is not requeued: {error}")
    return settlement.exit_code
