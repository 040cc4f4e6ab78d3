"""Run the trainer of a prepared attempt: monitor it, ask it to end in time, find why it ended."""

import os
import time
from collections.abc import Callable
from dataclasses import replace
from typing import TYPE_CHECKING

from slurm_restart.core.finding import Finding
from slurm_restart.core.watchdog_settings import WatchdogMode
from slurm_restart.logs.scanner import LogScanner
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.ask_allocation import AllocationQuestion
from slurm_restart.supervise.attempt_progress import AttemptProgress
from slurm_restart.supervise.attempt_result import AttemptResult, attempt_result
from slurm_restart.supervise.ending import Ending
from slurm_restart.supervise.events import Events
from slurm_restart.supervise.failed_task import FailedTasks
from slurm_restart.supervise.hang_watch import HangWatch
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.life_signs import LifeSigns
from slurm_restart.supervise.lost_nodes import NodeWatch
from slurm_restart.supervise.output_pipe import OutputPipe
from slurm_restart.supervise.output_steps import OutputSteps
from slurm_restart.supervise.output_tee import OutputTee, open_output_tee
from slurm_restart.supervise.periodic_thread import PeriodicThread
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.processes import release_memory
from slurm_restart.supervise.reaper import Reaper, TrainerCommand
from slurm_restart.supervise.slurm_log import SlurmLog
from slurm_restart.supervise.slurm_questions import (
    read_kill_wait,
    report_preemption,
    signal_steps,
)
from slurm_restart.supervise.srun_processes import SrunEnds
from slurm_restart.supervise.stall_monitor import StallMonitor
from slurm_restart.supervise.stop_request import GracePeriods, StopRequest, signal_number
from slurm_restart.supervise.supersede_monitor import SupersedeMonitor
from slurm_restart.supervise.trainer_end import NOTHING_TO_DO, StopReason, TrainerEnd
from slurm_restart.supervise.trainer_process import TrainerExit, TrainerProcess
from slurm_restart.supervise.watchdog import (
    AttemptFacts,
    HungTrainer,
    make_hang_watch,
    make_life_signs,
)
from slurm_restart.trainer.run_plan import RunPlan, StopReceiver

if TYPE_CHECKING:
    from slurm_restart.supervise.compile_prefetch import CompilePrefetch

OUTPUT_TIMEOUT = 5.0
"""Seconds to copy the rest of the output."""
STACKS_TIMEOUT = 5.0
"""Seconds until it is known which processes have printed their stacks."""
PREFETCH_TIMEOUT = 2.0
"""Seconds for a compile that goes on to end: it gets TERM, and soon KILL."""
SUPERSEDE_TIMEOUT = 2.0
"""Seconds for the last look for a later attempt."""
FINAL_CHECK_TIMEOUT = 15.0
"""Seconds for the last check for new checkpoints."""


