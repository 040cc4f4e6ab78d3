"""The supervisor of one attempt: start the trainer, monitor it, record how it ended.

Operations that may hang (on file systems or Slurm) run in threads, so that the main thread can
always handle signals and deadlines.
"""

import os
import queue
import signal
import time
from contextlib import suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, cast

from slurm_restart.core.category import Category
from slurm_restart.core.count_in_place import count_in_place
from slurm_restart.core.decision import Decision
from slurm_restart.core.job_comment import in_place_fields
from slurm_restart.core.node_answers import CheckTime
from slurm_restart.errors import SlurmError
from slurm_restart.logs.scanner import LogScanner
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise import processes
from slurm_restart.supervise.attempt_progress import AttemptProgress
from slurm_restart.supervise.attempt_result import AttemptResult, preparation_failure, said_of
from slurm_restart.supervise.attempt_run import AttemptRun
from slurm_restart.supervise.await_preparation import PreparationWait
from slurm_restart.supervise.checkpoint_watch import CheckpointWatch
from slurm_restart.supervise.drained_nodes import DrainWatch
from slurm_restart.supervise.ending import Ending
from slurm_restart.supervise.events import Events, ReaperListener, queue_signals
from slurm_restart.supervise.job_environment import format_left_out
from slurm_restart.supervise.own_comment import OwnComment
from slurm_restart.supervise.person_stop import is_stopped_by_person
from slurm_restart.supervise.preparation_thread import PreparationThread
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.reaper import Reaper
from slurm_restart.supervise.recorder import Recorder
from slurm_restart.supervise.restart_in_place import RestartInPlace
from slurm_restart.supervise.rules_thread import RulesThread
from slurm_restart.supervise.slurm_log import SlurmLog
from slurm_restart.supervise.stall_monitor import StallMonitor
from slurm_restart.supervise.stop_request import STOP_REASONS
from slurm_restart.supervise.stop_watch import StopWatch
from slurm_restart.supervise.supervisor_context import LazySlurm, SupervisorContext
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.runlog import MAIN, run_name

if TYPE_CHECKING:
    from slurm_restart.supervise.batch_host_watch import BatchHostWatch
    from slurm_restart.supervise.compile_prefetch import CompilePrefetch
    from slurm_restart.supervise.outage_check import OutageCheck
    from slurm_restart.supervise.self_requeueing import SelfRequeueing

LOG_TIMEOUT = 3.0
"""Seconds to write the last lines of Slurm's log."""


