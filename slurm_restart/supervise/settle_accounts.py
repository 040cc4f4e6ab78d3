"""Count the attempt before, whose job Slurm has requeued by itself, before the next one begins.

Where no hook does, and the attempt's supervisor could not, as it was killed with its batch host.
"""

import time
from collections.abc import Callable
from dataclasses import replace

from slurm_restart.core.attribution import Attribution, Blame
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.decision import Decision, decide
from slurm_restart.core.job import NodeState
from slurm_restart.core.journal_events import Action
from slurm_restart.core.restart_limits import policy_for
from slurm_restart.core.situation import Progress, Situation
from slurm_restart.errors import SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.backfill import backfill_earlier, derive_end
from slurm_restart.supervise.cluster_view import ClusterView, await_cluster
from slurm_restart.supervise.expected_decision import category_of, format_decision
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.lost_nodes import blame_down
from slurm_restart.supervise.prepare_attempt import reached_step
from slurm_restart.supervise.run_over import RunOverError
from slurm_restart.supervise.run_records import history_of, of_job, site_policy
from slurm_restart.supervise.self_requeue import policy_record
from slurm_restart.supervise.untold_end import format_end
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import AttemptEnd, to_json
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir

SLURM_WAIT = 60.0
"""Seconds to wait for Slurm's answer; without one, the attempt is counted by the records alone."""


@frozen
class Accounts:
    """Settles the accounts of a run before an attempt begins.

    Args:
        plan: the phase.
        run_dir: its directory.
        job: the allocation of the attempt that is to begin.
        slurm: returns the cluster.
        log: called with the number of an attempt and a line about its end.
        warn: called with what the user should know.
    """

    plan: RunPlan
    run_dir: RunDir
    job: JobEnvironment
    slurm: Callable[[], Slurm]
    log: Callable[[int, str], None]
    warn: Callable[[str], None]

    def settle(self) -> None:
        """Put the end of the attempt before on record, if it is not yet.

        Raises:
            RunOverError: the run has ended with it.
            OSError: the records cannot be read or written.
            CheckpointError: the checkpoint that the config names is certainly broken.
        """
        attempts = self.run_dir.attempts()
        if self.job.in_place or self.job.job_id is None or not of_job(attempts, self.job.job_id):
            return
        newest, end = attempts[-1], attempts[-1].end()
        backfill_earlier(self.run_dir, before=newest.number, now=time.time())
        view = self._ask()
        if end is not None and (not end.backfilled or _restarts(end)):
            self._check_requeue_exit(end, view)
            return
        derived = self._derive(newest, attempts, view)
        decision = self._decide(newest, derived, attempts[:-1], view)
        if decision is None:
            return
        written = replace(derived, expected_decision=format_decision(decision))
        write_atomic(newest.end_file, to_json(written))
        self.log(newest.number, format_end(derived))
        self.log(newest.number, f"decision: {format_decision(decision)}")
        if not decision.action.restarts:
            raise RunOverError(category_of(derived), decision.reason)

    def _ask(self) -> ClusterView | None:
        until = time.monotonic() + SLURM_WAIT
        try:
            return await_cluster(self.slurm, self.job.job_id or 0, until=until, warn=self.warn)
        except SlurmError as error:
            self.warn(f"the nodes of the attempt before are not known: {error}")
            return None

    def _check_requeue_exit(self, end: AttemptEnd, view: ClusterView | None) -> None:
        """Refuse a start for which Slurm alone is the reason: the site's RequeueExit."""
        final = end.expected_decision.startswith((Action.LEAVE.value, Action.CANCEL.value))
        if final and view is not None and end.exit_code in view.cluster.requeue_exit:
            reason = f"Slurm requeued the job for its exit code (RequeueExit); {end.reason}"
            raise RunOverError(category_of(end), reason)

    def _derive(
        self, newest: AttemptDir, attempts: tuple[AttemptDir, ...], view: ClusterView | None
    ) -> AttemptEnd:
        found = reached_step(self.plan, self.run_dir, attempts)
        end = derive_end(newest, None, time.time(), found=found)
        start = newest.start()
        lost = [] if start is None or view is None else _down(start.nodes, view.nodes)
        return blame_down(end, lost)

    def _decide(
        self,
        newest: AttemptDir,
        end: AttemptEnd,
        before: tuple[AttemptDir, ...],
        view: ClusterView | None,
    ) -> Decision | None:
        record = self.plan.comment_record if view is None else policy_record(self.plan, view.job)
        if record is None:
            return None
        start = newest.start()
        category = category_of(end)
        return decide(
            Situation(
                attribution=Attribution(
                    category=category,
                    rule=end.rule,
                    confidence=Confidence(end.confidence),
                    blamed=tuple(
                        Blame(node=name, evidence=end.reason) for name in end.blamed_nodes
                    ),
                    requeued=True,
                ),
                progress=Progress(
                    # An attempt without start record has started no program.
                    made=False if start is None else end.progress,
                    attempt=newest.number,
                    from_step=None if start is None else start.to_exceed,
                    step=end.step,
                ),
                policy=policy_for(record, site_policy(self.plan)),
                history=history_of(self.plan, before, self.job.job_id),
                restarts=self.job.restarts,
                run_time=None if start is None else max(0, int(end.at - start.at)),
                failed=category is not Category.COMPLETED,
            )
        )


def _restarts(end: AttemptEnd) -> bool:
    """Return whether it is on record that the attempt was counted and the run goes on."""
    return end.expected_decision.startswith((Action.REQUEUE.value, Action.ADJUST.value))


def _down(names: tuple[str, ...], nodes: tuple[NodeState, ...]) -> list[NodeState]:
    return [node for node in nodes if node.name in names and node.down]
