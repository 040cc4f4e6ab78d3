"""Writes run.log, summary.json and the attempt's records, in a thread of its own.

A disk that is full, a directory that is gone, or a file system that hangs costs the training
nothing: what cannot be written is told in Slurm's log.
"""

import queue
import threading
from collections.abc import Callable
from dataclasses import replace

from slurm_restart.core.category import Category
from slurm_restart.errors import CsxError
from slurm_restart.slurm.hostlist import format_hostlist
from slurm_restart.supervise.attempt_result import AttemptResult
from slurm_restart.supervise.backfill import backfill_earlier
from slurm_restart.supervise.prepare_attempt import Prepared
from slurm_restart.supervise.trainer_end import expected_decision, format_decision
from slurm_restart.trainer import runlog, summary
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.attempt_records import Saved, to_json, to_line
from slurm_restart.trainer.plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir, RunDir


class Recorder(threading.Thread):
    """What is to be on record, written in the order in which it was said.

    Args:
        run_dir: the phase's directory.
        tell: called with a message when something cannot be written.
        clock: epoch seconds.
    """

    def __init__(
        self, run_dir: RunDir, tell: Callable[[str], None], clock: Callable[[], float]
    ) -> None:
        super().__init__(name="recorder", daemon=True)
        self._run_dir = run_dir
        self._tell = tell
        self._clock = clock
        self._work: queue.SimpleQueue[tuple[str, Callable[[], None]] | None] = queue.SimpleQueue()
        self._failing: set[str] = set()

    def log(self, name: str, message: str, *, level: str = "INFO") -> None:
        """Add a line to run.log, and say it in Slurm's log as well."""
        line = runlog.line(name, message, at=self._clock(), level=level)
        self._tell(f"[{name}] {message}")
        self._do("run.log", lambda: runlog.append(self._run_dir.log, line))

    def begun(self, plan: RunPlan, prepared: Prepared) -> None:
        """Record an attempt's start, and what is not known of those before it."""
        start = prepared.start
        name = runlog.run_name(start.attempt)
        job = "" if start.job_id is None else f"job {start.job_id}, "
        phase = f"phase {plan.phase + 1} of {plan.phases}"
        self.log(runlog.MAIN, f"{job}{phase}, attempt {start.attempt}")
        self._do("attempts", lambda: self._settle(start.attempt))
        for one in prepared.passed_over:
            aside = ", set aside" if one in prepared.set_aside else ""
            message = f"checkpoint {one.path} is not used: {one.reason}{aside}"
            self.log(name, message, level="WARNING")
        self.log(name, _start_line(plan, prepared))
        self.summarize(plan)

    def saved(self, attempt: AttemptDir, saved: Saved) -> None:
        """Record a new checkpoint."""
        line = to_line(saved)
        self._do("progress.jsonl", lambda: runlog.append(attempt.progress_file, line))
        name = saved.path.rpartition("/")[2]
        self.log(runlog.run_name(attempt.number), f"checkpoint at step {saved.step}: {name}")

    def ended(self, plan: RunPlan | None, conclusion: AttemptResult) -> None:
        """Record how an attempt ended, and what is expected to be done about it."""
        self._do("end.json", lambda: self._end(plan, conclusion))
        if plan is not None:
            self.summarize(plan)

    def _settle(self, attempt: int) -> None:
        for end in backfill_earlier(self._run_dir, before=attempt, now=self._clock()):
            self._tell(f"[{runlog.run_name(end.attempt)}] {end.reason}")

    def _end(self, plan: RunPlan | None, conclusion: AttemptResult) -> None:
        attempt, end = conclusion.attempt, conclusion.end
        expected = self._expected(plan, conclusion)
        name = runlog.MAIN if attempt is None else runlog.run_name(attempt.number)
        level = "INFO" if end.category == Category.COMPLETED.value else "ERROR"
        how = f": {end.reason}" if end.reason else ""
        self.log(name, f"ended as {end.category} at step {end.step}{how}", level=level)
        self.log(runlog.MAIN, f"expected decision: {expected}")
        if attempt is not None:
            write_atomic(attempt.end_file, to_json(replace(end, expected_decision=expected)))

    def _expected(self, plan: RunPlan | None, conclusion: AttemptResult) -> str:
        comment_record = plan.comment_record if plan is not None else None
        if comment_record is None:
            return "none, as this job does not restart" if plan else "not known"
        if conclusion.start is None:
            return "not known, as nothing was started"
        earlier = [
            (start, end)
            for one in self._run_dir.attempts()
            if one.number < conclusion.start.attempt
            and (start := one.start()) is not None
            and (end := one.end()) is not None
        ]
        return format_decision(
            expected_decision(
                comment_record,
                earlier,
                conclusion.start,
                conclusion.attribution,
                step=conclusion.end.step,
                root=conclusion.end.root,
                now=conclusion.end.at,
            )
        )

    def summarize(self, plan: RunPlan) -> None:
        """Write summary.json anew."""

        def write() -> None:
            aside = summary.write(plan, self._run_dir, at=self._clock())
            if aside is not None:
                self.log(runlog.MAIN, f"summary.json was damaged: kept as {aside.name}")

        self._do("summary.json", write)

    def finish(self, timeout: float) -> bool:
        """Write what is left; whether that was done within `timeout` seconds."""
        self._work.put(None)
        self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        """Write until told to finish, and then what writing itself had to say."""
        while (work := self._work.get()) is not None:
            self._try(*work)
        while not self._work.empty():
            if (work := self._work.get()) is not None:
                self._try(*work)

    def _try(self, name: str, write: Callable[[], None]) -> None:
        try:
            write()
        except (OSError, CsxError) as error:
            if name not in self._failing:
                self._tell(f"{self._run_dir.path / name} cannot be written: {error}")
            self._failing.add(name)
        else:
            self._failing.discard(name)

    def _do(self, name: str, write: Callable[[], None]) -> None:
        self._work.put((name, write))


def _start_line(plan: RunPlan, prepared: Prepared) -> str:
    start = prepared.start
    if prepared.done:
        return f"step {start.from_step} is the last one ({start.last_step}): nothing is left to do"
    where = "from scratch" if start.checkpoint is None else f"from {start.checkpoint}"
    at = "" if start.from_step is None else f", step {start.from_step}"
    nodes = f" on {format_hostlist(start.nodes)}" if start.nodes else ""
    return f"{plan.mode.value} {where}{at}, num_csx {start.num_csx}{nodes}"
