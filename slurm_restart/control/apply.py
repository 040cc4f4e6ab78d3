"""Apply operations to a job: write the intent to disk, ask Slurm, write the outcome to disk."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from slurm_restart.control.journal import Journal
from slurm_restart.core.journal_events import (
    Action,
    AppliedEvent,
    EndKey,
    Event,
    IntendEvent,
    OutcomeEvent,
)
from slurm_restart.core.plan_end import EndPlan
from slurm_restart.core.slurm_operations import (
    SAFE_START,
    JobUpdate,
    Operation,
    Verb,
    operations_after_update,
    operations_before_update,
    update_operations,
)
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm

MAX_FAILED = 2000
"""Characters of Slurm's refusals that the journal keeps."""


@dataclass(frozen=True, kw_only=True)
class OperationBatch:
    """Operations on one job for one end, and the fields that they set."""

    job_id: int
    end: EndKey
    operations: tuple[Operation, ...]
    job_update: JobUpdate


def start_text(start_at: int, now: int, *, at_once: int = SAFE_START) -> str:
    """Return a begin time in Slurm's relative form, which does not depend on two clocks agreeing.

    Args:
        start_at: epoch seconds.
        now: epoch seconds.
        at_once: the shortest delay in seconds.
    """
    return f"now+{max(start_at - now, at_once)}"


def end_operations(job_id: int, end: EndKey, plan: EndPlan, now: int) -> OperationBatch:
    """Return the operations of a plan for a job that is COMPLETING or has ended."""
    action, job_update = plan.decision.action, plan.job_update
    if action is Action.LEAVE:
        operations: tuple[Operation, ...] = ()
    else:
        begin = job_update.start_time
        start = None if begin is None else start_text(begin, now)
        operations = (
            *operations_before_update(action),
            *update_operations(
                job_update, format_hostlist(job_update.exc_nodes or ()), start=start
            ),
            *operations_after_update(action, plan.size, job_update),
        )
    if action is Action.RELEASE and plan.size.num_nodes is not None:
        # A release sets the begin time anew.
        again = (("StartTime", start_text(plan.start_at, now)),)
        operations = (*operations, Operation(verb=Verb.UPDATE, fields=again))
    return OperationBatch(job_id=job_id, end=end, operations=operations, job_update=plan.job_update)


def _applied_values(job_update: JobUpdate, done: Sequence[Operation], now: int) -> AppliedEvent:
    """Return the journal event for the values that Slurm has accepted."""
    taken = {name: value for operation in done for name, value in operation.fields}
    verbs = {operation.verb for operation in done}
    start = taken.get("StartTime")
    held = True if Verb.HOLD in verbs else False if Verb.RELEASE in verbs else None
    return AppliedEvent(
        at=now,
        exc_nodes=job_update.own_nodes if "ExcNodeList" in taken else None,
        num_nodes=job_update.num_nodes if "NumNodes" in taken else None,
        start_time=None if start is None else now + int(start.removeprefix("now") or 0),
        held=held,
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


def apply_operations(
    slurm: Slurm, journal: Journal, batch: OperationBatch, *events: Event
) -> tuple[str, ...]:
    """Apply a batch under the journal's lock; return the operations that Slurm refused, with why.

    `events` go to disk together with the intent. After a refused requeue no further operation is
    requested; after any other refusal the remaining ones are.

    Raises:
        StateError: the intent (Slurm was not asked then) or the outcome is not on disk.
    """
    if not batch.operations:
        journal.append(*events)
        return ()
    texts = tuple(operation.to_text() for operation in batch.operations)
    now = int(time.time())
    names = batch.end._asdict()
    journal.append(*events, IntendEvent(at=now, operations=texts, **names))
    done: list[Operation] = []
    refusals: list[str] = []
    for operation in batch.operations:
        try:
            _request(slurm, batch.job_id, operation)
            done.append(operation)
        except SlurmError as error:
            refusals.append(f"{operation}: {error}")
            if operation.verb is Verb.REQUEUE:
                break
    outcome = OutcomeEvent(
        at=int(time.time()),
        **names,
        done=tuple(operation.to_text() for operation in done),
        failed="; ".join(refusals)[:MAX_FAILED] or None,
    )
    journal.append(outcome, _applied_values(batch.job_update, done, now))
    return tuple(refusals)
