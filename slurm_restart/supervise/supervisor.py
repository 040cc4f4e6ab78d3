"""The supervisor of one attempt: start the trainer, monitor it, record how it ended.

Operations that may hang (on file systems or Slurm) run in threads, so that the main thread can
always handle signals and deadlines.
"""

import errno
import os
import queue
import signal
import time
from dataclasses import replace
from pathlib import Path
from typing import Any

from slurm_restart.core.finding import Finding
from slurm_restart.logs.rule_sources import read_rule_sources
from slurm_restart.logs.rules import files_of
from slurm_restart.logs.scanner import SMALL, LogScanner, make_matcher
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise import processes
from slurm_restart.supervise.absence_warning import AbsenceWarning
from slurm_restart.supervise.attempt_result import (
    AttemptResult,
    attempt_result,
    preparation_failure,
)
from slurm_restart.supervise.checkpoint_monitor import CheckpointMonitor, CheckpointMonitorThread
from slurm_restart.supervise.comment_writer import CommentWriter
from slurm_restart.supervise.events import (
    AttemptPrepared,
    Events,
    PlanLoaded,
    PreparationFailed,
    ReaperExited,
    ReaperListener,
    SignalReceived,
    queue_signals,
)
from slurm_restart.supervise.output_tee import OutputTee, open_output_tee
from slurm_restart.supervise.person_stop import is_stopped_by_person
from slurm_restart.supervise.preparation_thread import PreparationThread
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.reaper import Reaper, TrainerCommand
from slurm_restart.supervise.recorder import Recorder
from slurm_restart.supervise.slurm_questions import (
    read_kill_wait,
    report_preemption,
    signal_steps,
)
from slurm_restart.supervise.stop_request import (
    STOP_REASONS,
    GracePeriods,
    StopRequest,
    signal_number,
)
from slurm_restart.supervise.supersede_monitor import SupersedeMonitor
from slurm_restart.supervise.supervisor_context import SupervisorContext, log_to_slurm
from slurm_restart.supervise.trainer_end import NOTHING_TO_DO, StopReason, TrainerEnd
from slurm_restart.supervise.trainer_process import TrainerExit, TrainerProcess
from slurm_restart.trainer.attempt_records import Saved
from slurm_restart.trainer.run_plan import RunPlan, StopReceiver
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.runlog import MAIN

