"""Gather the facts of an end from the hook's environment, the job record and the comment record."""

import time
from collections.abc import Callable, Mapping
from dataclasses import replace

from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.control.journal import RunKey
from slurm_restart.core.array_task import run_of_task
from slurm_restart.core.hostlist import expand
from slurm_restart.core.job import Job, JobEnd, JobState, NodeState
from slurm_restart.core.job_comment import MAX_NAMED, CommentRecord
from slurm_restart.errors import CsxError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm.interface import Slurm

PROLOG_NODE_WAIT = 5.0
"""Seconds within which slurmctld drains a node whose prolog failed, after it has held the job."""
_PROLOG_NODE_PAUSE = 0.1
"""Seconds between two looks at the nodes."""


def down_nodes(names: frozenset[str], nodes: tuple[NodeState, ...]) -> tuple[NodeState, ...]:
    """Return those of the named nodes that Slurm shows down, or drained after a failed prolog."""
    return tuple(node for node in nodes if node.name in names and (node.down or node.prolog_failed))


def _has_drained(names: frozenset[str], nodes: tuple[NodeState, ...]) -> bool:
    return any(node.drained and node.name in names for node in nodes)


def await_failed_prolog(
    env: HookEnvironment,
    nodes: tuple[NodeState, ...],
    read_nodes: Callable[[], tuple[NodeState, ...]],
) -> tuple[NodeState, ...]:
    """Return the nodes once they show whose prolog failed; at the latest after PROLOG_NODE_WAIT.

    slurmd sends two messages: one that the job cannot be started, on which slurmctld holds the job
    and runs the hook, and then its registration, on which slurmctld drains the node (_rpc_prolog in
    src/slurmd/slurmd/req.c). On a busy machine the hook is sooner than the second.

    Args:
        env: the hook's environment.
        nodes: all nodes, as they were read last.
        read_nodes: reads them again.
    """
    names = frozenset(expand(env.nodelist))
    limit = time.monotonic() + PROLOG_NODE_WAIT
    while not _shows_failed_prolog(names, nodes) and time.monotonic() < limit:
        time.sleep(_PROLOG_NODE_PAUSE)
        nodes = read_nodes()
    return nodes


def _shows_failed_prolog(names: frozenset[str], nodes: tuple[NodeState, ...]) -> bool:
    return any(node.prolog_failed and node.name in names for node in nodes)


def _was_preempted(job: Job) -> bool:
    """Return whether Slurm shows a preemption of the attempt that the record describes.

    slurmctld resets PreemptTime at each requeue (batch_requeue_fini in src/slurmctld/job_mgr.c).
    The start time of a pending job is an expected one.
    """
    if job.preempt_time is None:
        return False
    pending = job.state is JobState.PENDING
    return pending or job.start_time is None or job.preempt_time >= job.start_time


def end_from_hook(env: HookEnvironment, job: Job, nodes: tuple[NodeState, ...]) -> JobEnd:
    """Return the end that slurmctld runs the hook for; its environment overrides the job record.

    Raises:
        CsxError: Slurm shows no SubmitTime.
    """
    if job.submit_time is None:
        raise CsxError(f"job {job.job_id}: Slurm shows no SubmitTime")
    names = expand(env.nodelist)
    return replace(
        end_from_record(env.cluster, job, nodes, submit_time=job.submit_time),
        exit_code=env.exit_code,
        signal=env.signal,
        env_restarts=env.restarts,
        nodes=names,
        down_nodes=down_nodes(frozenset(names), nodes),
        drained=_has_drained(frozenset(names), nodes),
        host_lost=_had_lost_batch_host(job, names),
    )


def _had_lost_batch_host(job: Job, names: tuple[str, ...]) -> bool:
    """Return whether Slurm has kept the job without its batch host (--no-kill) before this end.

    A requeued job shows its batch host until it leaves COMPLETING, and the hook's list has only the
    nodes that were left (measured on 22.05, 24.11 and 26.05).

    Args:
        job: the job as Slurm shows it: perhaps in its next attempt already.
        names: the nodes in the hook's environment.
    """
    known = job.completing and bool(names) and job.batch_host is not None
    return known and job.batch_host not in names


def end_from_record(
    cluster: str,
    job: Job,
    nodes: tuple[NodeState, ...],
    *,
    submit_time: int,
    known_nodes: tuple[str, ...] = (),
) -> JobEnd:
    """Return an end whose hook did not run, from the job record alone.

    Args:
        cluster: name of the cluster.
        job: the job as Slurm shows it.
        nodes: all nodes.
        submit_time: epoch seconds, the SubmitTime of the attempt.
        known_nodes: the attempt's nodes where the record shows none: a job that is pending again
            has none.
    """
    names = job.nodes or known_nodes
    return JobEnd(
        cluster=cluster,
        job_id=job.job_id,
        uid=job.uid,
        submit_time=submit_time,
        exit_code=job.exit_code,
        signal=job.signal,
        reason=job.reason,
        state=job.state,
        restarts=job.restarts,
        flags=job.flags,
        preempted=_was_preempted(job),
        reserved=job.reservation is not None,
        nodes=names,
        time_limit=job.time_limit,
        run_time=job.run_time,
        down_nodes=down_nodes(frozenset(names), nodes),
        drained=_has_drained(frozenset(names), nodes),
    )


def named_nodes(
    comment_record: CommentRecord, systems: Mapping[str, str] | None = None
) -> tuple[str, ...]:
    """Return the nodes that the comment record names; none if it names too many or is invalid.

    Args:
        comment_record: what the job reports.
        systems: the site's nodes by CS system; such a node stands in place of its system.
    """
    names = _expand_named(comment_record.nodes)
    return tuple(dict.fromkeys((systems or {}).get(name, name) for name in names))


def left_out_nodes(comment_record: CommentRecord) -> tuple[str, ...]:
    """Return the nodes that attempts in the allocation have left out, as the job reports them."""
    return _expand_named(comment_record.left_out)


def _expand_named(hostlist: str | None) -> tuple[str, ...]:
    try:
        names = () if hostlist is None else expand(hostlist)
    except CsxError:
        return ()
    return names if len(names) <= MAX_NAMED else ()


def reserved_nodes(slurm: Slurm, job: Job) -> tuple[str, ...] | None:
    """Return the nodes of the job's reservation; None: the job has no reservation.

    A reservation that Slurm does not know (deleted) has no nodes: the job has to wait.

    Raises:
        SlurmUnavailableError: the controller does not answer.
    """
    if not job.reservation:
        return None
    try:
        return slurm.reservation_nodes(job.reservation)
    except SlurmUnavailableError:
        raise
    except SlurmError:
        return ()


def run_key(cluster: str, job: Job, comment_record: CommentRecord) -> RunKey:
    """Return the key of the job's run."""
    run = run_of_task(comment_record.run, job.array_task_id)
    return RunKey(cluster=cluster, job_id=job.job_id, uid=job.uid, run=run)
