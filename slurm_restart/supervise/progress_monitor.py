"""Measure how far a run without known checkpoints has got.

This is done in a thread, as a file system may hang.
"""

import os
import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext

from slurm_restart.core.job_comment import MAX_STEP
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.supervise.output_steps import OutputSteps
from slurm_restart.supervise.periodic_thread import PeriodicThread
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import AttemptDir

INTERVAL = 2.0
"""Seconds between two measurements."""
SAVE_INTERVAL = 30.0
"""Seconds between two records of the highest step."""
REPORT_INTERVAL = 300.0
"""Seconds between two reports, which change the job's Comment and run.log."""

Gauge = Callable[[], int | None]
"""Returns how far the run is now; None: not known. It may raise OSError, or hang."""


def file_size(path: str) -> int:
    """Return the size of a file in bytes, at most `MAX_STEP`; 0: it is not there.

    Raises:
        OSError: it cannot be examined.
    """
    try:
        return min(os.stat(path).st_size, MAX_STEP)  # noqa: PTH116 - called every 2 s
    except FileNotFoundError:
        return 0


def highest_measured(plan: RunPlan, earlier: Sequence[AttemptDir]) -> int:
    """Return the highest step of the attempts before this one.

    Args:
        plan: the phase.
        earlier: they; the first one starts from the size that a file has already.

    Raises:
        OSError: the file cannot be examined.
    """
    steps = [step for attempt in earlier for step in measured_steps(attempt)]
    if not steps and plan.progress_unit is ProgressUnit.BYTE and plan.progress.file is not None:
        return file_size(plan.progress.file)
    return max(steps, default=0)


def measured_steps(attempt: AttemptDir) -> list[int]:
    """Return all steps in the records of an attempt; one that is missing has none."""
    start, end, measured = attempt.start(), attempt.end(), attempt.measured()
    found = (
        start.from_step if start is not None else None,
        end.step if end is not None else None,
        measured.step if measured is not None else None,
    )
    return [step for step in found if step is not None]


def make_gauge(plan: RunPlan, from_step: int, steps: OutputSteps | None) -> Gauge:
    """Return what measures the progress of an attempt that starts now.

    Args:
        plan: the phase.
        from_step: the highest step of the earlier attempts.
        steps: searches the output, if the plan has a pattern.
    """
    if steps is not None:
        return steps.highest
    path = plan.progress.file
    if path is not None:
        return lambda: file_size(path)
    began, least = time.monotonic(), plan.progress_after

    def run_time() -> int | None:
        seconds = int(time.monotonic() - began)
        return min(from_step + seconds, MAX_STEP) if seconds >= least else None

    return run_time


class ProgressMonitorThread(PeriodicThread):
    """Measures every few seconds until `finish` is called.

    Args:
        gauge: measures.
        from_step: only steps beyond it are reported.
        report: called with the highest step: the first, then every `REPORT_INTERVAL`, and the last.
        save: called with it more often.
        warn: called with a message when measuring fails.
        watch: returns a context that is entered around each measurement.
    """

    def __init__(
        self,
        gauge: Gauge,
        from_step: int,
        report: Callable[[int], None],
        save: Callable[[int], None],
        warn: Callable[[str], None],
        *,
        watch: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__("progress-monitor", "the progress cannot be measured", warn, watch)
        self._gauge = gauge
        self._highest = from_step
        self._report = _Limited(report, from_step, REPORT_INTERVAL)
        self._save = _Limited(save, from_step, SAVE_INTERVAL)

    def _pause(self, used: float) -> float:  # noqa: ARG002 - the base class's signature
        return INTERVAL

    def _look(self, *, last: bool) -> None:
        with self._failures_reported(), self._watch():
            self._highest = max(self._highest, self._gauge() or 0)
        self._save(self._highest, last=last)
        self._report(self._highest, last=last)


class _Limited:
    """Passes on a growing number: the first growth at once, then not more often than stated."""

    def __init__(self, pass_on: Callable[[int], None], known: int, interval: float) -> None:
        self._pass_on = pass_on
        self._known = known
        self._interval = interval
        self._next = 0.0

    def __call__(self, number: int, *, last: bool) -> None:
        now = time.monotonic()
        if number <= self._known or (now < self._next and not last):
            return
        self._known, self._next = number, now + self._interval
        self._pass_on(number)