class AttemptRun:
    """Runs the trainer of one attempt.

    Args:
        plan: the phase.
        job: this job.
        slurm: returns the cluster.
        reaper: starts the trainer.
        events: the supervisor's.
        log: gets messages.
        stalls: is told of accesses to files.
        ending: limits the waits after the trainer's end.
        stop_reason: returns why a signal asked this process to end, given its usual meaning.
        prefetch: compiles the sizes of smaller restarts; None: nothing does.
    """

    def __init__(
        self,
        plan: RunPlan,
        *,
        job: JobEnvironment,
        slurm: Callable[[], Slurm],
        reaper: Reaper,
        events: Events,
        log: SlurmLog,
        stalls: StallMonitor,
        ending: Ending,
        stop_reason: Callable[[StopReason], StopReason],
        prefetch: "CompilePrefetch | None" = None,
    ) -> None:
        self._plan = plan
        self._job = job
        self._slurm = slurm
        self._reaper = reaper
        self._events = events
        self._log = log
        self._stalls = stalls
        self._ending = ending
        self._stop_reason = stop_reason
        self._prefetch = prefetch
        self._grace = GracePeriods(signal_lead=plan.signal_lead)
        self._hung: HungTrainer | None = None
        self.question: AllocationQuestion | None = None
        """What Slurm shows of the allocation, where a restart in place may be right."""
        self.doubt: str | None = None
        """Why this process cannot start another attempt."""

    def result(
        self, prepared: PreparedAttempt, scanner: LogScanner, progress: AttemptProgress
    ) -> AttemptResult:
        """Run the trainer and return how the attempt ended.

        Args:
            prepared: the attempt.
            scanner: searches the output for causes.
            progress: knows the step that it reaches.
        """
        plan = self._plan
        if prepared.command is None:
            end = NOTHING_TO_DO
            return attempt_result(plan, prepared, end, step=progress.step, now=time.time())
        pattern = progress.step_pattern
        steps = None if pattern is None else OutputSteps(pattern)
        signs = make_life_signs(plan)
        source = OutputPipe(self._reaper.output)
        errors = OutputPipe(self._reaper.errors) if prepared.command.own_errors else None
        pipes = [pipe for pipe in (source, errors) if pipe is not None]
        failed_tasks = FailedTasks(self._reaper.pid, progress.warn, pipes)
        readers = (steps, progress.saved, signs, failed_tasks)
        output = open_output_tee(
            source,
            prepared.attempt.output,
            scanner,
            self._log.write,
            self._stalls.access,
            readers=[each for each in readers if each is not None],
            errors=errors,
        )
        watch = None
        if signs is not None and plan.watchdog.mode is not WatchdogMode.OFF:
            watch = self._hang_watch(signs, prepared, progress)
        if signs is not None and self._prefetch is not None:
            self._prefetch.start_with(prepared, signs, scanner)
        monitor = progress.monitor(steps, output.printed)
        trainer_end = self._run_trainer(
            prepared,
            prepared.command,
            output,
            progress=progress,
            monitor=monitor,
            watch=watch,
            failed_tasks=failed_tasks,
        )
        return attempt_result(
            plan,
            prepared,
            trainer_end,
            step=progress.step,
            now=time.time(),
            job_ids=output.job_ids,
        )

    def _run_trainer(
        self,
        prepared: PreparedAttempt,
        command: TrainerCommand,
        output: OutputTee,
        *,
        progress: AttemptProgress,
        monitor: PeriodicThread,
        watch: HangWatch | None,
        failed_tasks: FailedTasks,
    ) -> TrainerEnd:
        # What was read and compiled before the start took more than the monitoring needs: 0.3 MB.
        release_memory()
        supersede_monitor = SupersedeMonitor(
            prepared.attempt, prepared.fence, self._events, self._stalls
        )
        node_watch = NodeWatch(
            self._slurm, self._job, self._events, progress.warn, SrunEnds(self._reaper.pid)
        )
        watches = (node_watch,) if self._plan.keeps_allocation else ()
        for thread in (output, monitor, supersede_monitor, *watches):
            thread.start()
        before_stop: list[tuple[tuple[Finding, ...], float]] = []

        def note_stop(stop: StopReason) -> None:
            failed_tasks.finish()
            if self._prefetch is not None:
                self._prefetch.finish(0)
            before_stop.append((output.findings(), time.monotonic() - output.last_output_at))
            if stop is StopReason.HUNG and self._hung is not None:
                output.keep()
                self._hung.note_stop()
            if stop is StopReason.TIME_LIMIT and job_id is not None:
                report_preemption(self._slurm, job_id, self._events)

        job_id = self._job.job_id
        if job_id is not None:
            read_kill_wait(self._slurm, self._grace)
        trainer = TrainerProcess(
            self._reaper,
            self._events,
            self._grace,
            self._stop_request(),
            before_stop=note_stop,
            signal_due=failed_tasks.signal_due,
        )
        if watch is not None:
            watch.start()
        began = time.monotonic()
        trainer_exit = trainer.run(command)
        failed_tasks.finish()
        self._finish_watches(watch, trainer_exit)
        supersede_monitor.stop()
        node_watch.stop()
        trainer_exit = self._note_superseded(trainer_exit, supersede_monitor)
        self._ask_allocation(trainer_exit)
        if trainer_exit.stop is not None:
            self._ending.hurry(trainer_exit.stop)
            trainer_exit = replace(trainer_exit, stop=self._stop_reason(trainer_exit.stop))
        self._finish_threads(output, monitor, from_output=progress.is_from_output)
        trainer_exit = self._with_stacks(trainer_exit, output)
        # What the trainer prints after it was asked to end is no evidence of a cause.
        findings, quiet_time = before_stop[0] if before_stop else (output.findings(), 0.0)
        known = progress.known(max(0.0, output.last_output_at - began))
        end = self._trainer_end(trainer_exit, prepared, progress.step, findings, quiet_time)
        failed = failed_tasks.first
        if failed is not None and end.claims_success:
            progress.warn(
                "exit code 0, so that the run counts as finished, although srun has reported: "
                f"{failed} (in a script, `set -o pipefail` and `set -e` keep the exit code of srun)"
            )
        return replace(end, progress=known)

    def _note_superseded(self, trainer_exit: TrainerExit, monitor: SupersedeMonitor) -> TrainerExit:
        """Return the end with a later attempt as its reason, which kills what is left of this one.

        It may have done so before the monitor has found it by itself.
        """
        if trainer_exit.stop is not None or trainer_exit.exit_code == 0:
            return trainer_exit
        if not self._ending.await_end(monitor, SUPERSEDE_TIMEOUT) or not monitor.found:
            return trainer_exit
        return replace(trainer_exit, stop=StopReason.SUPERSEDED)

    def _ask_allocation(self, trainer_exit: TrainerExit) -> None:
        """Ask, if a restart in place may be right, what is left of the allocation."""
        if not trainer_exit.may_be_followed:
            self.doubt = "the job was told to end"
        elif self._plan.policy is not None and self._plan.policy.recovery.in_place:
            self.question = AllocationQuestion(
                self._slurm,
                self._plan,
                self._job,
                () if self._prefetch is None else self._prefetch.refused,
            )
            self.question.start()

    def _hang_watch(
        self, signs: LifeSigns, prepared: PreparedAttempt, progress: AttemptProgress
    ) -> HangWatch:
        facts = AttemptFacts(
            directory=prepared.attempt.path,
            job=self._job,
            supervisor=os.getpid(),
            reaper=self._reaper.pid,
            slurm=self._slurm,
            events=self._events,
            grace=lambda: self._grace.of(StopReason.HUNG),
            saved=lambda: progress.advances,
            is_blind=lambda: self._stalls.any_stalled,
            is_done=lambda: progress.is_done,
            tell=progress.warn,
            warn=self._log.write,
        )
        self._hung = HungTrainer(facts)
        return make_hang_watch(self._plan, signs, facts, self._hung.end)

    def _finish_watches(self, watch: HangWatch | None, trainer_exit: TrainerExit) -> None:
        """Let the watchdog and the compiles end.

        The watchdog may still be told what became of the processes of a run that hung.
        """
        if self._prefetch is not None:
            self._prefetch.finish(0)
        if self._hung is not None:
            self._hung.note_end()
        if watch is not None:
            watch.finish(0)
            if trainer_exit.hang is not None:
                self._ending.await_end(watch, STACKS_TIMEOUT, share=0.5)

    def _with_stacks(self, trainer_exit: TrainerExit, output: OutputTee) -> TrainerExit:
        """Return the exit with the stacks that a hung trainer has printed."""
        if self._hung is None or trainer_exit.hang is None:
            return trainer_exit
        return replace(trainer_exit, hang=self._hung.complete(trainer_exit.hang, output.kept()))

    def _finish_threads(
        self, output: OutputTee, monitor: PeriodicThread, *, from_output: bool
    ) -> None:
        """Wait until the output is copied and the newest step is known.

        Args:
            output: copies it.
            monitor: follows the progress.
            from_output: whether the output, or what else is measured, shows it.
        """
        if not from_output:
            monitor.finish(0)
        self._ending.await_end(output, OUTPUT_TIMEOUT, share=0.5)
        if self._prefetch is not None and self._prefetch.is_alive():
            self._ending.await_end(self._prefetch, PREFETCH_TIMEOUT, share=0.5)
        monitor.finish(0)
        if not self._ending.await_end(monitor, FINAL_CHECK_TIMEOUT, share=0.5):
            self.doubt = "the newest step is not known"
            self._log.write(
                "the progress cannot be measured: the newest step may not be known"
                if from_output
                else "the checkpoint directory does not answer: the newest step may not be known"
            )

    def _stop_request(self) -> StopRequest:
        job_id, receiver = self._job.job_id, self._plan.stop_receiver
        if job_id is None and receiver is StopReceiver.STEPS:
            receiver = StopReceiver.GROUP  # there are no steps
        return StopRequest(
            number=signal_number(self._plan),
            receiver=receiver,
            has_steps=job_id is not None,
            signal_steps=lambda: signal_steps(
                self._slurm, job_id or 0, self._plan.stop_signal, self._log.write
            ),
        )

    def _trainer_end(
        self,
        trainer_exit: TrainerExit,
        prepared: PreparedAttempt,
        step: int | None,
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
            nodes=self._job.nodes,
            layout=self._job.layout,
            # If a validation follows the last step, only the trainer knows how far it got.
            last_step_reached=last is not None
            and (step or 0) >= last
            and not self._plan.validates_at_end,
            checkpoint=prepared.start.checkpoint if prepared.start.resumed else None,
            hang=trainer_exit.hang,
            checked=prepared.start.nan_checker
            and trainer_exit.exit_code == 0
            and trainer_exit.stop is None
            and last is not None
            and (step or 0) < last,
        )
