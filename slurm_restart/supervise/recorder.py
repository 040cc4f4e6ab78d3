"""Write run.log, summary.json and the attempt's records in a separate thread.

A full disk, a removed directory or a hanging file system does not disturb the training: what
cannot be written is reported in Slurm's log.
"""

import queue
import threading
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager
from dataclasses import replace
from pathlib import Path
from typing import assert_never

from slurm_restart.core.category import Category
from slurm_restart.core.compile_sizes import CompileOutcome, compile_title
from slurm_restart.core.decision import Decision
from slurm_restart.core.job_comment import Mode
from slurm_restart.core.journal_events import Action
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.errors import CsxError
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.supervise import late_checkpoints
from slurm_restart.supervise.ask_allocation import AllocationQuestion
from slurm_restart.supervise.attempt_result import AttemptResult
from slurm_restart.supervise.expected_decision import (
    ended_attempts,
    expected_decision,
    format_decision,
)
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.run_over import PREFIX as RUN_OVER_PREFIX
from slurm_restart.supervise.run_over import RULE as RUN_OVER_RULE
from slurm_restart.supervise.run_records import history_before, site_policy
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.supervise.untold_end import format_end
from slurm_restart.trainer import runlog, summary
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import (
    AttemptEnd,
    AttemptStart,
    Compiled,
    Measured,
    Saved,
    Warned,
    to_json,
    to_line,
)
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir


