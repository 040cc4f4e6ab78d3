"""Prepare the attempt in a thread, as the file systems that it uses may hang."""

import threading
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path

from slurm_restart.errors import StateError
from slurm_restart.safe_files import FileTooLargeError, NotRegularFileError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.attempt_fence import Fences, count_of_start, take_fence
from slurm_restart.supervise.cancelled_batch import SLURM_LOG, refuse_cancelled
from slurm_restart.supervise.choose_nodes import ChosenNodes, NodeChoice
from slurm_restart.supervise.events import AttemptPrepared, Events, PlanLoaded, PreparationFailed
from slurm_restart.supervise.excluded_nodes import leave_excluded
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.last_look import look_again
from slurm_restart.supervise.late_checkpoints import look_at_fence
from slurm_restart.supervise.node_health import due_check
from slurm_restart.supervise.prepare_attempt import prepare
from slurm_restart.supervise.remote_checkpoints import complete_records, look_before_fence
from slurm_restart.supervise.stall_monitor import StallMonitor
from slurm_restart.supervise.sweep_nodes import sweep_nodes
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir
from slurm_restart.trainer.task_directory import make_task_directory


def _load(path: Path) -> RunPlan:
    """Return the plan.

    Raises:
        OSError: the file system cannot be used, or gives no access now; a restart may help.
        StateError: there is something else than a plan.
    """
    try:
        return RunPlan.load(path)
    except StateError as error:
        cause = error.__cause__
        if isinstance(cause, OSError) and not isinstance(
            cause, NotRegularFileError | FileTooLargeError
        ):
            raise cause from None
        raise


class PreparationThread(threading.Thread):
    """Loads the plan and prepares the attempt.

    Args:
        run_dir: the phase's directory.
        job: the allocation.
        events: receives `PlanLoaded` and `AttemptPrepared`, or `PreparationFailed`.
        stalls: is told of each access to files.
        slurm: returns the cluster of a plan.
        warn: called with what the user should know before the attempt starts.
        log: called with what the health check has found.
        array_dir: the directory of the job array that this job is a task of; None: it is none.
    """

    def __init__(
        self,
        run_dir: RunDir,
        job: JobEnvironment,
        events: Events,
        *,
        stalls: StallMonitor,
        slurm: Callable[[RunPlan | None], Slurm],
        warn: Callable[[AttemptDir, str], None],
        log: Callable[[AttemptDir, str], None] = lambda _attempt, _text: None,
        array_dir: RunDir | None = None,
    ) -> None:
        super().__init__(name="preparation", daemon=True)
        self._run_dir = run_dir
        self._array_dir = array_dir
        self._job = job
        self._events = events
        self._stalls = stalls
        self._slurm = slurm
        self._warn = warn
        self._log = log
        self.attempt: AttemptDir | None = None
        """The attempt's directory once it has been created."""

    def run(self) -> None:
        """Prepare the attempt and put the result into the queue."""
        try:
            self._prepare()
        except Exception as error:  # noqa: BLE001 - else the main thread would wait until its timeout
            self._events.put(PreparationFailed(error))

    def _prepare(self) -> None:
        with self._stalls.access(str(self._run_dir.plan)):
            if self._array_dir is not None and self._job.array_task is not None:
                make_task_directory(self._array_dir, self._job.array_task)
            plan = _load(self._run_dir.plan)
        self._job = self._job.using(plan.nodes_of(len(self._job.nodes)))
        self._events.put(PlanLoaded(plan))
        with self._stalls.access(str(self._run_dir.path)):
            fences = Fences(self._run_dir)
            restarts = count_of_start(fences, self._job, partial(self._slurm, plan))
            if plan.requeues_itself:
                self._settle(plan)
        with self._stalls.access(f"{self._run_dir.path} or {SLURM_LOG}"):
            refuse_cancelled(self._run_dir, self._job, self._log_end)
        with self._stalls.access(str(self._run_dir.path)):
            self.attempt = attempt = self._run_dir.new_attempt()
            earlier = [other for other in self._run_dir.attempts() if other.number < attempt.number]
            said = look_before_fence(plan, earlier)
            fence = take_fence(fences, attempt, self._job, restarts=restarts, saved=said.saved)
            complete_records(plan, attempt, earlier, said)
        with self._stalls.access(plan.checkpoint.directory):
            at_fence = look_at_fence(plan, attempt, earlier)
        with self._stalls.access(str(self._run_dir.path)):
            # Before a checkpoint is chosen: they may be writing one.
            sweep_nodes(
                self._run_dir,
                attempt,
                self._job,
                partial(self._slurm, plan),
                partial(self._warn, attempt),
            )
            due = due_check(plan, self._run_dir, attempt, self._job)
            if plan.requeues_itself:
                leave_excluded(plan, self._run_dir, attempt, self._job, partial(self._slurm, plan))
        chosen = ChosenNodes(job=self._job)
        if due is not None:
            chosen = NodeChoice(
                due=due,
                slurm=partial(self._slurm, plan),
                log=partial(self._log, attempt),
                warn=partial(self._warn, attempt),
            ).choose(self._job)
        job = look_again(plan, chosen.job, partial(self._slurm, plan), partial(self._warn, attempt))
        remote = plan.checkpoint.is_remote
        place = "" if remote else f" or {plan.checkpoint.directory}"
        with self._stalls.access(f"{self._run_dir.path}{place}"):
            prepared = prepare(
                plan,
                self._run_dir,
                attempt,
                job,
                clock=time.time,
                fence=fence,
                at_fence=at_fence,
                unhealthy=chosen.unhealthy,
            )
        self._events.put(AttemptPrepared(prepared))

    def _settle(self, plan: RunPlan) -> None:
        """Count the attempt before, if its supervisor could not."""
        # Only runs without a hook need it: imported early, it would take memory in all others.
        from slurm_restart.supervise.settle_accounts import Accounts  # noqa: PLC0415

        Accounts(
            plan=plan,
            run_dir=self._run_dir,
            job=self._job,
            slurm=partial(self._slurm, plan),
            log=self._log_end,
            warn=lambda text: self._log(self._run_dir.attempt(0), text),
        ).settle()

    def _log_end(self, number: int, text: str) -> None:
        self._log(self._run_dir.attempt(number), text)
