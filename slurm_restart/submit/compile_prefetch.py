"""The compile prefetch of a submission: whether there is one, and what is wrong with asking."""

from collections.abc import Iterable

from slurm_restart.core.compile_sizes import sizes_left
from slurm_restart.core.job_comment import Mode
from slurm_restart.submit.submission import PhaseJob
from slurm_restart.trainer.launch import can_compile_only, runs_model_zoo
from slurm_restart.trainer.phases import Backend, Phase
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.settings import Settings

_SETTING = "compile_prefetch"


def compiles_ahead(plan: RunPlan, phase: Phase, settings: Settings) -> bool:
    """Return whether smaller sizes of a phase are compiled while it executes."""
    if settings.compile_prefetch is False or _reason_against(plan, phase) is not None:
        return False
    return can_compile_only(plan.command, plan.arguments)


def _reason_against(plan: RunPlan, phase: Phase) -> str | None:
    """Return why nothing is to be compiled ahead; None: something may be."""
    if plan.mode.is_evaluation:
        return "an evaluation is not restarted with a size that was compiled ahead"
    if plan.policy is None:
        return "the job does not restart"
    if plan.min_nodes >= plan.num_nodes:
        return "no restart may have fewer nodes"
    if phase.backend is not Backend.CSX:
        return f"nothing is compiled for backend_type {phase.backend.value}"
    return None


def compile_problems(settings: Settings, jobs: Iterable[PhaseJob]) -> list[str]:
    """Return why a compile prefetch that is asked for is not possible with the trainer."""
    if not settings.compile_prefetch:
        return []
    where = settings.origins.get(_SETTING, _SETTING)
    for plan in (job.plan for job in jobs):
        if plan.mode is Mode.SCRIPT or not runs_model_zoo(plan.command):
            return [f"{where}: expected the Model Zoo's `cszoo fit` as the trainer"]
        if not plan.mode.is_evaluation and not can_compile_only(plan.command, plan.arguments):
            alone = "`cszoo fit {config}` alone as the command, which compiles"
            hint = "without a launcher, and lines before it in slurm.setup"
            return [f"{where}: expected {alone} ({hint}), got {plan.command!r}"]
    return []


def compile_warnings(plan: RunPlan, phase: Phase, settings: Settings) -> list[str]:
    """Return a warning if a compile prefetch is asked for and has no effect."""
    reason = _reason_against(plan, phase) if settings.compile_prefetch else None
    where = settings.origins.get(_SETTING, _SETTING)
    return [] if reason is None else [f"{where}: not used, as {reason}"]


def describe_compiles(plan: RunPlan) -> str | None:
    """Return which sizes are compiled ahead, for people; None: none is."""
    if not plan.compile_prefetch:
        return None
    sizes = sizes_left(plan.num_nodes, plan.min_nodes, ())
    return f"num_csx {' and '.join(str(plan.csx_of(size)) for size in sizes)}"
