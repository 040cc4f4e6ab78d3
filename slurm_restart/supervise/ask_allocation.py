"""Ask Slurm, in a thread, whether the job and its nodes are as they were at its start."""

import threading
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING

from slurm_restart.core.allocation import Allocation
from slurm_restart.core.job_comment import CommentRecord, parse_comment
from slurm_restart.errors import CommentRecordError, SlurmError
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.job_environment import JobEnvironment, format_left_out
from slurm_restart.trainer.run_plan import RunPlan

if TYPE_CHECKING:
    from slurm_restart.core.job import Job, NodeState

TIMEOUT = 4.0
"""Seconds to wait for Slurm's answer."""


class AllocationQuestion(threading.Thread):
    """Asks about a job and its nodes once.

    Args:
        slurm: returns the cluster.
        plan: the phase, which has a policy.
        job: the allocation at the start of the job.
        refused_sizes: numbers of nodes for which the model is known not to compile, beside those in
            the comment record.
    """

    def __init__(
        self,
        slurm: Callable[[], Slurm],
        plan: RunPlan,
        job: JobEnvironment,
        refused_sizes: Iterable[int] = (),
    ) -> None:
        super().__init__(name="allocation", daemon=True)
        self._slurm = slurm
        self._plan = plan
        self._environment = job
        self._refused_sizes = frozenset(refused_sizes)
        self._job: Job | None = None
        self._nodes: tuple[NodeState, ...] = ()
        self._others_wait = False

    def run(self) -> None:
        """Ask for the job and the nodes."""
        if self._environment.job_id is None:
            return
        try:
            slurm = self._slurm()
            self._nodes = slurm.nodes()
            job = slurm.job(self._environment.job_id)
            self._others_wait = self._requeues and _others_wait(slurm, job)
            self._job = job
        except SlurmError:
            return  # no answer: no restart in place

    @property
    def comment_record(self) -> CommentRecord | None:
        """The record of this run in the job's Comment, whose policy people may have changed."""
        if self._job is None:
            return None
        try:
            record = parse_comment(self._job.comment)
        except CommentRecordError:
            return None
        return record if record.run == self._plan.run else None

    @property
    def has_lost_nodes(self) -> bool:
        """Whether the job goes on without nodes that it started on."""
        job = self._job
        return job is not None and job.running and not set(self._environment.held) <= {*job.nodes}

    def left_out(self, nodes: Sequence[str], spares: Sequence[str]) -> str | None:
        """Return the job's other nodes, for the comment record."""
        return format_left_out(self._environment.held, nodes, spares)

    def allocation(self, *, doubt: str | None) -> Allocation:
        """Return what is known now.

        Args:
            doubt: why the supervisor itself cannot start another attempt.
        """
        policy, record = self._plan.policy, self.comment_record
        known = frozenset[int]() if record is None else record.refused_sizes
        return Allocation(
            restarts=self._environment.restarts,
            names=self._environment.nodes,
            spares=self._environment.spares,
            held=self._environment.held,
            min_nodes=None if self._plan.fixed_size else self._plan.min_nodes,
            refused_sizes=self._refused_sizes | known,
            batch_host=self._environment.node_name,
            job=self._job,
            nodes=self._nodes,
            others_wait=self._others_wait,
            is_own_run=record is not None,
            reserve=self._plan.signal_lead,
            min_time=None if policy is None else policy.relaunch_min_time,
            doubt=doubt,
            requeues=self._requeues,
        )

    @property
    def _requeues(self) -> bool:
        policy = self._plan.policy
        return policy is None or policy.recovery.requeues


def _others_wait(slurm: Slurm, job: "Job") -> bool:
    """Return whether other jobs wait for nodes of a job's partitions; where unknown, they may."""
    try:
        return slurm.others_wait(job)
    except SlurmError:
        return True
