"""Observe a managed job: everything that its plan depends on, read from Slurm under the lock."""

import time
from dataclasses import dataclass, field, replace

from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import (
    await_failed_prolog,
    end_from_hook,
    end_from_record,
    left_out_nodes,
    named_nodes,
    reserved_nodes,
)
from slurm_restart.control.hook_environment import HookEnvironment
from slurm_restart.control.kept_answers import KEEP, KeptAnswers
from slurm_restart.core.attempt_stage import Stage, find_stage, reports_end
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.end_rules import PROLOG_REASON
from slurm_restart.core.fit_pending import Observation
from slurm_restart.core.history import Exclusion, History
from slurm_restart.core.job import Job, JobEnd, JobState, NodeState, PartitionState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import StartedEvent
from slurm_restart.core.plan import EarlierPhase, RunView
from slurm_restart.errors import CsxError
from slurm_restart.frozen import frozen


@dataclass(kw_only=True)
class Snapshot:
    """What is read once for several jobs: nodes, configuration and all jobs, each when needed."""

    controller: Controller
    _nodes: tuple[NodeState, ...] | None = None
    _nodes_at: float = 0.0
    _cluster: ClusterFacts | None = None
    _cluster_at: float = 0.0
    _partitions: tuple[PartitionState, ...] | None = None
    _jobs: dict[int | None, tuple[Job, ...]] = field(default_factory=dict)

    def nodes(self, *, since: float = 0.0) -> tuple[NodeState, ...]:
        """Return all nodes, as they were at `since` (epoch seconds) or later."""
        if self._nodes is None or self._nodes_at < since:
            self._drop("nodes", since)
            self._nodes_at = time.time()
            self._nodes = self.controller.slurm.nodes()
        return self._nodes

    @property
    def _kept_answers(self) -> KeptAnswers | None:
        slurm = self.controller.slurm
        return slurm if isinstance(slurm, KeptAnswers) else None

    def cluster(self, *, since: float = 0.0) -> ClusterFacts:
        """Return the facts of the configuration, as they were at `since` or later."""
        if self._cluster is None or self._cluster_at < since:
            self._drop("cluster", since)
            self._cluster_at = time.time()
            self._cluster = self.controller.slurm.cluster_facts()
        return self._cluster

    def partitions(self) -> tuple[PartitionState, ...]:
        """Return all partitions."""
        if self._partitions is None:
            self._partitions = self.controller.slurm.partitions()
        return self._partitions

    def jobs(self, uid: int | None = None) -> tuple[Job, ...]:
        """Return all jobs (of one user)."""
        if None in self._jobs:
            return tuple(job for job in self._jobs[None] if uid in (None, job.uid))
        if uid not in self._jobs:
            self._jobs[uid] = self.controller.slurm.jobs(uid=uid)
        return self._jobs[uid]

    def read_job(self, job_id: int, *, since: float) -> Job:
        """Return one job with every field, and read the nodes at the same time if needed.

        Args:
            job_id: the job.
            since: epoch seconds; what was asked about the job before is not used.
        """
        kept = self._kept_answers
        if kept is not None:
            kept.forget(job_id, since)
        if self._nodes is not None:
            job = self.controller.slurm.job(job_id)
            if kept is not None:
                kept.forget(job_id)
            return job
        self._nodes_at = time.time() - KEEP
        job, self._nodes = self.controller.slurm.job_end_facts(job_id)
        return job

    def _drop(self, name: str, since: float) -> None:
        if since and (kept := self._kept_answers) is not None:
            kept.drop(name, before=since)


@frozen
class RunContext:
    """What is known of a run beside its job and its journal."""

    hook: HookEnvironment | None = None
    exclusions: tuple[Exclusion, ...] = ()
    """In force in the run's earlier phases."""
    earlier: EarlierPhase | None = None
    resumed_as: int | None = None
    born: int = 0
    source: str = "hook"


@dataclass(frozen=True)
class _Ended:
    """The sources of what is known about an end. `hook`: only that of this end."""

    job: Job
    record: CommentRecord
    history: History
    hook: HookEnvironment | None


