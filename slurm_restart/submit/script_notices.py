"""Warnings and notes about a valid submission of a batch script."""

from collections.abc import Iterator

from slurm_restart.submit.health import health_warnings
from slurm_restart.submit.notices import condition
from slurm_restart.submit.plural import count
from slurm_restart.submit.progress import describe_progress, progress_warnings
from slurm_restart.submit.script_plan import ScriptRequest
from slurm_restart.submit.submission import PhaseJob
from slurm_restart.submit.unquoted_checkpoint import unquoted_checkpoint
from slurm_restart.trainer.checkpoints import find
from slurm_restart.trainer.run_plan import CheckpointFormat, RunPlan


def script_warnings(request: ScriptRequest, plan: RunPlan) -> Iterator[str]:
    """Yield a warning for each setting that is valid but probably a mistake, with its place."""
    script = request.script
    if script.foreign is not None and "ignore-pbs" not in request.options:
        yield f"{script.foreign} lines are not read: write their options as #SBATCH"
    yield from unquoted_checkpoint(script, plan.checkpoint)
    yield from progress_warnings(plan, request.settings)
    yield from health_warnings(plan, request.settings)


def script_notes(
    request: ScriptRequest, job: PhaseJob, *, observes: bool | None = False
) -> Iterator[str]:
    """Yield a line about the restarts, the progress that they are counted by, and the start."""
    plan = job.plan
    if plan.policy is None:
        yield f"{request.options['no-requeue'].origin}: the job does not restart"
        return
    fewer = f", with at least {count(plan.min_nodes, 'node')}" if job.can_shrink else ""
    restarts = count(plan.policy.max_restarts, "restart") + plan.policy.recovery.where
    spares = f"; {count(plan.spares, 'spare node')} beside {plan.num_nodes}" if plan.spares else ""
    when = condition(plan.policy, observes=observes)
    yield f"{when}at most {restarts} in a row without progress{fewer}{spares}"
    yield _progress(plan)


def _progress(plan: RunPlan) -> str:
    if plan.checkpoint.format is CheckpointFormat.NONE:
        return (
            "no --checkpoint given: every attempt starts the script anew; progress is "
            f"{describe_progress(plan)}"
        )
    newest = _newest(plan)
    if newest is None:
        return "a new checkpoint is progress; a restart gets it in CSX_RESTART_CHECKPOINT"
    return (
        f"{newest} is there already: the first attempt gets the newest complete checkpoint in "
        "CSX_RESTART_CHECKPOINT, as a restart does"
    )


def _newest(plan: RunPlan) -> str | None:
    try:
        return next((checkpoint.path for checkpoint in find(plan.checkpoint)), None)
    except OSError:
        return None
