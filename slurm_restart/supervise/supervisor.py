"""The supervisor of one attempt: start the trainer, monitor it, record how it ended.

Operations that may hang (on file systems or Slurm) run in threads, so that the main thread can
always handle signals and deadlines.
"""

import errno
import os
import queue
import signal
import threading
import time
from collections.abc import Iterator
from contextlib import nullcontext, suppress
from dataclasses import replace
from pathlib import Path
from typing import Any, cast

from slurm_restart.core.finding import Finding
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.logs.scanner import LogScanner
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
    Event,
    Events,
    PlanLoaded,
    PreparationFailed,
    ReaperExited,
    ReaperListener,
    RulesRead,
    SignalReceived,
    queue_signals,
)
from slurm_restart.supervise.output_steps import OutputSteps
from slurm_restart.supervise.output_tee import OutputTee, open_output_tee
from slurm_restart.supervise.periodic_thread import PeriodicThread
from slurm_restart.supervise.person_stop import is_stopped_by_person
from slurm_restart.supervise.preparation_thread import PreparationThread
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.progress_monitor import ProgressMonitorThread, make_gauge
from slurm_restart.supervise.reaper import Reaper, TrainerCommand
from slurm_restart.supervise.recorder import Recorder
from slurm_restart.supervise.retention import Retention
from slurm_restart.supervise.rules_thread import RulesThread
from slurm_restart.supervise.slurm_log import SlurmLog
from slurm_restart.supervise.slurm_questions import (
    read_kill_wait,
    report_preemption,
    signal_steps,
)
from slurm_restart.supervise.stall_monitor import StallMonitor
from slurm_restart.supervise.stop_request import (
    STOP_REASONS,
    GracePeriods,
    StopRequest,
    signal_number,
)
from slurm_restart.supervise.supersede_monitor import SupersedeMonitor
from slurm_restart.supervise.supervisor_context import LazySlurm, SupervisorContext
from slurm_restart.supervise.trainer_end import NOTHING_TO_DO, StopReason, TrainerEnd
from slurm_restart.supervise.trainer_process import TrainerExit, TrainerProcess
from slurm_restart.trainer.attempt_records import AttemptStart, Measured, Saved
from slurm_restart.trainer.run_plan import RunPlan, StopReceiver
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.runlog import MAIN, run_name

