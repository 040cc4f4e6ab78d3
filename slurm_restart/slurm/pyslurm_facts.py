"""Answer requests with pyslurm, and convert its objects; runs in the child of `pyslurm_backend`.

The attributes are those of pyslurm 25.11.2. With a release that lacks one, `pyslurm_backend` uses
Slurm's commands.
"""

from typing import Any

from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.slurm.parse_values import parse_reason, parse_state


def answer(question: str, argument: Any) -> Any:
    """Return the answer to a request.

    Args:
        question: `jobs`, `nodes` or `ping`.
        argument: for `jobs`: uid of the user whose jobs are wanted; None: all jobs.

    Raises:
        pyslurm.RPCError: the controller refused the request, or did not answer.
    """
    import pyslurm  # noqa: PLC0415 - an extra; loads libslurm

    match question:
        case "ping":
            return pyslurm.slurmctld.ping_primary().is_responding
        case "jobs":
            found = map(to_job, pyslurm.Jobs.load().values())
            return tuple(job for job in found if argument in (None, job.uid))
        case "nodes":
            return tuple(map(to_node, pyslurm.Nodes.load().values()))
        case _:
            raise ValueError(question)


def to_job(shown: Any) -> Job:
    """Convert a `pyslurm.Job`, except for its exit code: pyslurm subtracts 128 from it above 128.

    `state` is None while COMPLETING, because pyslurm shows only the flag.
    """
    state, flags = parse_state([shown.state])
    ended = state is None or state.is_final
    limit = shown.time_limit
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
        # Before the end this is an estimate: a year ahead where there is no limit.
        end_time=shown.end_time if ended or (limit and state is JobState.RUNNING) else None,
        preempt_time=shown.preempt_time,
        time_limit=None if limit is None else limit * 60,
        run_time=shown.run_time,
        restarts=shown.requeue_count or 0,
        requeue=bool(shown.is_requeueable),
        num_nodes=shown.num_nodes,
        nodes=expand(shown.allocated_nodes or ""),
        exc_nodes=expand(shown.excluded_nodes or ""),
        batch_host=shown.batch_host,
        partitions=tuple((shown.partition or "").split(",")),
        reservation=shown.reservation,
        features=",".join(shown.constraints) or None,
        priority=shown.priority,
        array_job_id=shown.array_id,
        array_task_id=shown.array_task_id,
        std_out=shown.standard_output,
        work_dir=shown.working_directory,
    )


def to_node(shown: Any) -> NodeState:
    """Convert a `pyslurm.Node`, except for its Gres, which pyslurm shows in a form of its own."""
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
        tmp_disk=shown.temporary_disk,
        last_busy=shown.last_busy_time or None,
    )
