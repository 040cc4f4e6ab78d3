"""The identity of a task of a job array, which is a run of its own."""


def run_of_task(run: str, task: int | None) -> str:
    """Return the run id of a task, 16 hexadecimal digits.

    The comment record of all tasks holds the run id of their submission. The job id of a task does
    not name its run: slurmctld gives it to a task when that first starts, and where it is killed
    before it has saved that, another task may get the same one.

    Args:
        run: the run id of the submission.
        task: the task's number (SLURM_ARRAY_TASK_ID); None: the job is no task of an array.
    """
    if task is None:
        return run
    import hashlib  # noqa: PLC0415 - 3 MB of OpenSSL, in the hook and in every supervisor

    return hashlib.sha256(f"{run}_{task}".encode()).hexdigest()[:16]
