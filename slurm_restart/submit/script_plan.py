"""Plan the job of a batch script."""

import shlex
from collections.abc import Mapping
from pathlib import Path

from slurm_restart.core.job_comment import Mode
from slurm_restart.frozen import frozen
from slurm_restart.submit.argv import GivenOption, value_of
from slurm_restart.submit.batch_script import BatchScript
from slurm_restart.submit.context import SubmitContext
from slurm_restart.submit.health import health_check
from slurm_restart.submit.progress import progress_measure
from slurm_restart.submit.script_size import ScriptSize
from slurm_restart.submit.stop_signal import stop_request, warning_signal
from slurm_restart.submit.submission import PhaseJob, restart_policy
from slurm_restart.submit.watchdog import watchdog_settings
from slurm_restart.trainer.checkpoint_layout import GivenCheckpoint, checkpoint_layout
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout, LoopFacts, RunPlan
from slurm_restart.trainer.rundir import SCRIPT
from slurm_restart.trainer.settings import Settings

MAX_RESTARTS = 3
"""Restarts in a row without progress, unless the user or the site says otherwise."""
RUN_DIR = "csx-restart"
"""Where run directories are made, in the job's directory, unless something else is said."""
_ANY_STEP = r"(?P<step>\d+)"


@frozen
class ScriptRequest:
    """What the user requested for a batch script."""

    script: BatchScript
    arguments: tuple[str, ...]
    settings: Settings
    options: Mapping[str, GivenOption]
    """Options of sbatch, from all places."""
    size: ScriptSize
    checkpoint: CheckpointLayout
    work_dir: Path
    run: str

    @property
    def rule_files(self) -> tuple[Path, ...]:
        """Paths of the run's own rules over log lines."""
        return tuple(self.work_dir / name for name in self.settings.rules)

    @property
    def run_dirs(self) -> Path:
        """The directory in which the run directory is made."""
        return self.work_dir / (self.settings.script_run_dir or RUN_DIR)

    @property
    def restarts(self) -> bool:
        """Whether the job restarts: --no-requeue is Slurm's word for a job that must not."""
        return "no-requeue" not in self.options


def plan_script(request: ScriptRequest, context: SubmitContext) -> PhaseJob:
    """Return the job of a batch script. `prepare_script` checks it."""
    settings, size, options = request.settings, request.size, request.options
    allowed = settings.script_max_restarts
    stop_signal, stop_receiver = stop_request(options, settings.stop_signal, script=True)
    plan = RunPlan(
        run=request.run,
        phase=0,
        phases=1,
        mode=Mode.SCRIPT,
        num_nodes=size.num_nodes,
        min_nodes=size.min_nodes,
        spares=0 if size.is_fixed else settings.spares or 0,
        fixed_size=size.is_fixed,
        num_csx=size.num_nodes,
        csx_per_node=1,
        policy=restart_policy(
            settings, MAX_RESTARTS if allowed is None else allowed, site=context.site
        )
        if request.restarts
        else None,
        command=_command(request.script),
        arguments=request.arguments,
        model_dir=str(request.run_dirs),
        work_dir=str(request.work_dir),
        config_path=str(context.cwd / request.script.path),
        checkpoint=request.checkpoint,
        checkpoint_steps=None,
        initial_checkpoint=None,
        autoload_last_checkpoint=True,
        loop=LoopFacts(),
        user_comment=value_of(options, "comment") or "",
        array=value_of(options, "array"),
        signal_lead=warning_signal(options).lead,
        stop_signal=stop_signal,
        stop_receiver=stop_receiver,
        progress=progress_measure(settings, request.work_dir, request.run_dirs),
        health_check=health_check(settings),
        leave_drained=bool(settings.leave_drained),
        watchdog=watchdog_settings(settings),
        slurm=context.slurm,
    )
    return PhaseJob(
        plan=plan,
        can_shrink=size.can_shrink,
        name=request.script.name,
        options=options,
        setup=(),
        rules=request.rule_files,
        user_script=request.script.data,
    )


def _command(script: BatchScript) -> str:
    """Return the launch template: the script in the run directory, run by its interpreter.

    The interpreter is named, as a file system may be mounted without the right to execute files.
    """
    words = [shlex.quote(word) for word in script.interpreter]
    program = " ".join(words).replace("{", "{{").replace("}", "}}")
    return f"exec {program} {{run_dir}}/{SCRIPT}"


def script_checkpoints(settings: Settings, work_dir: Path) -> tuple[CheckpointLayout, list[str]]:
    """Return the layout of a script's checkpoints, and the problem of what the user gave."""
    given = GivenCheckpoint(
        directory=settings.checkpoint_directory,
        pattern=settings.checkpoint_pattern,
        format=settings.checkpoint_format,
        complete=settings.checkpoint_complete,
        warn_after=settings.checkpoint_warn_after,
        saved=settings.checkpoint_saved,
    )
    unknown = CheckpointLayout(
        directory=str(work_dir), pattern=_ANY_STEP, format=CheckpointFormat.NONE
    )
    if given.directory is None and given.pattern is None and given.format is None:
        return unknown, []
    try:
        return checkpoint_layout(given, work_dir, work_dir), []
    except ValueError as error:
        origin = settings.origins.get("checkpoint_directory", "--checkpoint")
        got = "nothing" if given.directory is None else repr(given.directory)
        return unknown, [f"{origin}: expected {error}, got {got}"]