class Supervisor:
    """Supervises one attempt.

    Args:
        run_dir: absolute path of the run directory.
        reaper: the process that will start the trainer.
        context: the job and the cluster.
        array_dir: absolute path of the run directory of the job array that this job is a task of,
            in which that of the task is made; None: it is none.
    """

    def __init__(
        self,
        run_dir: Path,
        reaper: Reaper,
        context: SupervisorContext,
        array_dir: Path | None = None,
    ) -> None:
        self._run_dir = RunDir(run_dir)
        self._array_dir = None if array_dir is None else RunDir(array_dir)
        self._reaper = reaper
        self._context = context
        self._job = context.job
        self._events: Events = queue.SimpleQueue()
        self._listener = ReaperListener(reaper.channel, self._events)
        self._log = SlurmLog()
        self._stalls = StallMonitor(self._log.write)
        self._ending = Ending(self._events, self._stalls)
        self._recorder = Recorder(self._run_dir, self._log.write, time.time, self._stalls.access)
        self._comment = OwnComment(self._slurm, context.job.job_id, self._log.write)
        self._plan: RunPlan | None = None
        self._run: AttemptRun | None = None
        self._host_watch: BatchHostWatch | None = None

    def run(self) -> int:
        """Supervise the attempt and return the exit code of the job."""
        queue_signals(STOP_REASONS, self._events)
        for thread in (self._log, self._stalls, self._listener, self._recorder):
            thread.start()
        result = self._attempt()
        self._record(result)
        self._end_host_watch()
        self._reaper.close()
        # Kill checks and commands that hang; the reaper ends by itself.
        processes.signal_descendants(os.getpid(), signal.SIGKILL, excluded_group=self._reaper.pid)
        self._log.finish()
        self._ending.await_end(self._log, LOG_TIMEOUT)
        return result.exit_code

    def _attempt(self) -> AttemptResult:
        """Prepare the attempt and run its trainer."""
        preparation = PreparationThread(
            self._run_dir,
            self._context.job,
            self._events,
            stalls=self._stalls,
            slurm=self._context.slurm,
            warn=self._recorder.record_warning,
            log=lambda attempt, text: self._recorder.log(run_name(attempt.number), text),
            array_dir=self._array_dir,
        )
        preparation.start()
        RulesThread((self._array_dir or self._run_dir).rules, self._events, self._stalls).start()
        wait = PreparationWait(
            self._run_dir.path, self._events, self._stalls, self._recorder, self._set_plan
        )
        ready = wait.result()
        if isinstance(ready, tuple):
            return self._run_trainer(*ready)
        if isinstance(ready, StopReason):
            self._ending.hurry(ready)
            ready = self._stop_reason(ready)
        return preparation_failure(ready, preparation.attempt, now=time.time())

    def _set_plan(self, plan: RunPlan) -> None:
        self._plan = plan
        self._job = self._job.using(plan.nodes_of(len(self._job.nodes)))
        self._comment.start(plan)
        if plan.needs_host_watch:
            # Imported early, it would take memory in all other runs.
            from slurm_restart.supervise.batch_host_watch import start_watch  # noqa: PLC0415

            self._host_watch = start_watch(
                plan,
                self._run_dir,
                self._job,
                slurm=self._slurm,
                warn=partial(self._recorder.log, MAIN),
                access=self._stalls.access,
            )

    def _end_host_watch(self) -> None:
        watch, self._host_watch = self._host_watch, None
        if watch is not None:
            watch.stop()

    def _run_trainer(self, prepared: PreparedAttempt, scanner: LogScanner) -> AttemptResult:
        plan, start = self._plan, prepared.start
        assert plan is not None  # noqa: S101 - PlanLoaded precedes AttemptPrepared
        self._job = prepared.job
        progress = AttemptProgress(
            self._run_dir,
            plan,
            prepared,
            recorder=self._recorder,
            comment=self._comment,
            log=self._log,
            stalls=self._stalls,
            watches=self._watches(plan, start.attempt),
        )
        left_out = format_left_out(self._job.held, self._job.nodes, self._job.spares)
        self._comment.update(
            attempt=start.attempt,
            restarts=start.restarts,
            earlier=start.earlier,
            from_step=start.to_exceed,
            step=progress.reached,
            left_out=left_out,
            said=said_of(left_out, prepared.unhealthy),
            **in_place_fields(count_in_place(prepared.in_place)),
        )
        self._recorder.record_start(plan, prepared)
        self._run = AttemptRun(
            plan,
            job=self._job,
            slurm=self._slurm,
            reaper=self._reaper,
            events=self._events,
            log=self._log,
            stalls=self._stalls,
            ending=self._ending,
            stop_reason=self._stop_reason,
            prefetch=self._compile_prefetch(plan),
        )
        return self._run.result(prepared, scanner, progress)

    def _compile_prefetch(self, plan: RunPlan) -> "CompilePrefetch | None":
        if not plan.compile_prefetch:
            return None
        # Imported early, it would take memory in all runs that compile nothing.
        from slurm_restart.supervise.compile_prefetch import CompilePrefetch  # noqa: PLC0415

        return CompilePrefetch(plan, self._run_dir, self._recorder, self._comment)

    def _watches(self, plan: RunPlan, attempt: int) -> list[CheckpointWatch]:
        job, report = self._job, partial(self._recorder.log, run_name(attempt))
        found: list[CheckpointWatch] = []
        if plan.policy is not None:
            found.append(StopWatch(self._slurm, job, plan.run, self._events, report))
        if plan.leave_drained and job.nodes:
            found.append(DrainWatch(self._slurm, job.nodes, self._events, report))
        return found

    def _slurm(self) -> Slurm:
        return self._context.slurm(self._plan)

    def _stop_reason(self, stop: StopReason) -> StopReason:
        """Return CANCELLED in place of TERMINATED if a person ended the batch script alone."""
        job_id = self._context.job.job_id
        if stop is StopReason.TERMINATED and job_id is not None:
            slurm = cast("Slurm", LazySlurm(self._slurm))
            if is_stopped_by_person(slurm, job_id, self._listener.reaper_signalled):
                self._ending.take_time()
                return StopReason.CANCELLED
        return stop

    def _restart_in_place(self, result: AttemptResult) -> RestartInPlace | None:
        """Return the restart in place that may be right; None: none is wanted or possible."""
        plan, run = self._plan, self._run
        if plan is None or run is None or run.question is None:
            return None
        return RestartInPlace(
            plan=plan,
            result=result,
            question=run.question,
            recorder=self._recorder,
            comment=self._comment,
            reaper=self._reaper.pid,
            ending=self._ending,
            doubt=run.doubt,
            release=self._end_host_watch,
            outage=self._outage_check(plan, result.attribution.category),
        )

    def _outage_check(self, plan: RunPlan, category: Category) -> "OutageCheck | None":
        check = plan.health_check
        if not (category.is_outside and check.is_given) or check.when is CheckTime.NEVER:
            return None
        # Imported early, it would take memory in all other runs.
        from slurm_restart.supervise.node_health import DueCheck  # noqa: PLC0415
        from slurm_restart.supervise.outage_check import OutageCheck  # noqa: PLC0415

        due = DueCheck(plan=plan, run_dir=self._run_dir, left_before=False)
        return OutageCheck(due, self._job, self._slurm)

    def _end_unreported(self, restart: RestartInPlace, decision: Decision | None) -> None:
        """Cancel the job if the run is to end and the hook cannot know it: it would restart it."""
        job_id = self._job.job_id
        is_final = decision is not None and not decision.action.restarts
        if job_id is None or not is_final or not restart.question.has_lost_nodes:
            return
        if restart.result.attribution.category is Category.COMPLETED:
            return
        self._log.write(
            f"the run ends: its job is cancelled, as its Comment cannot say so: {job_id}"
        )
        with suppress(SlurmError):
            self._slurm().cancel(job_id)

    def _record(self, result: AttemptResult) -> None:
        """Write the end into the records and into the job's Comment."""
        restart = self._restart_in_place(result)
        if restart is not None:
            restart = restart.find_lost_nodes()
            result = restart.result
        decision = None if restart is None else restart.decide()
        relaunches = decision is not None and decision.action.in_place
        requeueing = self._self_requeueing()
        judged = None if requeueing is None or relaunches else requeueing.judge(result)
        if judged is not None:
            decision, result = judged.decision.explained_by(decision), judged.amend(result)
        if result.stop is StopReason.SUPERSEDED and self._plan and result.attempt and result.start:
            self._recorder.record_superseded(self._plan, result.attempt)
        self._recorder.record_end(self._plan, result, decision)
        self._recorder.finish(0)
        if restart is not None and decision is not None and relaunches:
            self._log.flush(LOG_TIMEOUT)
            why = restart.carry_out(decision)  # it returns only if that is not possible
            self._log.write(f"no restart in place: {why}")
            judged = None if requeueing is None else requeueing.judge(result)
        if result.stop is StopReason.SUPERSEDED:
            self._comment.abandon()
        else:
            if self._plan is None:
                # It could not be read, but the Comment still holds the record at submission.
                self._comment.start(None)
            durable = result.is_final and not self._ending.is_hurried
            reported = self._comment.finish(self._ending, durable=durable, **result.self_report)
            if restart is not None and not reported and requeueing is None:
                self._end_unreported(restart, decision)
        if not self._ending.await_final_update(self._recorder):
            self._log.write(
                f"{self._run_dir.path}: does not answer: the end may not be on record there"
            )
        if requeueing is not None and judged is not None:
            self._log.flush(LOG_TIMEOUT)
            self._end_host_watch()
            requeueing.carry_out(judged)

    def _self_requeueing(self) -> "SelfRequeueing | None":
        """Return what requeues the job where no hook does; None: the hook does."""
        plan = self._plan
        if plan is None or not plan.requeues_itself:
            return None
        # Imported early, it would take memory in all runs that the hook requeues.
        from slurm_restart.supervise.self_requeueing import SelfRequeueing  # noqa: PLC0415

        return SelfRequeueing(
            plan,
            self._run_dir,
            self._context.job,
            slurm=self._slurm,
            warn=self._log.write,
            ending=self._ending,
        )