PREPARE_TIMEOUT = 300.0
"""Seconds for the whole preparation; a file server that fails over takes minutes."""
OUTPUT_TIMEOUT = 5.0
"""Seconds to copy the rest of the output."""
FINAL_CHECK_TIMEOUT = 15.0
"""Seconds for the last check for new checkpoints."""
FINAL_UPDATE_TIMEOUT = 20.0
"""Seconds each for the final update of the Comment and of the records."""
HURRIED_TIMEOUT = 8.0
"""Seconds for all of that together once Slurm is about to kill this process."""
RULES_TIMEOUT = 10.0
"""Seconds that a prepared attempt waits for the rules over log lines."""
LOG_TIMEOUT = 3.0
"""Seconds to write the last lines of Slurm's log."""
_POLL = 0.1
"""Seconds between two looks for a signal while the end is recorded."""


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
        self._log = SlurmLog()
        self._stalls = StallMonitor(self._log.write)
        self._recorder = Recorder(self._run_dir, self._log.write, time.time, self._stalls.access)
        self._comment: CommentWriter | None = None
        self._plan: RunPlan | None = None
        self._step: int | None = None
        """Step of the newest complete checkpoint."""
        self._hurried_at: float | None = None
        """Since when Slurm is about to kill this process."""
        self._start_by = 0.0
        """The time of the monotonic clock at which the trainer has to be started."""

    def run(self) -> int:
        """Supervise the attempt and return the exit code of the job."""
        queue_signals(STOP_REASONS, self._events)
        for thread in (self._log, self._stalls, self._listener, self._recorder):
            thread.start()
        preparation = PreparationThread(
            self._run_dir,
            self._context.job,
            self._events,
            stalls=self._stalls,
            slurm=self._context.slurm,
            warn=self._recorder.record_warning,
            array_dir=self._array_dir,
        )
        preparation.start()
        RulesThread((self._array_dir or self._run_dir).rules, self._events, self._stalls).start()
        ready = self._await_preparation()
        if isinstance(ready, tuple):
            result = self._attempt(*ready)
        else:
            failure = self._stop_reason(ready) if isinstance(ready, StopReason) else ready
            result = preparation_failure(failure, preparation.attempt, now=time.time())
        self._record(result)
        self._reaper.close()
        # Kill checks and commands that hang; the reaper ends by itself.
        processes.signal_descendants(os.getpid(), signal.SIGKILL, excluded_group=self._reaper.pid)
        self._log.finish()
        self._await_end(self._log, LOG_TIMEOUT)
        return result.exit_code

    # --- before the trainer ----------------------------------------------------------------------

    def _await_preparation(
        self,
    ) -> tuple[PreparedAttempt, LogScanner] | Exception | StopReason:
        """Return the prepared attempt and the scanner of its output, or why there is none."""
        began = time.monotonic()
        prepared: PreparedAttempt | None = None
        scanner: LogScanner | None = None
        for event in self._events_before_start():
            match event:
                case AttemptPrepared(prepared):
                    self._start_by = time.monotonic() + RULES_TIMEOUT
                case RulesRead(scanner, problems):
                    for problem in problems:
                        self._recorder.log(MAIN, f"rule left out: {problem}", level="WARNING")
                case PreparationFailed(error):
                    return error
                case ReaperExited():
                    return RuntimeError("the reaper process was killed")
                case PlanLoaded(plan):
                    self._plan = plan
                    self._start_comment()
                case SignalReceived(number) if stop := STOP_REASONS[number]:
                    self._hurry(stop)
                    return stop
            if prepared is not None and scanner is not None:
                return prepared, scanner
        reason = f"no answer within {time.monotonic() - began:.0f} s"
        return OSError(errno.ETIMEDOUT, reason, str(self._run_dir.path))

    def _events_before_start(self) -> Iterator[Event]:
        """Yield the events up to the time at which the attempt has to be prepared.

        If the rules of the run, the user or the site are late, the package's own are read.
        """
        self._start_by = time.monotonic() + PREPARE_TIMEOUT
        prepared = package_rules = False
        while True:
            try:
                event = self._events.get(timeout=max(0.0, self._start_by - time.monotonic()))
            except queue.Empty:
                if package_rules or not prepared:
                    return
                package_rules = True
                self._start_by = time.monotonic() + RULES_TIMEOUT
                self._recorder.log(MAIN, "only the package's own rules are used", level="WARNING")
                RulesThread(None, self._events, self._stalls).start()
                continue
            prepared = prepared or isinstance(event, AttemptPrepared)
            yield event

    def _start_comment(self) -> None:
        """Start the comment writer; an unmanaged job has no comment record."""
        plan, job_id = self._plan, self._context.job.job_id
        if job_id is None or (plan is not None and plan.comment_record is None):
            return
        self._comment = CommentWriter(
            cast("Slurm", LazySlurm(self._slurm)),
            job_id,
            fallback=plan.comment_record if plan else None,
            warn=self._log.write,
        )
        self._comment.start()

    # --- the trainer -----------------------------------------------------------------------------

    def _attempt(self, prepared: PreparedAttempt, scanner: LogScanner) -> AttemptResult:
        plan, start = self._plan, prepared.start
        assert plan is not None  # noqa: S101 - PlanLoaded precedes AttemptPrepared
        known = start.checkpoint is not None or start.measured
        self._step = start.from_step if known else None
        self._update_comment(
            attempt=start.attempt,
            restarts=start.restarts,
            earlier=start.earlier,
            from_step=start.to_exceed,
            step=self._reached(start),
        )
        self._recorder.record_start(plan, prepared)
        if prepared.command is None:
            return attempt_result(plan, prepared, NOTHING_TO_DO, step=self._step, now=time.time())
        pattern = plan.progress.pattern if start.measured else None
        steps = None if pattern is None else OutputSteps(pattern)
        output = open_output_tee(
            self._reaper.output,
            prepared.attempt.output,
            scanner,
            self._log.write,
            self._stalls.access,
            steps=steps,
            errors=self._reaper.errors if prepared.command.own_errors else None,
        )
        monitor = (
            self._progress_monitor(plan, prepared, steps)
            if start.measured
            else self._checkpoint_monitor(plan, prepared)
        )
        trainer_end = self._run_trainer(plan, prepared, prepared.command, output, monitor)
        return attempt_result(
            plan,
            prepared,
            trainer_end,
            step=self._step,
            now=time.time(),
            job_ids=output.job_ids,
        )

    def _run_trainer(
        self,
        plan: RunPlan,
        prepared: PreparedAttempt,
        command: TrainerCommand,
        output: OutputTee,
        progress: PeriodicThread,
    ) -> TrainerEnd:
        supersede_monitor = SupersedeMonitor(prepared.attempt, self._events, self._stalls)
        for thread in (output, progress, supersede_monitor):
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
            self._hurry(trainer_exit.stop)
            trainer_exit = replace(trainer_exit, stop=self._stop_reason(trainer_exit.stop))
        if not prepared.start.measured:
            progress.finish(0)
        self._await_end(output, OUTPUT_TIMEOUT, hurried=HURRIED_TIMEOUT / 2)
        progress.finish(0)
        if not self._await_end(progress, FINAL_CHECK_TIMEOUT, hurried=HURRIED_TIMEOUT / 2):
            self._log.write(
                "the checkpoint directory does not answer: the newest step may not be known"
                if not prepared.start.measured
                else "the progress cannot be measured: the newest step may not be known"
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
                self._slurm, job_id or 0, plan.stop_signal, self._log.write
            ),
        )

    def _slurm(self) -> Slurm:
        return self._context.slurm(self._plan)

    def _stop_reason(self, stop: StopReason) -> StopReason:
        """Return CANCELLED in place of TERMINATED if a person ended the batch script alone."""
        job_id = self._context.job.job_id
        if stop is StopReason.TERMINATED and job_id is not None:
            slurm = cast("Slurm", LazySlurm(self._slurm))
            if is_stopped_by_person(slurm, job_id, self._listener.reaper_signalled):
                self._hurried_at = None  # no KILL follows
                return StopReason.CANCELLED
        return stop

    def _checkpoint_monitor(
        self, plan: RunPlan, prepared: PreparedAttempt
    ) -> CheckpointMonitorThread:
        retention = Retention(
            plan,
            self._run_dir,
            prepared.attempt,
            before=prepared.before,
            report=lambda text: self._recorder.log(MAIN, text),
        )

        def report(saved: Saved) -> None:
            if plan.mode.is_evaluation:
                return  # an evaluation writes none; another run did
            self._step = max(saved.step, self._step or 0)
            self._recorder.record_checkpoint(prepared.attempt, saved)
            self._update_comment(step=self._reached(prepared.start))
            retention.saved(saved)

        monitor = CheckpointMonitor(plan.checkpoint, prepared.present)
        absence = AbsenceWarning(
            plan.checkpoint, lambda text: self._recorder.record_warning(prepared.attempt, text)
        )
        if plan.mode.is_evaluation:
            absence.stop()  # it writes none
        return CheckpointMonitorThread(
            monitor,
            report,
            self._log.write,
            absence,
            lambda: self._stalls.access(plan.checkpoint.directory),
        )

    def _progress_monitor(
        self, plan: RunPlan, prepared: PreparedAttempt, steps: OutputSteps | None
    ) -> ProgressMonitorThread:
        start, attempt = prepared.start, prepared.attempt
        name, from_step = run_name(start.attempt), start.from_step or 0

        def report(step: int) -> None:
            self._step = step
            self._recorder.log(name, f"progress: {start.unit.format(step)}")
            self._update_comment(step=step)

        def save(step: int) -> None:
            self._recorder.record_measured(attempt, Measured(at=time.time(), step=step))

        gauge = make_gauge(plan, from_step, steps)
        watched = plan.progress.file if plan.progress_unit is ProgressUnit.BYTE else None
        return ProgressMonitorThread(
            gauge,
            from_step,
            report,
            save,
            self._log.write,
            watch=nullcontext if watched is None else lambda: self._stalls.access(watched),
        )

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
            checkpoint=prepared.start.checkpoint if prepared.start.resumed else None,
        )

    # --- after the trainer -----------------------------------------------------------------------

    def _record(self, result: AttemptResult) -> None:
        self._recorder.record_end(self._plan, result)
        self._recorder.finish(0)
        if result.stop is StopReason.SUPERSEDED:
            # The other attempt writes the Comment now.
            self._comment = None
        elif self._comment is None and self._plan is None:
            # The plan could not be read, but the Comment still holds the record at submission.
            self._start_comment()
        if self._comment is not None:
            durable = result.is_final and self._hurried_at is None
            self._comment.finish(0, durable=durable, **result.self_report)
            self._await_end(self._comment, FINAL_UPDATE_TIMEOUT)
            if not self._comment.is_written:
                self._log.write("the end could not be written to the job's Comment")
        if not self._await_end(self._recorder, FINAL_UPDATE_TIMEOUT):
            self._log.write(
                f"{self._run_dir.path}: does not answer: the end may not be on record there"
            )

    def _hurry(self, stop: StopReason) -> None:
        """Shorten all waits from now on if Slurm kills this process soon."""
        if stop is StopReason.TERMINATED and self._hurried_at is None:
            self._hurried_at = time.monotonic()

    def _await_end(
        self, thread: threading.Thread, timeout: float, *, hurried: float | None = None
    ) -> bool:
        """Wait for the end of a thread; a signal that ends the job shortens the wait.

        Args:
            thread: the thread.
            timeout: in seconds.
            hurried: seconds after that signal at which the wait ends; None: HURRIED_TIMEOUT.

        Returns:
            Whether it has ended.
        """
        deadline = time.monotonic() + timeout
        while thread.is_alive():
            self._note_signals()
            if self._hurried_at is not None:
                within = HURRIED_TIMEOUT if hurried is None else hurried
                deadline = min(deadline, self._hurried_at + within)
                if self._stalls.is_stalled(thread):
                    return False
            left = deadline - time.monotonic()
            if left <= 0:
                return False
            thread.join(min(left, _POLL))
        return True

    def _note_signals(self) -> None:
        """Handle the events of a trainer that has ended: only a signal still matters."""
        with suppress(queue.Empty):
            while True:
                event = self._events.get_nowait()
                if isinstance(event, SignalReceived) and (stop := STOP_REASONS[event.number]):
                    self._hurry(stop)

    def _reached(self, start: AttemptStart) -> int | None:
        """Return the highest step of the run; the attempt may have started before it."""
        return max((step for step in (self._step, start.beyond) if step is not None), default=None)

    def _update_comment(self, **values: Any) -> None:
        if self._comment is not None:
            self._comment.update(**values)