class Recorder(threading.Thread):
    """Writes records in the order in which they were requested.

    Args:
        run_dir: the phase's directory.
        warn: called with each line for Slurm's log, also when a file cannot be written.
        clock: returns epoch seconds.
        watch: entered with the path around each access to files.
    """

    def __init__(
        self,
        run_dir: RunDir,
        warn: Callable[[str], None],
        clock: Callable[[], float],
        watch: Callable[[str], AbstractContextManager[None]],
    ) -> None:
        super().__init__(name="recorder", daemon=True)
        self._run_dir = run_dir
        self._warn = warn
        self._clock = clock
        self._watch = watch
        self._queue: queue.SimpleQueue[tuple[str, Callable[[], None]] | None] = queue.SimpleQueue()
        self._failing: set[str] = set()

    def log(self, name: str, message: str, *, level: str = "INFO") -> None:
        """Add a line to run.log and to Slurm's log."""
        line = runlog.line(name, message, at=self._clock(), level=level)
        self._warn(f"[{name}] {message}")
        self._enqueue("run.log", lambda: runlog.append(self._run_dir.log, line))

    def record_start(self, plan: RunPlan, prepared: PreparedAttempt) -> None:
        """Record the attempt's start, and the ends of earlier attempts that have no end record."""
        start = prepared.start
        name = runlog.run_name(start.attempt)
        job = "" if start.job_id is None else f"job {start.job_id}, "
        tier = ", started in place" if start.in_place else ""
        phase = f"phase {plan.phase + 1} of {plan.phases}, " if plan.mode is not Mode.SCRIPT else ""
        self.log(runlog.MAIN, f"{job}{phase}attempt {start.attempt}{tier}")
        self._enqueue("attempts", lambda: self._backfill(start.attempt))
        notes = prepared.set_aside.notes
        for rejected in prepared.rejected:
            self._log_unused(name, rejected.path, rejected.reason, notes.get(rejected.path))
        for late in prepared.late:
            self._log_unused(name, late.path, late.reason, notes.get(late.path))
        for left_out in start.left_out:
            self._log_unused(name, left_out.path, left_out.reason)
        for link in prepared.set_aside.links:
            self.log(name, link.text, level="WARNING")
        if prepared.late_start is not None:
            message = f"checkpoint {start.checkpoint} is used, as no other of this run is left: "
            self.log(name, f"{message}{prepared.late_start.reason}", level="WARNING")
        self.log(name, _format_start(plan, prepared))
        self.summarize(plan)

    def _log_unused(self, name: str, path: str, reason: str, note: str | None = None) -> None:
        why = reason if note is None else f"{reason}; {note}"
        self.log(name, f"checkpoint {path} is not used: {why}", level="WARNING")

    def record_checkpoint(self, attempt: AttemptDir, saved: Saved) -> None:
        """Record a new checkpoint."""
        line = to_line(saved)
        self._enqueue("progress.jsonl", lambda: runlog.append(attempt.progress_file, line))
        name = saved.path.rpartition("/")[2]
        self.log(runlog.run_name(attempt.number), f"checkpoint at step {saved.step}: {name}")

    def record_warning(self, attempt: AttemptDir, text: str) -> None:
        """Record what the user should know while the attempt runs."""
        line = to_line(Warned(at=self._clock(), text=text))
        self._enqueue("warnings.jsonl", lambda: runlog.append(attempt.warnings_file, line))
        self.log(runlog.run_name(attempt.number), text, level="WARNING")

    def record_compile(self, compiled: Compiled) -> None:
        """Record that a compile for a smaller restart has ended."""
        line = to_line(compiled)
        self._enqueue("compiles.jsonl", lambda: runlog.append(self._run_dir.compiles, line))
        name = runlog.run_name(compiled.attempt)
        self.log(name, _format_compile(compiled), level=_COMPILE_LEVELS[compiled.outcome])

    def record_measured(self, attempt: AttemptDir, measured: Measured) -> None:
        """Record how far an attempt without known checkpoints has got."""
        data = to_json(measured)
        self._enqueue("measured.json", lambda: write_atomic(attempt.measured_file, data))

    def expect(
        self,
        plan: RunPlan,
        result: AttemptResult,
        question: AllocationQuestion,
        doubt: str | None,
        answer: Callable[[Decision | None], None],
    ) -> None:
        """Decide, in the thread, whether the next attempt starts in place.

        Args:
            plan: the phase.
            result: how the attempt has ended.
            question: what Slurm shows of the allocation.
            doubt: why the supervisor itself cannot start another attempt.
            answer: called with the decision; None: it is not known.
        """

        def decide() -> None:
            decision = None
            try:
                decision = self._expected(plan, result, question, doubt)
            finally:
                answer(decision)

        self._enqueue("attempts", decide)

    def record_superseded(self, plan: RunPlan, attempt: AttemptDir) -> None:
        """Record what an attempt may have written after a later one had begun."""

        def write() -> None:
            late = late_checkpoints.written_since(plan, self._run_dir, attempt)
            if late is None:
                message = (
                    "what this attempt has written since the next one has begun cannot be told: "
                    "the checkpoints are on another file system than the run directory"
                )
                self.log(runlog.run_name(attempt.number), message, level="WARNING")
                return
            if late:
                late_checkpoints.save(attempt, (*attempt.late(), *late))
            for checkpoint in late:
                message = f"checkpoint {checkpoint.path} will not be used: {checkpoint.reason}"
                self.log(runlog.run_name(attempt.number), message, level="WARNING")

        self._enqueue("late.jsonl", write)

    def record_end(
        self, plan: RunPlan | None, result: AttemptResult, decision: Decision | None = None
    ) -> None:
        """Record how the attempt ended and the decision.

        Args:
            plan: the phase; None: not known.
            result: how the attempt has ended.
            decision: what is done; None: what the supervisor expects of the hook.
        """
        self._enqueue("end.json", lambda: self._write_end(plan, result, decision))
        if plan is not None:
            self.summarize(plan)

    def _backfill(self, attempt: int) -> None:
        if attempt == 0:
            return
        # Most attempts need it never: imported early, it would take memory in all of them.
        from slurm_restart.supervise.backfill import backfill_earlier  # noqa: PLC0415

        done = backfill_earlier(self._run_dir, before=attempt, now=self._clock())
        for end in done.ends:
            self._warn(f"[{runlog.run_name(end.attempt)}] {end.reason}")
        for problem in done.problems:
            self._warn(f"[{runlog.MAIN}] {problem}")

    def _write_end(
        self, plan: RunPlan | None, result: AttemptResult, decision: Decision | None
    ) -> None:
        attempt, end = result.attempt, result.end
        expected = self._format_expected(plan, result, decision)
        name = runlog.MAIN if attempt is None else runlog.run_name(attempt.number)
        level = "INFO" if end.category == Category.COMPLETED.value else "ERROR"
        unit = result.start.unit if result.start is not None else ProgressUnit.STEP
        at = "" if end.step is None else f" at {unit.format(end.step)}"
        own = plan is not None and plan.requeues_itself
        done = decision is not None and (own or decision.action.in_place)
        done = done or end.rule == RUN_OVER_RULE or result.stop is StopReason.SUPERSEDED
        ended, decided = (
            format_end(end, at=at),
            f"{'' if done else 'expected '}decision: {expected}",
        )
        lines = (
            runlog.line(name, ended, at=self._clock(), level=level),
            runlog.line(runlog.MAIN, decided, at=self._clock()),
        )
        self._warn(f"[{name}] {ended}")
        self._warn(f"[{runlog.MAIN}] {decided}")
        try:
            if attempt is not None:
                write_atomic(attempt.end_file, to_json(replace(end, expected_decision=expected)))
        finally:
            # At once, and with one write: this process may be killed at any moment.
            text = "\n".join(lines)
            self._attempt_write("run.log", lambda: runlog.append(self._run_dir.log, text))

    def _format_expected(
        self, plan: RunPlan | None, result: AttemptResult, decision: Decision | None
    ) -> str:
        if plan is None or plan.comment_record is None:
            return "not known" if plan is None else "none, as this job does not restart"
        if result.stop is StopReason.SUPERSEDED:
            return "none (a later attempt of this run has taken over)"
        if result.end.rule == RUN_OVER_RULE:
            return f"{Action.LEAVE.value} ({result.end.reason.removeprefix(RUN_OVER_PREFIX)})"
        known = decision or self._expected(plan, result)
        return "not known, as nothing was started" if known is None else format_decision(known)

    def _expected(
        self,
        plan: RunPlan,
        result: AttemptResult,
        question: AllocationQuestion | None = None,
        doubt: str | None = None,
    ) -> Decision | None:
        """Return the decision; without `question`, that of the hook."""
        comment_record = plan.comment_record
        if comment_record is None or result.start is None:
            return None
        allocation = None
        attempts = self._run_dir.attempts()
        earlier = ended_attempts(attempts, result.start.attempt)
        if question is not None:
            comment_record = question.comment_record or comment_record
            doubt = doubt or _doubt(attempts, earlier, result)
            allocation = question.allocation(doubt=doubt)
        return expected_decision(
            comment_record,
            history_before(plan, attempts, result.start),
            result.start,
            result.attribution,
            step=result.end.step,
            root=result.end.root,
            exit_code=result.exit_code,
            now=result.end.at,
            site=site_policy(plan),
            allocation=allocation,
        )

    def summarize(self, plan: RunPlan) -> None:
        """Replace summary.json."""

        def write() -> None:
            damaged = summary.write(plan, self._run_dir, at=self._clock())
            if damaged is not None:
                self.log(runlog.MAIN, f"summary.json was damaged: kept as {damaged.name}")

        self._enqueue("summary.json", write)

    @property
    def is_failing(self) -> bool:
        """Whether something could not be written."""
        return bool(self._failing)

    def finish(self, timeout: float) -> bool:
        """Write what is queued; return whether that was done within `timeout` seconds."""
        self._queue.put(None)
        self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        """Write until `finish` is called, then the lines that these writes have added."""
        while (work := self._queue.get()) is not None:
            self._attempt_write(*work)
        while not self._queue.empty():
            if (work := self._queue.get()) is not None:
                self._attempt_write(*work)

    def _attempt_write(self, name: str, write: Callable[[], None]) -> None:
        try:
            with self._watch(str(self._run_dir.path / name)):
                write()
        except (OSError, CsxError) as error:
            if name not in self._failing:
                self._warn(f"{self._run_dir.path / name} cannot be written: {error}")
            self._failing.add(name)
        else:
            self._failing.discard(name)

    def _enqueue(self, name: str, write: Callable[[], None]) -> None:
        self._queue.put((name, write))


