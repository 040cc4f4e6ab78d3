"""Fit one pending job to today's nodes, under its journal's lock."""

import time
from dataclasses import dataclass

from slurm_restart.control.carry_out import Order, carry_out
from slurm_restart.control.controller import Controller
from slurm_restart.control.gather import reserved_nodes, run_key
from slurm_restart.control.handle import publish
from slurm_restart.control.journal import Journal, open_journal
from slurm_restart.core.digest import Digest
from slurm_restart.core.history import EndEvent, History, OutcomeEvent
from slurm_restart.core.job import Job, NodeState
from slurm_restart.core.refit import Pending, refit
from slurm_restart.slurm.hostlist import fold

WHOLE_SECOND = 2
"""Seconds after SubmitTime, which is cut to whole ones, in which a full one has passed."""


@dataclass(frozen=True, kw_only=True)
class Waiting:
    """A managed pending job and the facts around it."""

    job: Job
    digest: Digest
    nodes: tuple[NodeState, ...]
    startable: bool | None = None
    """Whether a full second has passed since PENDING; None: judge by the clock."""


def fit_pending(controller: Controller, waiting: Waiting) -> int | None:
    """Fit a pending job; returns when its next attempt is due, None where nothing was decided.

    Raises:
        StateError: the journal cannot be used; nothing was done.
    """
    key = run_key(controller.cluster, waiting.job, waiting.digest)
    with open_journal(controller.site.state_dir, key) as journal:
        history = journal.history
        if not history.ends or not history.ends[-1].action.restarts or controller.site.observe:
            return None
        last = history.ends[-1]
        _settle(journal, history, last)
        _fit(controller, waiting, journal)
        publish(controller, journal, key)
        return last.start_at


def _settle(journal: Journal, history: History, last: EndEvent) -> None:
    # The job is pending, so the requeue has happened, whoever asked for it; the rest of an order
    # that was cut short is what a refit does anyway.
    if history.settled != last.key and last.action.acts:
        now = int(time.time())
        journal.append(OutcomeEvent(at=now, done=("seen pending",), **last.key._asdict()))


def _fit(controller: Controller, waiting: Waiting, journal: Journal) -> None:
    trace = controller.trace(waiting.job.job_id)
    job, now = waiting.job, int(time.time())
    startable = waiting.startable
    if startable is None:
        startable = job.submit_time is not None and now - job.submit_time >= WHOLE_SECOND
    wanted = refit(
        Pending(
            job=job,
            digest=waiting.digest,
            history=journal.history,
            nodes=waiting.nodes,
            reserved=reserved_nodes(controller.slurm, job),
            site=controller.site.policy,
            now=now,
            startable=startable,
        )
    )
    order = Order(
        job_id=job.job_id,
        end=journal.history.ends[-1].key,
        operations=wanted.operations(fold(wanted.shape.exc_nodes or ())),
        shape=wanted.shape,
    )
    for operation in order.operations:
        trace(f"refit: {operation}")
    for refused in carry_out(controller.slurm, journal, order, *wanted.events):
        trace(f"refused by Slurm: {refused}")
