"""pyslurm's objects as facts, and requests to Slurm by name; runs in the child of `rpc`."""

from typing import Any

from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.slurm.values import parse_reason, parse_state


def ask(question: str, argument: Any) -> Any:
    """Carry out one request.

    Raises:
        pyslurm.RPCError: Slurm refused it, or did not answer.
    """
    import pyslurm  # noqa: PLC0415 - an extra; loads libslurm

    match question:
        case "cluster_name":
            return pyslurm.slurmctld.Config.load().cluster_name
        case "ping":
            return pyslurm.slurmctld.ping_primary().is_responding
        case "jobs":
            found = map(to_job, pyslurm.Jobs.load().values())
            return tuple(job for job in found if argument in (None, job.uid))
        case "nodes":
            return tuple(map(to_node, pyslurm.Nodes.load().values()))
        case "requeue" | "hold" | "release":
            # hold() without a mode: hold(mode="user") crashes the process.
            return getattr(pyslurm.Job(argument), question)()
        case _:
            raise ValueError(question)


def to_job(shown: Any) -> Job:
    """A job without its exit code, which pyslurm shows less 128 where it is more than that.

    `state` is None while COMPLETING, since pyslurm shows the flag only.
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
        # Before the end it is a guess: a year ahead where there is no limit.
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
        is_array=shown.array_id is not None,
        std_out=shown.standard_output,
        work_dir=shown.working_directory,
    )


def to_node(shown: Any) -> NodeState:
    """A node."""
    base, *flags = shown.state.split("+")
    return NodeState(
        name=shown.name,
        state=base,
        flags=frozenset(flags),
        reason=shown.reason or "",
        reason_time=shown.reason_time,
        partitions=frozenset(shown.partitions),
        features=frozenset(shown.active_features),
    )
