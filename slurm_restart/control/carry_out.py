"""Carry out a verdict: the intent goes to disk, then Slurm is asked, then the outcome is kept."""

import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import assert_never

from slurm_restart.control.journal import Journal
from slurm_restart.core.history import Action, EndKey, Event, IntendEvent, OutcomeEvent, WroteEvent
from slurm_restart.core.operations import (
    SAFE_START,
    Operation,
    Shape,
    Verb,
    first_operation,
    last_operation,
    update,
)
from slurm_restart.core.verdict import Verdict
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.hostlist import fold as fold_hostlist
from slurm_restart.slurm.port import Slurm

MAX_TOLD = 2000


@dataclass(frozen=True, kw_only=True)
class Order:
    """Operations on one job for one end, and the shape that they give it."""

    job_id: int
    end: EndKey
    operations: tuple[Operation, ...]
    shape: Shape


def start_text(start_at: int, now: int, *, at_once: int = SAFE_START) -> str:
    """A begin time as Slurm is to be told it: relative, so that two clocks do not matter."""
    return f"now+{max(start_at - now, at_once)}"


def order_for(job_id: int, end: EndKey, verdict: Verdict, now: int) -> Order:
    """The operations of a verdict while the job is COMPLETING, or has ended."""
    action, shape = verdict.decision.action, verdict.shape
    if action is Action.LEAVE:
        operations: tuple[Operation, ...] = ()
    else:
        begin = shape.start_time
        start = None if begin is None else start_text(begin, now)
        operations = (
            *first_operation(action),
            *update(shape, fold_hostlist(shape.exc_nodes or ()), start=start),
            *last_operation(action, verdict.fit, shape),
        )
    if action is Action.RELEASE and verdict.fit.num_nodes is not None:
        # A release sets the begin time anew.
        again = (("StartTime", start_text(verdict.start_at, now)),)
        operations = (*operations, Operation(verb=Verb.UPDATE, fields=again))
    return Order(job_id=job_id, end=end, operations=operations, shape=verdict.shape)


def _written(shape: Shape, done: Sequence[Operation], now: int) -> WroteEvent:
    """The record of the values that Slurm has taken."""
    taken = {name: value for operation in done for name, value in operation.fields}
    verbs = {operation.verb for operation in done}
    start = taken.get("StartTime")
    held = True if Verb.HOLD in verbs else False if Verb.RELEASE in verbs else None
    return WroteEvent(
        at=now,
        exc_nodes=shape.own_nodes if "ExcNodeList" in taken else None,
        num_nodes=shape.num_nodes if "NumNodes" in taken else None,
        start_time=None if start is None else now + int(start.removeprefix("now") or 0),
        held=held,
    )


def _ask(slurm: Slurm, job_id: int, operation: Operation) -> None:
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


def carry_out(slurm: Slurm, journal: Journal, order: Order, *events: Event) -> tuple[str, ...]:
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
            _ask(slurm, order.job_id, operation)
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
    journal.append(outcome, _written(order.shape, done, now))
    return tuple(wrong)
