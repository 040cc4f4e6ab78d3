"""Adjust one pending job to the nodes that are usable now, under its journal's lock."""

import time
from dataclasses import dataclass, replace

from slurm_restart.control.apply import OperationBatch, apply_operations
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import reserved_nodes, run_key
from slurm_restart.control.journal import Journal, open_journal
from slurm_restart.control.process_end import publish
from slurm_restart.core.history import History
from slurm_restart.core.job import Job, JobState, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import EndEvent, OutcomeEvent
from slurm_restart.core.plan_pending import PendingCase, plan_pending
from slurm_restart.slurm.format_hostlist import format_hostlist

WHOLE_SECOND = 2
"""Seconds from SubmitTime, which Slurm rounds down, until a full second has passed for certain."""


@dataclass(frozen=True, kw_only=True)
class PendingJob:
    """A managed pending job and the facts that its plan rests on."""

    job: Job
    comment_record: CommentRecord
    nodes: tuple[NodeState, ...]
    startable: bool | None = None
    """Whether a full second has passed since PENDING; None: computed from SubmitTime."""


def adjust_pending(controller: Controller, pending: PendingJob) -> int | None:
    """Adjust a pending job; return when its next attempt is due, in epoch seconds.

    None: no restart was decided for the job, it is not pending any more, or the site only observes;
    nothing was changed.

    Raises:
        StateError: the journal cannot be used; Slurm was not asked for anything.
    """
    key = run_key(controller.cluster, pending.job, pending.comment_record)
    with open_journal(controller.site.state_dir, key) as journal:
        history = journal.history
        if not history.ends or not history.ends[-1].action.restarts or controller.site.observe:
            return None
        # What another process changed before it gave up the lock must not look like a person's act.
        job = controller.slurm.job(pending.job.job_id)
        if job.state is not JobState.PENDING or job.completing:
            return None
        last = history.ends[-1]
        _close_intent(journal, history, last)
        _adjust(controller, replace(pending, job=job), journal)
        publish(controller, journal, key)
        return last.start_at


def _close_intent(journal: Journal, history: History, last: EndEvent) -> None:
    # The job is pending, so it was requeued. Any other operation that was interrupted is made up
    # for by the adjustment.
    if history.carried_out != last.key and last.action.acts:
        now = int(time.time())
        journal.append(OutcomeEvent(at=now, done=("seen pending",), **last.key._asdict()))


def _adjust(controller: Controller, pending: PendingJob, journal: Journal) -> None:
    log = controller.log(pending.job.job_id)
    job, now = pending.job, int(time.time())
    startable = pending.startable
    if startable is None:
        startable = job.submit_time is not None and now - job.submit_time >= WHOLE_SECOND
    plan = plan_pending(
        PendingCase(
            job=job,
            comment_record=pending.comment_record,
            history=journal.history,
            nodes=pending.nodes,
            reserved=reserved_nodes(controller.slurm, job),
            site=controller.site.policy,
            now=now,
            startable=startable,
        )
    )
    batch = OperationBatch(
        job_id=job.job_id,
        end=journal.history.ends[-1].key,
        operations=plan.operations(format_hostlist(plan.job_update.exc_nodes or ())),
        job_update=plan.job_update,
    )
    for operation in batch.operations:
        log(f"adjust: {operation}")
    for refused in apply_operations(controller.slurm, journal, batch, *plan.events):
        log(f"refused by Slurm: {refused}")
