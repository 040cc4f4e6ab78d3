"""Make the run directory of one task of a job array, in that of the array."""

from dataclasses import replace

from slurm_restart.safe_files import read_bounded
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.run_plan import RunPlan
from slurm_restart.trainer.rundir import SCRIPT, RunDir

MAX_SCRIPT_BYTES = 64 << 20


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
    replace(plan, array_task=task).save(target.plan)
    return target
