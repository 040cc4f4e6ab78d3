"""Check that the tasks of a job array have checkpoints of their own."""

from slurm_restart.trainer.run_plan import CheckpointFormat, RunPlan
from slurm_restart.trainer.settings import Settings
from slurm_restart.trainer.task_directory import TASK


def array_problems(settings: Settings, plan: RunPlan) -> list[str]:
    """Return a problem if a task would be restarted from the checkpoint of another one."""
    layout, origins = plan.checkpoint, settings.origins
    if plan.array is None:
        return []
    problems = []
    known = layout.format is not CheckpointFormat.NONE or layout.written
    if known and TASK not in f"{layout.directory}/{layout.written}":
        origin = origins.get("checkpoint_directory", "--checkpoint")
        problems.append(
            f"{origin}: expected {TASK}, the number of the task, as in --checkpoint='{TASK}/step-"
            "{step}.pt': the tasks of --array would be restarted from checkpoints of other tasks"
        )
    if plan.progress.file is not None and TASK not in plan.progress.file:
        origin = origins.get("progress_file", "--progress-file")
        problems.append(f"{origin}: expected {TASK}, the number of the task: --array has many")
    return problems
