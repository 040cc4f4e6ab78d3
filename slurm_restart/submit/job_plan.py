"""Plan the job of one phase of a config."""

import re
from collections.abc import Mapping
from dataclasses import replace
from pathlib import Path

from slurm_restart.core.checkpoint_url import is_url
from slurm_restart.core.job_comment import Mode
from slurm_restart.frozen import frozen
from slurm_restart.submit.argv import GivenOption, value_of
from slurm_restart.submit.compile_prefetch import compiles_ahead
from slurm_restart.submit.context import SubmitContext
from slurm_restart.submit.health import health_check
from slurm_restart.submit.progress import progress_measure
from slurm_restart.submit.size import JobSize, size_of
from slurm_restart.submit.stop_signal import stop_request, warning_signal
from slurm_restart.submit.submission import PhaseJob, restart_policy
from slurm_restart.submit.watchdog import watchdog_settings
from slurm_restart.trainer.checkpoint_layout import (
    DefaultNames,
    GivenCheckpoint,
    checkpoint_layout,
    place_of,
)
from slurm_restart.trainer.launch import default_command
from slurm_restart.trainer.phases import Backend, Phase
from slurm_restart.trainer.run_plan import (
    CheckpointFormat,
    CheckpointLayout,
    RunPlan,
)
from slurm_restart.trainer.settings import Settings
from slurm_restart.trainer.yaml_lines import Document

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@frozen
class SubmissionRequest:
    """What the user requested, for all phases."""

    document: Document
    mode: Mode
    settings: Settings
    options: Mapping[str, GivenOption]
    num_csx: int | None
    arguments: tuple[str, ...]
    work_dir: Path
    run: str
    phases: int

    @property
    def rule_files(self) -> tuple[Path, ...]:
        """Paths of the run's own rules over log lines."""
        base = Path(self.document.path).parent
        return tuple(base / name for name in self.settings.rules)


def plan_job(request: SubmissionRequest, phase: Phase, context: SubmitContext) -> PhaseJob:
    """Return the job of a phase. `prepare` checks it."""
    settings = request.settings
    nodes = value_of(request.options, "nodes") or ""
    # On other backends num_csx is the number of nodes itself.
    per_node = settings.csx_per_node if phase.backend is Backend.CSX else 1
    size = size_of(
        phase,
        requested_csx=request.num_csx,
        requested_nodes=int(nodes) if re.fullmatch(r"[1-9][0-9]{0,5}", nodes, re.ASCII) else None,
        csx_per_node=per_node,
    )
    whole = not isinstance(request.document.data["trainer"], list)
    plan = _plan(request, phase, size, context)
    return PhaseJob(
        plan=replace(plan, compile_prefetch=compiles_ahead(plan, phase, settings)),
        can_shrink=size.can_shrink,
        name=_CONTROL.sub("_", Path(request.document.path).stem),
        options=request.options,
        setup=settings.setup,
        rules=request.rule_files,
        config=phase.config,
        config_text=request.document.text if whole else None,
    )


def _plan(
    request: SubmissionRequest, phase: Phase, size: JobSize, context: SubmitContext
) -> RunPlan:
    settings = request.settings
    model_dir = request.work_dir / phase.model_dir
    stop_signal, stop_receiver = stop_request(request.options, settings.stop_signal, script=False)
    initial = phase.ckpt_path
    if initial is not None and not is_url(initial):
        initial = str(request.work_dir / initial)
    checkpoint = _checkpoint_rule(request, phase, model_dir)
    return RunPlan(
        run=request.run,
        phase=phase.index,
        phases=request.phases,
        mode=request.mode,
        num_nodes=size.num_nodes,
        min_nodes=size.min_nodes,
        spares=settings.spares or 0,
        num_csx=size.num_csx,
        csx_per_node=size.csx_per_node,
        policy=None
        if phase.autorestart is None
        else restart_policy(settings, phase.autorestart.max_num_restarts, site=context.site),
        command=settings.command or default_command(request.mode),
        arguments=request.arguments,
        model_dir=str(model_dir),
        work_dir=str(request.work_dir),
        config_path=str(context.cwd / request.document.path),
        checkpoint=checkpoint,
        checkpoint_steps=phase.checkpoint_steps,
        keep_checkpoints=None if checkpoint.is_remote else phase.keep_checkpoints,
        initial_checkpoint=initial,
        autoload_last_checkpoint=phase.autoload_last_checkpoint,
        loop=phase.loop,
        validates_at_end=phase.validates_at_end,
        user_comment=value_of(request.options, "comment") or "",
        signal_lead=warning_signal(request.options).lead,
        stop_signal=stop_signal,
        stop_receiver=stop_receiver,
        progress=progress_measure(settings, request.work_dir, model_dir),
        health_check=health_check(settings),
        leave_drained=bool(settings.leave_drained),
        watchdog=watchdog_settings(settings),
        slurm=context.slurm,
    )


def _checkpoint_rule(request: SubmissionRequest, phase: Phase, model_dir: Path) -> CheckpointLayout:
    settings = request.settings
    named, form = settings.checkpoint_directory, settings.checkpoint_format
    own = settings.checkpoint_pattern is None and settings.checkpoint_complete is None
    given = GivenCheckpoint(
        directory=None if named is None else named.replace("{model_dir}", str(model_dir)),
        pattern=settings.checkpoint_pattern,
        format=CheckpointFormat.MDL if form is None and own else form,
        complete=settings.checkpoint_complete,
        warn_after=settings.checkpoint_warn_after,
        saved=settings.checkpoint_saved,
    )
    # If a step is saved again, the time follows its number.
    before, _, after = phase.checkpoint_name.partition("{step}")
    step = r"(?P<step>\d+)(?P<stamp>_\d{8}_\d{6})?"
    names = DefaultNames(
        regex=f"{re.escape(before)}{step}{re.escape(after)}", written=phase.checkpoint_name
    )
    default = place_of(request.work_dir, phase.checkpoint_root or str(model_dir))
    return checkpoint_layout(given, request.work_dir, default, names)
