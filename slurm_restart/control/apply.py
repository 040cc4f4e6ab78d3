"""Apply a plan to a job: write what is wanted to disk, ask Slurm, write the outcome to disk."""

import time
from collections.abc import Sequence
from typing import assert_never

from slurm_restart.control.journal import Journal
from slurm_restart.core.fit_pending import Plan
from slurm_restart.core.journal_events import AppliedEvent, EndKey, IntendEvent, OutcomeEvent
from slurm_restart.core.slurm_operations import Operation, Verb
from slurm_restart.errors import JobNotPendingError, SlurmError
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm

MAX_FAILED = 2000
"""Characters of Slurm's refusals that the journal keeps."""


def apply_plan(slurm: Slurm, journal: Journal, job_id: int, end: EndKey, plan: Plan) -> str | None:
    """Apply a plan under the journal's lock; return the requests that Slurm refused, with why.

    What is wanted goes to disk first. After a refused requeue, or once the job has started, nothing
    else is requested; after any other refusal the remaining requests are made. None: nothing was
    refused.

    Args:
        slurm: the cluster.
        journal: the run's, locked.
        job_id: the job.
        end: the end that the plan follows.
        plan: its events and requests.

    Raises:
        StateError: the plan (Slurm was not asked then) or the outcome is not on disk.
    """
    operations = plan.operations(format_hostlist(plan.job_update.exc_nodes or ()))
    if not operations:
        journal.append(*plan.events)
        return None
    now = int(time.time())
    journal.append(*plan.events, _intend(plan, operations, end, now))
    done: list[Operation] = []
    refusals: list[str] = []
    for operation in operations:
        try:
            _request(slurm, job_id, operation)
            done.append(operation)
        except JobNotPendingError:
            break  # it has started meanwhile: there is nothing left to change
        except SlurmError as error:
            refusals.append(f"{operation}: {error}")
            if operation.verb is Verb.REQUEUE:
                break
    failed = "; ".join(refusals)[:MAX_FAILED] or None
    journal.append(
        OutcomeEvent(
            at=int(time.time()),
            **end._asdict(),
            done=tuple(operation.to_text() for operation in done),
            failed=failed,
        ),
        _applied_values(plan, done, now),
    )
    return failed


def _intend(plan: Plan, operations: Sequence[Operation], end: EndKey, now: int) -> IntendEvent:
    wanted = plan.job_update
    return IntendEvent(
        at=now,
        **end._asdict(),
        operations=tuple(operation.to_text() for operation in operations),
        exc_nodes=None if wanted.exc_nodes is None else wanted.own_nodes,
        num_nodes=wanted.num_nodes,
        start_time=wanted.start_time,
    )


def _applied_values(plan: Plan, done: Sequence[Operation], now: int) -> AppliedEvent:
    """Return the journal event for the values that Slurm has accepted."""
    taken = {name for operation in done for name, _ in operation.fields}
    wanted = plan.job_update
    return AppliedEvent(
        at=now,
        exc_nodes=wanted.own_nodes if "ExcNodeList" in taken else None,
        num_nodes=wanted.num_nodes if "NumNodes" in taken else None,
        start_time=wanted.start_time if "StartTime" in taken else None,
        held=False if Verb.RELEASE in {operation.verb for operation in done} else None,
    )


def _request(slurm: Slurm, job_id: int, operation: Operation) -> None:
    match operation.verb:
        case Verb.REQUEUE:
            slurm.requeue(job_id)
        case Verb.UPDATE:
            slurm.update(job_id, dict(operation.fields))
        case Verb.HOLD:
            slurm.hold(job_id)
        case Verb.RELEASE:
            slurm.release_job(job_id)
        case Verb.CANCEL:
            slurm.cancel(job_id)
        case _:
            assert_never(operation.verb)