_COMPILE_LEVELS = {
    CompileOutcome.COMPILED: "INFO",
    CompileOutcome.REFUSED: "WARNING",
    CompileOutcome.FAILED: "WARNING",
}


def _format_compile(compiled: Compiled) -> str:
    what = compile_title(compiled.num_csx)
    match compiled.outcome:
        case CompileOutcome.COMPILED:
            return f"{what} is done, after {compiled.seconds:g} s"
        case CompileOutcome.REFUSED:
            return f"{what}: it does not compile, no restart gets this size: {compiled.reason}"
        case CompileOutcome.FAILED:
            return f"{what} failed, which says nothing about this size: {compiled.reason}"
        case _:
            assert_never(compiled.outcome)


def _doubt(
    attempts: Sequence[AttemptDir],
    earlier: Sequence[tuple[AttemptStart, AttemptEnd]],
    result: AttemptResult,
) -> str | None:
    """Return why the records do not allow a restart in place; None: they do."""
    if result.start is None:
        return "nothing was started"
    number = result.start.attempt
    if any(attempt.number > number for attempt in attempts):
        return "another attempt of this run has begun"
    needed = set(range(number - result.start.in_place, number))
    if not needed <= {start.attempt for start, _ in earlier}:
        return "the records of earlier attempts cannot be read"
    return None


def _format_start(plan: RunPlan, prepared: PreparedAttempt) -> str:
    start = prepared.start
    nodes = f" on {format_hostlist(start.nodes)}" if start.nodes else ""
    place = f"num_csx {start.num_csx}{nodes}"
    if prepared.done:
        return f"{_format_last_step(start)}: nothing is left to do{_format_skipped(plan, start)}"
    if start.validation_only:
        return f"{_format_last_step(start)}: validation of {start.checkpoint}, {place}"
    if plan.mode.is_evaluation:
        what = "what its config names" if start.checkpoint is None else start.checkpoint
        return f"{plan.mode.value} of {what}, {place}"
    origin = "from scratch" if start.checkpoint is None else f"from {start.checkpoint}"
    at = "" if start.from_step is None else f", {start.unit.format(start.from_step)}"
    if start.measured:
        at = f"; progress is beyond {start.unit.format(start.from_step)}" if start.from_step else ""
    if plan.mode is Mode.SCRIPT:
        at = at if start.checkpoint is not None or start.measured else ""
        return f"{Path(plan.config_path).name} {origin}{at}{nodes}"
    check = ", with the check for NaN" if start.nan_checker else ""
    return f"{plan.mode.value} {origin}{at}, {place}{check}"


def _format_last_step(start: AttemptStart) -> str:
    return f"step {start.from_step} is the last one ({start.last_step})"


def _format_skipped(plan: RunPlan, start: AttemptStart) -> str:
    if not (plan.validates_at_end and start.resumed):
        return ""
    return " (the validation after it is not repeated, as the command is not `cszoo fit`)"
