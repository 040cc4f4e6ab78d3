"""Carry out a verdict: the intent goes to disk, then Slurm is asked, then the outcome is kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from slurm_restart.control.journal import Journal
from slurm_restart.core.history import (
    Action,
    AppliedEvent,
    EndKey,
    Event,
    IntendEvent,
    OutcomeEvent,
)
from slurm_restart.core.operations import (
    SAFE_START,
    JobUpdate,
    Operation,
    Verb,
    operations_after_update,
    operations_before_update,
    update_operations,
)
from slurm_restart.core.plan_end import EndPlan
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.hostlist import format_hostlist
from slurm_restart.slurm.interface import Slurm

MAX_TOLD = 2000


@dataclass(frozen=True, kw_only=True)
class OperationBatch:
    """Operations on one job for one end, and the shape that they give it."""

    job_id: int
    end: EndKey
    operations: tuple[Operation, ...]
    job_update: JobUpdate


def start_text(start_at: int, now: int, *, at_once: int = SAFE_START) -> str:
    """A begin time as Slurm is to be told it: relative, so that two clocks do not matter."""
    return f"now+{max(start_at - now, at_once)}"


def end_operations(job_id: int, end: EndKey, verdict: EndPlan, now: int) -> OperationBatch:
    """The operations of a verdict while the job is COMPLETING, or has ended."""
    action, job_update = verdict.decision.action, verdict.job_update
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
            *operations_after_update(action, verdict.size, job_update),
        )
    if action is Action.RELEASE and verdict.size.num_nodes is not None:
        # A release sets the begin time anew.
        again = (("StartTime", start_text(verdict.start_at, now)),)
        operations = (*operations, Operation(verb=Verb.UPDATE, fields=again))
    return OperationBatch(
        job_id=job_id, end=end, operations=operations, job_update=verdict.job_update
    )


def _applied_values(job_update: JobUpdate, done: Sequence[Operation], now: int) -> AppliedEvent:
    """The record of the values that Slurm has taken."""
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
    slurm: Slurm, journal: Journal, order: OperationBatch, *events: Event
) -> tuple[str, ...]:
    """Carry out an order under the journal's lock; returns what Slurm refused.

    `events` go to disk together with the intent. A requeue that fails ends the rest; any other
    refusal leaves the other operations alone.

    Raises:
        StateError: the intent or the outcome could not be put on disk.
    """
    if not order.operations:
        journal.append(*events)
        return ()
    texts = tuple(operation.to_text() for operation in order.operations)
    now = int(time.time())
    names = order.end._asdict()
    journal.append(*events, IntendEvent(at=now, operations=texts, **names))
    done: list[Operation] = []
    wrong: list[str] = []
    for operation in order.operations:
        try:
            _request(slurm, order.job_id, operation)
            done.append(operation)
        except SlurmError as error:
            wrong.append(f"{operation}: {error}")
            if operation.verb is Verb.REQUEUE:
                break
    outcome = OutcomeEvent(
        at=int(time.time()),
        **names,
        done=tuple(operation.to_text() for operation in done),
        failed="; ".join(wrong)[:MAX_TOLD] or None,
    )
    journal.append(outcome, _applied_values(order.job_update, done, now))
    return tuple(wrong)
