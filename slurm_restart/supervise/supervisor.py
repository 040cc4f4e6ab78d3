"""The supervisor of one attempt: start the trainer, watch it, say what happened.

Everything that may hang or fail (file systems, Slurm) is done in threads, so that the main thread
is always free for signals and deadlines.
"""

import errno
import os
import queue
import signal
import sys
import time
from collections.abc import Callable
from contextlib import suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_restart.core.finding import Finding
from slurm_restart.logs.rule_sources import read_rule_sources
from slurm_restart.logs.rules import files_of
from slurm_restart.logs.scanner import SMALL, LogScanner, make_matcher
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise import processes
from slurm_restart.supervise.attempt_result import AttemptResult, attempt_result, failed_to_prepare
from slurm_restart.supervise.checkpoint_monitor import CheckpointMonitor, CheckpointMonitorThread
from slurm_restart.supervise.comment_writer import CommentWriter
from slurm_restart.supervise.events import (
    AttemptPrepared,
    Events,
    Listener,
    PlanLoaded,
    PreparationFailed,
    ReaperExited,
    SignalReceived,
)
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.output_tee import OutputTee, Sink
from slurm_restart.supervise.preparation_thread import Preparation
from slurm_restart.supervise.prepare_attempt import Prepared
from slurm_restart.supervise.reaper import Reaper
from slurm_restart.supervise.recorder import Recorder
from slurm_restart.supervise.supersede_monitor import SupersedeMonitor
from slurm_restart.supervise.trainer_end import StopReason, TrainerEnd
from slurm_restart.supervise.trainer_process import (
    SIGNAL_RESPONSES,
    TrainerExit,
    TrainerProcess,
    grace_periods,
)
from slurm_restart.trainer.attempt_records import Saved
from slurm_restart.trainer.plan import RunPlan
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.runlog import MAIN

PREPARE_TIMEOUT = 300.0
"""Seconds for all of the preparation; a file server that fails over takes minutes."""
OUTPUT_TIMEOUT = 5.0
FINAL_CHECK_TIMEOUT = 15.0
FINAL_UPDATE_TIMEOUT = 20.0
HURRIED_TIMEOUT = 4.0
"""Seconds for each of the above where Slurm is about to kill this process."""


@dataclass(frozen=True, kw_only=True, slots=True)
class SupervisorContext:
    """What the supervisor works with; tests put others in their place."""

    job: JobEnvironment
    slurm: Callable[[RunPlan | None], Slurm]
    """The cluster; the plan says how it was reached at submission."""


def job_context() -> SupervisorContext:
    """Those of the job that this process runs in."""
    return SupervisorContext(job=JobEnvironment.read(), slurm=_slurm)


def _slurm(plan: RunPlan | None) -> Slurm:
    import shutil  # noqa: PLC0415 - for this question only

    if plan is None or shutil.which("scontrol") is not None:
        return Commands()
    conf = None if "SLURM_CONF" in os.environ else plan.slurm.conf
    return Commands(bin_dir=plan.slurm.bin_dir, slurm_conf=conf)


def tell(message: str) -> None:
    """Say something in Slurm's log, in one piece."""
    with suppress(OSError):
        os.write(2, f"csx-restart: {message}\n".encode("utf-8", "replace"))