def observe(
    snapshot: Snapshot, job: Job, record: CommentRecord, history: History, context: RunContext
) -> RunView:
    """Return the view of a job that `plan` works on."""
    controller = snapshot.controller
    # A job leaves COMPLETING when Slurm has found its dead node down: nodes that were read before
    # do not show it yet. SubmitTime is that moment, in whole seconds.
    nodes = snapshot.nodes(since=(job.submit_time or 0) + 1 if job.state is JobState.PENDING else 0)
    # Before the requeue no part of the plan depends on the configuration, and the job waits; but
    # whether a list was cleared by a person or lost by slurmctld does.
    ending = job.completing and job.state is not JobState.PENDING
    ending = ending and not history.applied.exc_nodes
    # slurmctld may have been started since the configuration was read, with an older list.
    lost = not set(history.applied.exc_nodes or ()) <= set(job.exc_nodes)
    cluster = ClusterFacts() if ending else snapshot.cluster(since=time.time() if lost else 0.0)
    partitions = () if ending else snapshot.partitions()
    hook = context.hook if _is_current(context.hook, job, record, history) else None
    late = context.hook is not None and hook is None
    if hook is not None and _may_have_failed_in_prolog(snapshot, job, record, history):
        nodes = await_failed_prolog(hook, nodes, lambda: snapshot.nodes(since=time.time()))
    return RunView(
        history=history,
        seen=Observation(
            job=job,
            comment_record=record,
            nodes=nodes,
            reserved=reserved_nodes(controller.slurm, job),
            cluster=cluster,
            site=controller.site.policy,
            now=time.time(),
            partitions=partitions,
            node_limit=_node_limit(snapshot, job, history),
            margin=controller.site.limits.margin,
            run_exclusions=context.exclusions,
        ),
        end=_end(controller, _Ended(job, record, history, hook), nodes),
        named=named_nodes(record, controller.site.systems),
        left_out=left_out_nodes(record),
        source="sweep" if late else context.source,
        observe=controller.site.observe,
        born=context.born,
        stale_running_after=controller.site.limits.stale_running_after,
        earlier=context.earlier,
        resumed_as=context.resumed_as,
        end_lost=_is_lost(hook, job, record),
    )


def _may_have_failed_in_prolog(
    snapshot: Snapshot, job: Job, record: CommentRecord, history: History
) -> bool:
    """Whether an end that is not judged yet may be that of an attempt whose prolog failed."""
    at = find_stage(job, history, record, ())
    if not at.unjudged:
        return False
    if job.reason == PROLOG_REASON:
        return True
    # With nohold_on_prolog_fail Slurm shows no reason, and no supervisor has reported anything.
    unseen = at.stage is Stage.REQUEUED and record.submit != job.submit_time
    return unseen and not snapshot.cluster().holds_on_prolog_fail


def _node_limit(snapshot: Snapshot, job: Job, history: History) -> int | None:
    """Return how many nodes limits leave, where Slurm does not check the job's size itself."""
    resized = bool(history.intended.sizes)
    if not resized and (job.state is not JobState.PENDING or job.completing):
        return None
    return snapshot.controller.slurm.node_limit(job) if snapshot.cluster().limits_enforced else None


def _end(controller: Controller, view: _Ended, nodes: tuple[NodeState, ...]) -> JobEnd:
    """Return the end of the last attempt, as far as it is known."""
    job, hook = view.job, view.hook
    before = _started_before(job, view.history)
    if hook is not None:
        end = end_from_hook(hook, job, nodes)
    else:
        end = end_from_record(
            controller.cluster,
            job,
            nodes,
            submit_time=job.submit_time or 0,
            known_nodes=before.nodes if before is not None else (),
        )
    if job.completing or job.state is not JobState.PENDING:
        return end
    if reports_end(view.record, job):
        return end  # slurmctld, killed at once, has lost the start of the attempt that has ended
    # A pending job has another SubmitTime than the attempt before.
    submit = before.submit_time if before is not None else view.record.submit
    return end if submit is None else replace(end, submit_time=submit)


def _is_current(
    hook: HookEnvironment | None, job: Job, record: CommentRecord, history: History
) -> bool:
    """Whether the hook is that of the last end; one that was late belongs to an attempt before."""
    if hook is None:
        return False
    ended = find_stage(job, history, record, ()).ended
    return (ended is not None and hook.restarts - ended in (0, 1)) or _is_lost(hook, job, record)


def _is_lost(hook: HookEnvironment | None, job: Job, record: CommentRecord) -> bool:
    """Whether the hook has run for the attempt that Slurm shows RUNNING, or not yet started.

    slurmctld was killed before it had saved the end, or the start (measured).
    """
    if hook is None or job.state not in (JobState.RUNNING, JobState.PENDING) or job.completing:
        return False
    return reports_end(record, job) and record.restarts == hook.restarts == job.restarts


def _started_before(job: Job, history: History) -> StartedEvent | None:
    """Return the start of the attempt before a pending job, if the journal has it."""
    started = history.started
    if job.completing or job.state is not JobState.PENDING or started is None:
        return None
    return started if started.restarts == job.restarts - 1 else None


def require_submit_time(job: Job) -> None:
    """Raise CsxError for a job of which Slurm shows no SubmitTime."""
    if job.submit_time is None:
        raise CsxError(f"job {job.job_id}: Slurm shows no SubmitTime")