PREPARE_TIMEOUT = 300.0
"""Seconds for the whole preparation; a file server that fails over takes minutes."""
OUTPUT_TIMEOUT = 5.0
"""Seconds to copy the rest of the output."""
FINAL_CHECK_TIMEOUT = 15.0
"""Seconds for the last check for new checkpoints."""
FINAL_UPDATE_TIMEOUT = 20.0
"""Seconds each for the final update of the Comment and of the records."""
HURRIED_TIMEOUT = 4.0
"""Seconds instead of each of the three above if Slurm is about to kill this process."""


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
        self._events: Events = queue.SimpleQueue()
        self._listener = ReaperListener(reaper.channel, self._events)
        self._recorder = Recorder(self._run_dir, log_to_slurm, time.time)
        self._comment: CommentWriter | None = None
        self._plan: RunPlan | None = None
        self._step: int | None = None
        """Step of the newest complete checkpoint."""

    def run(self) -> int:
        """Supervise the attempt and return the exit code of the job."""
        queue_signals(STOP_REASONS, self._events)
        self._listener.start()
        self._recorder.start()
        preparation = PreparationThread(
            self._run_dir, self._context.job, self._events, self._array_dir
        )
        preparation.start()
        # Done while the preparation waits for file systems and child processes.
        rules = read_rule_sources(files_of((self._array_dir or self._run_dir).rules))
        for problem in rules.problems:
            self._recorder.log(MAIN, f"rule left out: {problem}", level="WARNING")
        scanner = LogScanner(make_matcher(rules.rules, SMALL))
        ready = self._await_preparation()
        if isinstance(ready, PreparedAttempt):
            result = self._attempt(ready, scanner)
        else:
            failure = self._stop_reason(ready) if isinstance(ready, StopReason) else ready
            result = preparation_failure(failure, preparation.attempt, now=time.time())
        self._record(result, hurried=result.stop is StopReason.TERMINATED)
        self._reaper.close()
        # Kill checks and commands that hang; the reaper ends by itself.
        processes.signal_descendants(os.getpid(), signal.SIGKILL, excluded_group=self._reaper.pid)
        return result.exit_code

    # --- before the trainer ----------------------------------------------------------------------

    def _await_preparation(self) -> PreparedAttempt | Exception | StopReason:
        deadline = time.monotonic() + PREPARE_TIMEOUT
        while True:
            try:
                event = self._events.get(timeout=max(0.0, deadline - time.monotonic()))
            except queue.Empty:
                reason = f"no answer within {PREPARE_TIMEOUT:g} s"
                return OSError(errno.ETIMEDOUT, reason, str(self._run_dir.path))
            match event:
                case AttemptPrepared(prepared):
                    return prepared
                case PreparationFailed(error):
                    return error
                case ReaperExited():
                    return RuntimeError("the reaper process was killed")
                case PlanLoaded(plan):
                    self._plan = plan
                    self._start_comment()
                case SignalReceived(number) if stop := STOP_REASONS[number]:
                    return stop

    def _start_comment(self) -> None:
        """Start the comment writer; an unmanaged job has no comment record."""
        plan, job_id = self._plan, self._context.job.job_id
        if job_id is None or (plan is not None and plan.comment_record is None):
            return
        self._comment = CommentWriter(
            self._context.slurm(plan),
            job_id,
            fallback=plan.comment_record if plan else None,
            warn=log_to_slurm,
        )
        self._comment.start()

    # --- the trainer -----------------------------------------------------------------------------

    def _attempt(self, prepared: PreparedAttempt, scanner: LogScanner) -> AttemptResult:
        plan, start = self._plan, prepared.start
        assert plan is not None  # noqa: S101 - PlanLoaded precedes AttemptPrepared
        self._step = start.from_step if start.checkpoint is not None else None
        self._update_comment(
            attempt=start.attempt,
            restarts=start.restarts,
            from_step=start.from_step,
            step=self._step,
        )
        self._recorder.record_start(plan, prepared)
        if prepared.command is None:
            return attempt_result(plan, prepared, NOTHING_TO_DO, step=self._step, now=time.time())
        output = open_output_tee(
            self._reaper.output, prepared.attempt.output, scanner, log_to_slurm
        )
        trainer_end = self._run_trainer(plan, prepared, prepared.command, output)
        return attempt_result(
            plan,
            prepared,
            trainer_end,
            step=self._step,
            now=time.time(),
            job_ids=output.job_ids,
        )

    def _run_trainer(
        self, plan: RunPlan, prepared: PreparedAttempt, command: TrainerCommand, output: OutputTee
    ) -> TrainerEnd:
        checkpoints = self._checkpoint_monitor(plan, prepared)
        supersede_monitor = SupersedeMonitor(prepared.attempt, self._events)
        for thread in (output, checkpoints, supersede_monitor):
            thread.start()
        before_stop: list[tuple[tuple[Finding, ...], float]] = []

        def note_stop(stop: StopReason) -> None:
            before_stop.append((output.findings(), time.monotonic() - output.last_output_at))
            if stop is StopReason.TIME_LIMIT and job_id is not None:
                report_preemption(self._slurm, job_id, self._events)

        grace, job_id = GracePeriods(signal_lead=plan.signal_lead), self._context.job.job_id
        if job_id is not None:
            read_kill_wait(self._slurm, grace)
        trainer = TrainerProcess(
            self._reaper, self._events, grace, self._stop_request(plan), note_stop
        )
        trainer_exit = trainer.run(command)
        supersede_monitor.stop()
        if trainer_exit.stop is not None:
            trainer_exit = replace(trainer_exit, stop=self._stop_reason(trainer_exit.stop))
        hurried = trainer_exit.stop is StopReason.TERMINATED
        output.join(HURRIED_TIMEOUT if hurried else OUTPUT_TIMEOUT)
        if not checkpoints.finish(HURRIED_TIMEOUT if hurried else FINAL_CHECK_TIMEOUT):
            log_to_slurm(
                "the checkpoint directory does not answer: the newest step may not be known"
            )
        # What the trainer prints after it was asked to end is no evidence of a cause.
        findings, quiet_time = before_stop[0] if before_stop else (output.findings(), 0.0)
        return self._trainer_end(trainer_exit, prepared, findings, quiet_time)

    def _stop_request(self, plan: RunPlan) -> StopRequest:
        job_id, receiver = self._context.job.job_id, plan.stop_receiver
        if job_id is None and receiver is StopReceiver.STEPS:
            receiver = StopReceiver.GROUP  # there are no steps
        return StopRequest(
            number=signal_number(plan),
            receiver=receiver,
            signal_steps=lambda: signal_steps(
                self._slurm, job_id or 0, plan.stop_signal, log_to_slurm
            ),
        )

    def _slurm(self) -> Slurm:
        return self._context.slurm(self._plan)

    def _stop_reason(self, stop: StopReason) -> StopReason:
        """Return CANCELLED in place of TERMINATED if a person ended the batch script alone."""
        job_id = self._context.job.job_id
        if stop is StopReason.TERMINATED and job_id is not None:
            slurm = self._context.slurm(self._plan)
            if is_stopped_by_person(slurm, job_id, self._listener.reaper_signalled):
                return StopReason.CANCELLED
        return stop

    def _checkpoint_monitor(
        self, plan: RunPlan, prepared: PreparedAttempt
    ) -> CheckpointMonitorThread:
        def report(saved: Saved) -> None:
            if plan.mode.is_evaluation:
                return  # an evaluation writes none; another run did
            self._step = max(saved.step, self._step or 0)
            self._recorder.record_checkpoint(prepared.attempt, saved)
            self._update_comment(step=self._step)

        monitor = CheckpointMonitor(plan.checkpoint, prepared.present)
        absence = AbsenceWarning(
            plan.checkpoint, lambda text: self._recorder.record_warning(prepared.attempt, text)
        )
        if plan.mode.is_evaluation:
            absence.stop()  # it writes none
        return CheckpointMonitorThread(monitor, report, log_to_slurm, absence)

    def _trainer_end(
        self,
        trainer_exit: TrainerExit,
        prepared: PreparedAttempt,
        findings: tuple[Finding, ...],
        quiet_time: float,
    ) -> TrainerEnd:
        last = prepared.start.last_step
        return TrainerEnd(
            exit_code=trainer_exit.exit_code,
            signal=trainer_exit.signal,
            stop=trainer_exit.stop,
            findings=findings,
            quiet_time=quiet_time,
            nodes=self._context.job.nodes,
            # If a validation follows the last step, only the trainer knows how far it got.
            last_step_reached=last is not None
            and (self._step or 0) >= last
            and not (self._plan is not None and self._plan.validates_at_end),
        )

    # --- after the trainer -----------------------------------------------------------------------

    def _record(self, result: AttemptResult, *, hurried: bool) -> None:
        timeout = HURRIED_TIMEOUT if hurried else FINAL_UPDATE_TIMEOUT
        self._recorder.record_end(self._plan, result)
        if result.stop is StopReason.SUPERSEDED:
            # The other attempt writes the Comment now.
            self._comment = None
        elif self._comment is None and self._plan is None:
            # The plan could not be read, but the Comment still holds the record at submission.
            self._start_comment()
        durable = result.is_final and not hurried
        if self._comment is not None and not self._comment.finish(
            timeout, durable=durable, **result.self_report
        ):
            log_to_slurm("the end could not be written to the job's Comment")
        if not self._recorder.finish(timeout):
            log_to_slurm(
                f"{self._run_dir.path}: does not answer: the end may not be on record there"
            )

    def _update_comment(self, **values: Any) -> None:
        if self._comment is not None:
            self._comment.update(**values)
