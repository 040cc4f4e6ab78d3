"""Set up the watchdog of an attempt, as the run's settings say."""

import threading
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING

from slurm_restart.core.hang import HangReport
from slurm_restart.core.hang_rule import Health, Watch
from slurm_restart.core.job_comment import Mode
from slurm_restart.core.watchdog_settings import WatchdogMode
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.events import EndHung, Events, TrainerHung
from slurm_restart.supervise.hang_watch import HangWatch, Reactions, Watched
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.job_processes import Belonging, JobProcesses
from slurm_restart.supervise.life_signs import GENERIC_STEPS, MODEL_ZOO_STEPS, LifeSigns
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.trainer.launch import runs_model_zoo
from slurm_restart.trainer.run_plan import RunPlan

if TYPE_CHECKING:
    from slurm_restart.supervise.hang_end import HangEnd

GATHER_TIMEOUT = 120.0
"""Seconds for the report of a hang, which has shorter limits for each of its parts."""
WRITE_TIMEOUT = 5.0
"""Seconds to write the stacks."""
DIRECTORY = "hang"
"""Of the reports, in the attempt's directory."""


def make_life_signs(plan: RunPlan) -> LifeSigns | None:
    """Return what reads signs of life from the output; None: nothing needs them."""
    if plan.watchdog.mode is WatchdogMode.OFF and not plan.compile_prefetch:
        return None
    return LifeSigns(_pattern(plan))


def _pattern(plan: RunPlan) -> str:
    given = plan.watchdog.steps or plan.progress.pattern
    if given is not None:
        return given
    return MODEL_ZOO_STEPS if _is_model_zoo(plan) else GENERIC_STEPS


def _is_model_zoo(plan: RunPlan) -> bool:
    return plan.mode is not Mode.SCRIPT and runs_model_zoo(plan.command)


def _speaks(plan: RunPlan) -> bool:
    """Return whether the trainer is known to print steps; those of others are guessed."""
    given = plan.watchdog.steps or plan.progress.pattern
    return given is not None or _is_model_zoo(plan)


@frozen
class AttemptFacts:
    """What the watchdog of an attempt asks and tells the supervisor.

    Args:
        directory: the attempt's directory.
        job: the job.
        supervisor: process id of the supervisor.
        reaper: that of the reaper.
        slurm: returns the cluster.
        events: where it is put that the trainer is to be ended.
        grace: returns the seconds between TERM and KILL for a trainer that hangs.
        saved, is_blind, is_done: as in `Watched`.
        tell: tells people.
        warn: called with a line for Slurm's log.
    """

    directory: Path
    job: JobEnvironment
    supervisor: int
    reaper: int
    slurm: Callable[[], Slurm]
    events: Events
    grace: Callable[[], float]
    saved: Callable[[], int]
    is_blind: Callable[[], bool]
    is_done: Callable[[], bool]
    tell: Callable[[str], None]
    warn: Callable[[str], None]


class HungTrainer:
    """Ends the trainer for a hang, and then completes the report about it.

    Most runs need it never: what it needs is imported then, as it would take memory in all of them.

    Args:
        facts: of the attempt.
    """

    def __init__(self, facts: AttemptFacts) -> None:
        self._facts = facts
        self._end: HangEnd | None = None

    def end(self, report: HangReport) -> None:
        """End the trainer; it takes its time."""
        from slurm_restart.supervise.hang_end import HangEnd  # noqa: PLC0415

        facts = self._facts
        self._end = HangEnd(
            job=facts.job,
            reaper=facts.reaper,
            slurm=facts.slurm,
            events=facts.events,
            grace=facts.grace,
            warn=facts.warn,
        )
        self._end.run(report)

    def note_stop(self) -> None:
        """Note that the trainer is being ended for the hang."""
        if self._end is not None:
            self._end.note_stop()

    def note_end(self) -> None:
        """Note that the trainer has ended: nothing more is done about it."""
        if self._end is not None:
            self._end.note_end()

    def complete(self, report: HangReport, output: bytes) -> HangReport:
        """Return the report with the stacks that the trainer has printed, and write them down.

        Args:
            report: as it was when the hang was called.
            output: of the trainer since then.
        """
        facts = self._facts
        if self._end is None or not self._end.aborted:
            return report
        from slurm_restart.supervise.hang_stacks import add_stacks, write_stacks  # noqa: PLC0415

        completed, rest = add_stacks(report, tuple(self._end.aborted), output)
        for line in completed.lines:
            if line not in report.lines:
                facts.tell(f"hang: {line}")
        # The file system of the run directory may be what the run hangs on.
        writer = threading.Thread(
            target=write_stacks,
            args=(facts.directory / DIRECTORY, completed, facts.warn),
            kwargs={"rest": rest},
            daemon=True,
        )
        writer.start()
        writer.join(WRITE_TIMEOUT)
        return completed


def make_hang_watch(
    plan: RunPlan, output: LifeSigns, facts: AttemptFacts, end_hung: Callable[[HangReport], None]
) -> HangWatch:
    """Return the thread that watches the trainer; it ends only that of a job that restarts.

    Args:
        plan: the phase.
        output: signs of life in the output.
        facts: of the attempt.
        end_hung: ends the trainer for a hang.
    """
    belonging = Belonging(
        job_id=facts.job.job_id,
        node=facts.job.node_name,
        roots=(facts.reaper,),
        outside=(facts.supervisor,),
        cluster=facts.job.cluster,
    )

    def report(reason: str, found: list[HangReport]) -> None:
        # Most runs need it never: imported early, it would take memory in all of them.
        from slurm_restart.supervise.hang_report import HangReporter  # noqa: PLC0415

        reporter = HangReporter(
            job=facts.job,
            reaper=facts.reaper,
            directory=facts.directory / DIRECTORY,
            slurm=facts.slurm,
            warn=facts.warn,
        )
        found.append(reporter.report(reason))

    def gather(reason: str) -> HangReport:
        # The file system that the package is on may be what the run hangs on.
        found: list[HangReport] = []
        thread = threading.Thread(
            target=report, args=(reason, found), name="hang-gather", daemon=True
        )
        thread.start()
        thread.join(GATHER_TIMEOUT)
        return found[0] if found else HangReport(reason=reason)

    def end(report: HangReport, health: Health) -> None:
        if health is Health.HUNG:
            end_hung(report)
        else:
            facts.events.put(TrainerHung(StopReason.SLOW, report))
            facts.events.put(EndHung(group=True))

    return HangWatch(
        Watch(settings=plan.watchdog, speaks=_speaks(plan)),
        Watched(
            output=output,
            processes=JobProcesses(belonging),
            saved=facts.saved,
            is_blind=facts.is_blind,
            is_done=facts.is_done,
        ),
        Reactions(gather=gather, end=end, tell=facts.tell),
        facts.warn,
        ends=plan.watchdog.ends_runs(restarts=plan.policy is not None),
    )
