"""How far an attempt has got: the monitor of its checkpoints or of its measured progress."""

import time
from collections.abc import Callable, Sequence
from contextlib import nullcontext

from slurm_restart.core.program_start import MIN_STEPS, KnownProgress
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.supervise.absence_warning import AbsenceWarning
from slurm_restart.supervise.checkpoint_monitor import CheckpointMonitor, CheckpointMonitorThread
from slurm_restart.supervise.checkpoint_watch import CheckpointWatch
from slurm_restart.supervise.output_saved import OutputSaved
from slurm_restart.supervise.output_steps import OutputSteps
from slurm_restart.supervise.own_comment import OwnComment
from slurm_restart.supervise.periodic_thread import PeriodicThread
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.progress_marks import ProgressMarks
from slurm_restart.supervise.progress_monitor import ProgressMonitorThread, make_gauge
from slurm_restart.supervise.recorder import Recorder
from slurm_restart.supervise.retention import Retention
from slurm_restart.supervise.slurm_log import SlurmLog
from slurm_restart.supervise.stall_monitor import StallMonitor
from slurm_restart.trainer.attempt_records import Measured, Saved, highest_step
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.runlog import MAIN, run_name

_TRAINING_STEP = r"Train Device=\S{1,64}, Step=(\d+)"
"""The Model Zoo's line of a step."""


class AttemptProgress:
    """Knows the step that an attempt has reached, and reports each further one.

    Args:
        run_dir: the phase's directory.
        plan: the phase.
        prepared: the attempt.
        recorder: gets a record of each step.
        comment: gets the highest step of the run.
        log: gets a message when files cannot be read.
        stalls: is told of accesses to files.
        watches: each is told of each checkpoint but that of the last step.
    """

    def __init__(
        self,
        run_dir: RunDir,
        plan: RunPlan,
        prepared: PreparedAttempt,
        *,
        recorder: Recorder,
        comment: OwnComment,
        log: SlurmLog,
        stalls: StallMonitor,
        watches: Sequence[CheckpointWatch] = (),
    ) -> None:
        self._run_dir = run_dir
        self._plan = plan
        self._prepared = prepared
        self._recorder = recorder
        self._comment = comment
        self._log = log
        self._stalls = stalls
        self._watches = watches
        start = prepared.start
        known = start.checkpoint is not None or start.measured
        self.step: int | None = start.from_step if known else None
        """Step of the newest complete checkpoint, or the highest that was measured."""
        self.advances = 0
        """How often `shown` has risen."""
        self._steps: OutputSteps | None = None
        self._marks = ProgressMarks()
        self._told = False
        """Whether progress of this attempt has been written to the Comment."""
        self.saved = (
            OutputSaved(plan.checkpoint, start.attempt) if plan.checkpoint.is_remote else None
        )
        """Searches the output for checkpoints at a URL; None: they are on a file system."""

    @property
    def reached(self) -> int | None:
        """The highest step of the run; the attempt may have started before it."""
        return highest_step(self._prepared.start, self.step)

    @property
    def is_from_output(self) -> bool:
        """Whether no checkpoints on a file system show how far the attempt is."""
        return self._prepared.start.measured or self.saved is not None

    @property
    def step_pattern(self) -> str | None:
        """What `monitor` needs the steps in the output for; None: for nothing.

        Without known checkpoints they are the progress, else they show that one is overdue.
        """
        plan = self._plan
        if self._prepared.start.measured:
            return plan.progress.pattern
        if plan.mode.is_evaluation or not plan.checkpoint_steps:
            return None
        return plan.progress.pattern or _TRAINING_STEP

    @property
    def shown(self) -> int:
        """A number that grows with the progress, as far as that is a sign of life of the trainer.

        The time for which an attempt has lasted is none.
        """
        if self._prepared.start.unit is ProgressUnit.SECOND:
            return 0
        return self.step or 0

    @property
    def is_done(self) -> bool:
        """Whether the last step was reached."""
        last = self._prepared.start.last_step
        return last is not None and (self.step or 0) >= last

    def known(self, seconds: float) -> KnownProgress:
        """Return how far the program got, for the judgement of its log.

        Args:
            seconds: between its start and its last output.
        """
        start = self._prepared.start
        made = start.to_exceed is not None and self.shown > start.to_exceed
        printed = None if self._steps is None else self._steps.highest()
        trained = printed is not None and printed - (start.from_step or 0) >= MIN_STEPS
        went_on = self._marks.went_on
        return KnownProgress(made=made or trained, seconds=seconds, went_on=went_on)

    def _tell(self, step: int | None) -> None:
        """Write the highest step of the run to the Comment; the first progress at once.

        If this process dies, the hook knows nothing else of it.
        """
        beyond = self._prepared.start.to_exceed
        if not self._told and beyond is not None and step is not None and step > beyond:
            self._told = True
            self._comment.flush(0, step=step)
        else:
            self._comment.update(step=step)

    def _reach(self, step: int) -> None:
        before, self.step = self.shown, step
        if self.shown > before:
            self.advances += 1
            self._marks.note()

    def warn(self, text: str) -> None:
        """Tell people what is wrong with the attempt."""
        self._recorder.record_warning(self._prepared.attempt, text)

    def monitor(
        self, steps: OutputSteps | None, printed: Callable[[], int] = int
    ) -> PeriodicThread:
        """Return the thread that follows the progress.

        Args:
            steps: searches the output for `step_pattern`, if there is one.
            printed: returns the number of lines of the output so far.
        """
        self._steps, self._marks = steps, ProgressMarks(printed)
        if self._prepared.start.measured:
            return self._progress_monitor(steps)
        return self._checkpoint_monitor(steps)

    def _checkpoint_monitor(self, steps: OutputSteps | None) -> CheckpointMonitorThread:
        plan, attempt = self._plan, self._prepared.attempt
        retention = Retention(
            plan,
            self._run_dir,
            attempt,
            before=self._prepared.before,
            report=lambda text: self._recorder.log(MAIN, text),
        )

        def report(saved: Saved) -> None:
            if plan.mode.is_evaluation:
                return  # an evaluation writes none; another run did
            self._reach(max(saved.step, self.step or 0))
            self._recorder.record_checkpoint(attempt, saved)
            self._tell(self.reached)
            retention.saved(saved)
            start = self._prepared.start
            if saved.step != start.last_step:
                made = start.to_exceed is not None and saved.step > start.to_exceed
                name = saved.path.rpartition("/")[2]
                for watch in self._watches:
                    watch.saved(f"checkpoint {name}", made_progress=made)

        absence = AbsenceWarning(
            plan.checkpoint,
            lambda text: self._recorder.record_warning(attempt, text),
            interval=plan.checkpoint_steps,
            step=lambda: None if steps is None else steps.highest(),
        )
        if plan.mode.is_evaluation:
            absence.stop()  # it writes none
        directory = plan.checkpoint.directory
        return CheckpointMonitorThread(
            self.saved or CheckpointMonitor(plan.checkpoint, self._prepared.present),
            report,
            self._log.write,
            absence,
            nullcontext if self.saved else lambda: self._stalls.access(directory),
        )

    def _progress_monitor(self, steps: OutputSteps | None) -> ProgressMonitorThread:
        plan, start, attempt = self._plan, self._prepared.start, self._prepared.attempt
        name, from_step = run_name(start.attempt), start.from_step or 0

        def report(step: int) -> None:
            self._reach(step)
            self._recorder.log(name, f"progress: {start.unit.format(step)}")
            self._tell(step)

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
