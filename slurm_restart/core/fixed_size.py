"""The size of a job whose number of nodes Slurm chooses: it is never written, only judged."""

from collections.abc import Iterable

from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.node_pool import NodePool, SizeChoice


def least_nodes(job: Job, nodes: Iterable[NodeState]) -> int:
    """Return a number of nodes with fewer than which the job cannot run; it may need more.

    Too low a number leaves the job to Slurm, which starts it as soon as it can. Too high a one
    would keep it waiting. A job with `-n 8` shows one node while it is PENDING (measured on 22.05,
    24.11 and 26.05), so its CPUs count as well. While it is COMPLETING, Slurm shows the nodes and
    CPUs that the attempt had, which may be more than it needs (`-N 2-4`).

    Args:
        job: as Slurm shows it.
        nodes: all nodes of the cluster.
    """
    if job.state is not JobState.PENDING or job.completing:
        return 1
    largest = max((node.cpus or 0 for node in nodes), default=0)
    by_cpus = -(-job.num_cpus // largest) if job.num_cpus and largest else 1
    return max(job.num_nodes, by_cpus)


def judge_fixed_size(
    job: Job, nodes: Iterable[NodeState], pool: NodePool, last: EndEvent | None
) -> SizeChoice:
    """Return whether the next attempt can run, with the number of nodes that it is likely to get.

    Args:
        job: as Slurm shows it.
        nodes: all nodes of the cluster.
        pool: those that the job can have.
        last: the end before the attempt; None: no attempt has ended.
    """
    usable, needed = len(pool.usable), least_nodes(job, nodes)
    if usable < needed:
        return SizeChoice(
            num_nodes=None, reason=f"{usable} usable nodes, {needed} are needed at least"
        )
    likely = last.num_nodes if last is not None and last.num_nodes else job.num_nodes
    return SizeChoice(num_nodes=likely, reason=f"the size is fixed, and {usable} nodes are usable")
