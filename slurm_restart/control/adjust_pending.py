"""Fit one pending job to today's nodes, under its journal's lock."""

import time
from dataclasses import dataclass

from slurm_restart.control.apply import OperationBatch, apply_operations
from slurm_restart.control.controller import Controller
from slurm_restart.control.end_facts import reserved_nodes, run_key
from slurm_restart.control.journal import Journal, open_journal
from slurm_restart.control.process_end import publish
from slurm_restart.core.history import EndEvent, History, OutcomeEvent
from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.plan_pending import PendingCase, plan_pending
from slurm_restart.slurm.hostlist import format_hostlist

WHOLE_SECOND = 2
"""Seconds after SubmitTime, which is cut to whole ones, in which a full one has passed."""


@dataclass(frozen=True, kw_only=True)
class PendingJob:
    """A managed pending job and the facts around it."""

    job: Job
    comment_record: CommentRecord
    nodes: tuple[NodeState, ...]
    startable: bool | None = None
    """Whether a full second has passed since PENDING; None: judge by the clock."""


def adjust_pending(controller: Controller, waiting: PendingJob) -> int | None:
    """Fit a pending job; returns when its next attempt is due, None where nothing was decided.

    Raises:
        StateError: the journal cannot be used; nothing was done.
    """
    key = run_key(controller.cluster, waiting.job, waiting.comment_record)
    with open_journal(controller.site.state_dir, key) as journal:
        history = journal.history
        if not history.ends or not history.ends[-1].action.restarts or controller.site.observe:
            return None
        last = history.ends[-1]
        _close_intent(journal, history, last)
        _adjust(controller, waiting, journal)
        publish(controller, journal, key)
        return last.start_at


def _close_intent(journal: Journal, history: History, last: EndEvent) -> None:
    # The job is pending, so the requeue has happened, whoever asked for it; the rest of an order
    # that was cut short is what an adjustment does anyway.
    if history.settled != last.key and last.action.acts:
        now = int(time.time())
        journal.append(OutcomeEvent(at=now, done=("seen pending",), **last.key._asdict()))


def _adjust(controller: Controller, waiting: PendingJob, journal: Journal) -> None:
    log = controller.log(waiting.job.job_id)
    job, now = waiting.job, int(time.time())
    startable = waiting.startable
    if startable is None:
        startable = job.submit_time is not None and now - job.submit_time >= WHOLE_SECOND
    wanted = plan_pending(
        PendingCase(
            job=job,
            comment_record=waiting.comment_record,
            history=journal.history,
            nodes=waiting.nodes,
            reserved=reserved_nodes(controller.slurm, job),
            site=controller.site.policy,
            now=now,
            startable=startable,
        )
    )
    order = OperationBatch(
        job_id=job.job_id,
        end=journal.history.ends[-1].key,
        operations=wanted.operations(format_hostlist(wanted.job_update.exc_nodes or ())),
        job_update=wanted.job_update,
    )
    for operation in order.operations:
        log(f"adjust: {operation}")
    for refused in apply_operations(controller.slurm, journal, order, *wanted.events):
        log(f"refused by Slurm: {refused}")
