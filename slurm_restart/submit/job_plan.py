"""From one phase of a config to the plan of its job."""

import re
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm_restart.core.job_comment import Mode
from slurm_restart.submit.argv import GivenOption
from slurm_restart.submit.merge import signal_lead
from slurm_restart.submit.size import JobSize, size_of
from slurm_restart.submit.submission import PhaseJob
from slurm_restart.trainer.launch import default_command
from slurm_restart.trainer.phases import Backend, Phase
from slurm_restart.trainer.plan import (
    CheckpointFormat,
    CheckpointLayout,
    RestartPolicy,
    RunPlan,
    SlurmAccess,
)
from slurm_restart.trainer.settings import Settings
from slurm_restart.trainer.yaml_lines import Document

_CONTROL = re.compile(r"[\x00-\x1f\x7f]")


@dataclass(frozen=True, kw_only=True)
class SubmitContext:
    """What a submission takes from the process: passed in, so that tests choose it."""

    environ: Mapping[str, str]
    cwd: Path
    slurm: SlurmAccess


@dataclass(frozen=True, kw_only=True)
class SubmissionRequest:
    """What was asked for, over all phases."""

    document: Document
    mode: Mode
    settings: Settings
    uses: Mapping[str, GivenOption]
    num_csx: int | None
    arguments: tuple[str, ...]
    work_dir: Path
    run: str
    phases: int

    @property
    def rule_files(self) -> tuple[Path, ...]:
        """The run's own rules over log lines."""
        base = Path(self.document.path).parent
        return tuple(base / name for name in self.settings.rules)


def value_of(uses: Mapping[str, GivenOption], name: str) -> str | None:
    """The value of an option; None where it is not given, or has none."""
    return uses[name].value if name in uses else None


def plan_job(order: SubmissionRequest, phase: Phase, context: SubmitContext) -> PhaseJob:
    """The job of a phase. What is wrong with it is found elsewhere."""
    settings = order.settings
    nodes = value_of(order.uses, "nodes") or ""
    # On other backends num_csx is the number of nodes itself.
    per_node = settings.csx_per_node if phase.backend is Backend.CSX else 1
    size = size_of(
        phase,
        asked_csx=order.num_csx,
        asked_nodes=int(nodes) if re.fullmatch(r"[1-9][0-9]{0,5}", nodes, re.ASCII) else None,
        csx_per_node=per_node,
    )
    whole = not isinstance(order.document.data["trainer"], list)
    return PhaseJob(
        plan=_plan(order, phase, size, context),
        size=size,
        name=_CONTROL.sub("_", Path(order.document.path).stem),
        uses=order.uses,
        setup=settings.setup,
        rules=order.rule_files,
        config=phase.config,
        config_text=order.document.text if whole else None,
    )


def _plan(order: SubmissionRequest, phase: Phase, size: JobSize, context: SubmitContext) -> RunPlan:
    settings = order.settings
    model_dir = order.work_dir / phase.model_dir
    initial = None if phase.ckpt_path is None else str(order.work_dir / phase.ckpt_path)
    return RunPlan(
        run=order.run,
        phase=phase.index,
        phases=order.phases,
        mode=order.mode,
        num_nodes=size.num_nodes,
        min_nodes=size.min_nodes,
        num_csx=size.num_csx,
        csx_per_node=size.csx_per_node,
        policy=_policy(phase, settings),
        command=settings.command or default_command(order.mode),
        arguments=order.arguments,
        model_dir=str(model_dir),
        work_dir=str(order.work_dir),
        config_path=str(context.cwd / order.document.path),
        checkpoint=_checkpoint_rule(order, phase, model_dir),
        checkpoint_steps=phase.checkpoint_steps,
        initial_checkpoint=initial,
        autoload_last_checkpoint=phase.autoload_last_checkpoint,
        loop=phase.loop,
        user_comment=value_of(order.uses, "comment") or "",
        signal_lead=signal_lead(order.uses),
        slurm=context.slurm,
    )


def _policy(phase: Phase, settings: Settings) -> RestartPolicy | None:
    if phase.autorestart is None:
        return None
    return RestartPolicy(
        max_restarts=phase.autorestart.max_num_restarts,
        stop_on_repeat=settings.stop_on_repeat,
        shrink_after=settings.shrink_after,
        give_up_after=settings.give_up_after,
        exclude_for=settings.exclude_for,
    )


def _checkpoint_rule(order: SubmissionRequest, phase: Phase, model_dir: Path) -> CheckpointLayout:
    settings = order.settings
    directory = model_dir
    if settings.checkpoint_directory is not None:
        named = settings.checkpoint_directory.replace("{model_dir}", str(model_dir))
        directory = order.work_dir / named
    elif phase.checkpoint_root is not None:
        directory = order.work_dir / phase.checkpoint_root
    # A step that is saved again gets the time behind its number.
    before, _, after = phase.checkpoint_name.partition("{step}")
    step = r"(?P<step>\d+)(?P<stamp>_\d{8}_\d{6})?"
    own = settings.checkpoint_pattern is None and settings.checkpoint_complete is None
    return CheckpointLayout(
        directory=str(directory),
        pattern=settings.checkpoint_pattern or f"{re.escape(before)}{step}{re.escape(after)}",
        format=CheckpointFormat.MDL if own else CheckpointFormat.FILES,
        complete=settings.checkpoint_complete,
    )