class Supervisor:
    """Supervises one attempt.

    Args:
        run_dir: absolute path of the run directory.
        guardian: what will hold the trainer.
        around: Slurm and the job.
    """

    def __init__(self, run_dir: Path, reaper: Reaper, context: SupervisorContext) -> None:
        self._run_dir = RunDir(run_dir)
        self._guardian = reaper
        self._around = context
        self._events: Events = queue.SimpleQueue()
        self._recorder = Recorder(self._run_dir, tell, time.time)
        self._comment: CommentWriter | None = None
        self._plan: RunPlan | None = None
        self._step: int | None = None
        """The newest complete checkpoint's step."""

    def run(self) -> int:
        """Supervise; returns the exit code of the job."""
        self._listen_to_signals()
        Listener(self._guardian.channel, self._events).start()
        self._recorder.start()
        preparation = Preparation(self._run_dir, self._around.job, self._events)
        preparation.start()
        # While the preparation waits for others.
        rules = read_rule_sources(files_of(self._run_dir.rules))
        for problem in rules.problems:
            self._recorder.log(MAIN, f"rule left out: {problem}", level="WARNING")
        scanner = LogScanner(make_matcher(rules.rules, SMALL))
        ready = self._await_preparation()
        if isinstance(ready, Prepared):
            conclusion = self._attempt(ready, scanner)
        else:
            conclusion = failed_to_prepare(ready, preparation.attempt, now=time.time())
        self._record(conclusion, hurried=conclusion.stop is StopReason.TERMINATED)
        self._guardian.dismiss()
        # Checks and commands that nobody waits for any more; the guardian ends by itself.
        processes.signal_descendants(os.getpid(), signal.SIGKILL, but_group=self._guardian.pid)
        return conclusion.exit_code

    # --- before the trainer ----------------------------------------------------------------------

    def _listen_to_signals(self) -> None:
        def note(number: int, _frame: object) -> None:
            self._events.put(SignalReceived(number))

        for number in SIGNAL_RESPONSES:
            signal.signal(number, note)
        # A reader of Slurm's log that goes away must not take the training with it.
        signal.signal(signal.SIGPIPE, signal.SIG_IGN)

    def _await_preparation(self) -> Prepared | Exception | StopReason:
        until = time.monotonic() + PREPARE_TIMEOUT
        while True:
            try:
                event = self._events.get(timeout=max(0.0, until - time.monotonic()))
            except queue.Empty:
                reason = f"no answer within {PREPARE_TIMEOUT:g} s"
                return OSError(errno.ETIMEDOUT, reason, str(self._run_dir.path))
            match event:
                case AttemptPrepared(prepared):
                    return prepared
                case PreparationFailed(error):
                    return error
                case ReaperExited():
                    return RuntimeError("the guardian process is gone")
                case PlanLoaded(plan):
                    self._plan = plan
                    self._start_comment()
                case SignalReceived(number) if stop := SIGNAL_RESPONSES[number].stop:
                    return stop

    def _start_comment(self) -> None:
        """Let the job's Comment be kept; an unmanaged job has no digest there."""
        plan, job_id = self._plan, self._around.job.job_id
        if job_id is None or (plan is not None and plan.comment_record is None):
            return
        self._comment = CommentWriter(
            self._around.slurm(plan),
            job_id,
            fallback=plan.comment_record if plan else None,
            tell=tell,
        )
        self._comment.start()

    # --- the trainer -----------------------------------------------------------------------------

    def _attempt(self, prepared: Prepared, scanner: LogScanner) -> AttemptResult:
        plan, start = self._plan, prepared.start
        assert plan is not None  # noqa: S101 - Planned comes before Ready
        self._step = start.from_step if start.checkpoint is not None else None
        self._say(
            attempt=start.attempt,
            restarts=start.restarts,
            from_step=start.from_step,
            step=self._step,
        )
        self._recorder.begun(plan, prepared)
        if prepared.command is None:
            return attempt_result(
                plan, prepared, _nothing_to_do(), step=self._step, now=time.time()
            )
        output = self._output(prepared, scanner)
        progress = self._progress(plan, prepared)
        fence = SupersedeMonitor(prepared.attempt, self._events)
        for thread in (output, progress, fence):
            thread.start()
        before: list[tuple[tuple[Finding, ...], float]] = []
        watch = TrainerProcess(
            self._guardian,
            self._events,
            grace_periods(plan.signal_lead),
            stopping=lambda: before.append((output.findings(), time.monotonic() - output.last)),
        )
        watched = watch.run(prepared.command)
        fence.stop()
        hurried = watched.stop is StopReason.TERMINATED
        output.join(HURRIED_TIMEOUT if hurried else OUTPUT_TIMEOUT)
        if not progress.finish(HURRIED_TIMEOUT if hurried else FINAL_CHECK_TIMEOUT):
            tell("the checkpoint directory does not answer: the newest step may not be known")
        # What the trainer prints while it is ended says nothing of a cause.
        findings, silence = before[0] if before else (output.findings(), 0.0)
        ending = self._ending(watched, prepared, findings, silence)
        return attempt_result(
            plan,
            prepared,
            ending,
            step=self._step,
            now=time.time(),
            job_ids=output.job_ids,
        )

    def _output(self, prepared: Prepared, scanner: LogScanner) -> OutputTee:
        name = str(prepared.attempt.output)
        handle: int | None = None
        try:
            flags = os.O_WRONLY | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC
            handle = os.open(name, flags, 0o644)
        except OSError as error:
            tell(f"{name}: cannot be written: {error.strerror}")
        sinks = (Sink("Slurm's log", sys.stdout.fileno(), tell), Sink(name, handle, tell))
        return OutputTee(self._guardian.output, sinks, scanner, tell)

    def _progress(self, plan: RunPlan, prepared: Prepared) -> CheckpointMonitorThread:
        def report(saved: Saved) -> None:
            if plan.mode.is_evaluation:
                return  # somebody else's: an evaluation writes none
            self._step = max(saved.step, self._step or 0)
            self._recorder.saved(prepared.attempt, saved)
            self._say(step=self._step)

        watch = CheckpointMonitor(plan.checkpoint, prepared.present)
        return CheckpointMonitorThread(watch, report, tell)

    def _ending(
        self,
        watched: TrainerExit,
        prepared: Prepared,
        findings: tuple[Finding, ...],
        silence: float,
    ) -> TrainerEnd:
        last = prepared.start.last_step
        return TrainerEnd(
            exit_code=watched.exit_code,
            signal=watched.signal,
            stop=watched.stop,
            findings=findings,
            silence=silence,
            last_step_reached=last is not None and (self._step or 0) >= last,
        )

    # --- after the trainer -----------------------------------------------------------------------

    def _record(self, conclusion: AttemptResult, *, hurried: bool) -> None:
        timeout = HURRIED_TIMEOUT if hurried else FINAL_UPDATE_TIMEOUT
        self._recorder.ended(self._plan, conclusion)
        if conclusion.stop is StopReason.SUPERSEDED:
            # The Comment is the other attempt's.
            self._comment = None
        elif self._comment is None and self._plan is None:
            # Not even the plan could be read: the digest at submission is still in the Comment.
            self._start_comment()
        durable = conclusion.is_final and not hurried
        if self._comment is not None and not self._comment.finish(
            timeout, durable=durable, **conclusion.self_report
        ):
            tell("the end could not be written to the job's Comment")
        if not self._recorder.finish(timeout):
            tell(f"{self._run_dir.path}: does not answer: the end may not be on record there")

    def _say(self, **values: Any) -> None:
        if self._comment is not None:
            self._comment.say(**values)


def _nothing_to_do() -> TrainerEnd:
    return TrainerEnd(exit_code=0, signal=None, stop=None, findings=(), last_step_reached=True)
