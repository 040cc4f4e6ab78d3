"""Make the run directory of one task of a job array, in that of the array."""

from dataclasses import replace

from slurm_restart.safe_files import read_bounded
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import SCRIPT, RunDir

MAX_SCRIPT_BYTES = 64 << 20
TASK = "%a"
"""The number of the task in the paths of an array's checkpoints and progress, as in --output."""


def make_task_directory(array: RunDir, task: int) -> RunDir:
    """Return the run directory of a task, made from that of its array unless it is complete.

    The plan is written last: a directory with a plan is complete.

    Raises:
        RecordError: the array's plan is not of the right form.
        StateError: the array's plan cannot be read.
        OSError: a file cannot be read or written.
    """
    target = array.task(task)
    if target.plan.exists():
        return target
    plan = RunPlan.load(array.plan)
    target.path.mkdir(parents=True, exist_ok=True)
    script = read_bounded(array.path / SCRIPT, MAX_SCRIPT_BYTES, follow=False)
    write_atomic(target.path / SCRIPT, script, mode=0o755)
    replace(plan_of_task(plan, task), array_task=task).save(target.plan)
    return target


def plan_of_task(plan: RunPlan, task: int) -> RunPlan:
    """Return the plan of an array with the number of a task where its paths have `TASK`."""
    number, layout = str(task), plan.checkpoint
    return replace(
        plan,
        checkpoint=replace(
            layout,
            directory=layout.directory.replace(TASK, number),
            pattern=layout.pattern.replace(TASK, number),
            complete=layout.complete and layout.complete.replace(TASK, number),
            written=layout.written.replace(TASK, number),
            saved=layout.saved and layout.saved.replace(TASK, number),
        ),
        progress=replace(
            plan.progress, file=plan.progress.file and plan.progress.file.replace(TASK, number)
        ),
    )
