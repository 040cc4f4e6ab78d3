"""Answer requests with pyslurm, and convert its objects; runs in the child of `pyslurm_backend`.

The attributes are those of pyslurm 25.11.2. With a release that lacks one, `pyslurm_backend` uses
Slurm's commands.
"""

import time
from typing import Any

from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, NodeState
from slurm_restart.slurm.parse_values import parse_reason, parse_state


def answer(question: str, argument: Any) -> Any:
    """Return the answer to a request.

    Args:
        question: `jobs` or `nodes`.
        argument: for `jobs`: uid of the user whose jobs are wanted; None: all jobs.

    Returns:
        For `jobs` a tuple of jobs, with the id alone of each job that holds text which is not UTF-8
        (pyslurm cannot read it). For `nodes` a tuple of nodes, and the start times of their slurmds
        (epoch seconds, None where there has been none), in the same order.

    Raises:
        pyslurm.RPCError: the controller refused the request, or did not answer.
    """
    import pyslurm  # noqa: PLC0415 - an extra; loads libslurm

    match question:
        case "jobs":
            shown = pyslurm.Jobs.load().values()
            now = time.time()
            return tuple(_job_or_id(job, now) for job in shown if argument in (None, job.user_id))
        case "nodes":
            nodes = tuple(pyslurm.Nodes.load().values())
            return tuple(map(to_node, nodes)), tuple(node.slurmd_start_time for node in nodes)
        case _:
            raise ValueError(question)


def _job_or_id(shown: Any, now: float) -> Job | int:
    try:
        return to_job(shown, now)
    except UnicodeDecodeError:
        return int(shown.id)


def to_job(shown: Any, now: float) -> Job:
    """Convert a `pyslurm.Job`, except for exit code and standard output.

    pyslurm subtracts 128 from an exit code above 128, cuts a path after 1023 bytes, and expands it
    for tasks of an array that have never started. `state` is None while COMPLETING, because pyslurm
    shows only the flag. `now`: epoch seconds.
    """
    state, flags = parse_state([shown.state])
    limit, end = shown.time_limit, shown.end_time
    return Job(
        job_id=shown.id,
        uid=shown.user_id,
        state=state,
        flags=flags,
        reason=parse_reason(shown.state_reason or "None"),
        comment=shown.comment or "",
        admin_comment=shown.admin_comment or "",
        submit_time=shown.submit_time,
        eligible_time=shown.eligible_time,
        start_time=shown.start_time,
        # Without a limit Slurm's estimate is 136 years ahead, also while a requeued job completes.
        end_time=None if limit is None and end is not None and end > now else end,
        preempt_time=shown.preempt_time,
        time_limit=None if limit is None else limit * 60,
        run_time=shown.run_time,
        restarts=shown.requeue_count or 0,
        requeue=bool(shown.is_requeueable),
        num_nodes=shown.num_nodes,
        num_cpus=shown.cpus,
        nodes=expand(shown.allocated_nodes or ""),
        exc_nodes=expand(shown.excluded_nodes or ""),
        batch_host=shown.batch_host,
        partitions=tuple((shown.partition or "").split(",")),
        reservation=shown.reservation,
        features=",".join(shown.constraints) or None,
        priority=shown.priority,
        array_job_id=shown.array_id,
        array_task_id=_array_task_id(shown),
        work_dir=shown.working_directory,
    )


def _array_task_id(shown: Any) -> int | None:
    # pyslurm shows None for the task 0, as for the tasks that have never started.
    is_task_0 = shown.array_id is not None and shown.array_tasks_waiting is None
    return 0 if shown.array_task_id is None and is_task_0 else shown.array_task_id


def to_node(shown: Any) -> NodeState:
    """Convert a `pyslurm.Node`, except for its Gres.

    pyslurm leaves out resources whose count is a multiple of 1024 (Slurm shows 2048 as `2K`), and
    raises ValueError where these have a type.
    """
    base, *flags = shown.state.split("+")
    return NodeState(
        name=shown.name,
        state=base,
        flags=frozenset(flags),
        reason=shown.reason or "",
        reason_time=shown.reason_time,
        partitions=frozenset(shown.partitions),
        features=frozenset(shown.active_features),
        cpus=shown.total_cpus or None,
        memory=shown.real_memory,
        # pyslurm shows 0 as None.
        tmp_disk=shown.temporary_disk or 0,
        last_busy=shown.last_busy_time,
    )
