"""Set up the watchdog of an attempt, as the run's settings say."""

import threading
from collections.abc import Callable
from pathlib import Path

from slurm_restart.core.hang import HangReport
from slurm_restart.core.hang_rule import Health, Watch
from slurm_restart.core.job_comment import Mode
from slurm_restart.core.watchdog_settings import WatchdogMode
from slurm_restart.frozen import frozen
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.events import Events, TrainerHung
from slurm_restart.supervise.hang_watch import HangWatch, Reactions, Watched
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.job_processes import Belonging, JobProcesses
from slurm_restart.supervise.life_signs import GENERIC_STEPS, MODEL_ZOO_STEPS, LifeSigns
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.trainer.launch import runs_model_zoo
from slurm_restart.trainer.run_plan import RunPlan

GATHER_TIMEOUT = 120.0
"""Seconds for the report of a hang, which has shorter limits for each of its parts."""
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
        events: where the hang is put.
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
    saved: Callable[[], int]
    is_blind: Callable[[], bool]
    is_done: Callable[[], bool]
    tell: Callable[[str], None]
    warn: Callable[[str], None]


def make_hang_watch(plan: RunPlan, output: LifeSigns, facts: AttemptFacts) -> HangWatch:
    """Return the thread that watches the trainer; it ends only that of a job that restarts."""
    belonging = Belonging(
        job_id=facts.job.job_id,
        node=facts.job.node_name,
        roots=(facts.reaper,),
        outside=(facts.supervisor,),
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
        stop = StopReason.HUNG if health is Health.HUNG else StopReason.SLOW
        facts.events.put(TrainerHung(stop, report))

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
        ends=plan.watchdog.mode is WatchdogMode.ON and plan.policy is not None,
    )
