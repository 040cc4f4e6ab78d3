"""Apply a plan to a job: write what is wanted to disk, ask Slurm, write the outcome to disk."""

import time
from collections.abc import Callable, Sequence
from dataclasses import replace
from typing import assert_never

from slurm_restart.control.journal import Journal
from slurm_restart.core.fit_pending import Plan
from slurm_restart.core.journal_events import AppliedEvent, EndKey, IntendEvent, OutcomeEvent
from slurm_restart.core.slurm_operations import START, Operation, Verb, begin_at
from slurm_restart.errors import JobNotPendingError, SlurmError
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import JobName, Slurm

MAX_FAILED = 2000
"""Characters of Slurm's refusals that the journal keeps."""


def apply_plan(
    slurm: Slurm,
    journal: Journal,
    job: JobName,
    end: EndKey,
    plan: Plan,
    *,
    before_start: Callable[[], None] = lambda: None,
) -> str | None:
    """Apply a plan under the journal's lock; return the requests that Slurm refused, with why.

    What is wanted goes to disk first. After a refused requeue, or once the job has started, nothing
    else is requested; after any other refusal the remaining requests are made. None: nothing was
    refused.

    Args:
        slurm: the cluster.
        journal: the run's, locked.
        job: the job's name.
        end: the end that the plan follows.
        plan: its events and requests.
        before_start: called, with the plan on disk, before the job may begin.

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
    begun: AppliedEvent | None = None
    for planned in operations:
        if START in dict(planned.fields):
            before_start()
        operation, begins = _timed(planned, plan)
        try:
            _request(slurm, job, operation)
            done.append(operation)
            begun = begins or begun
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
        *_applied_values(plan, done, now, begun),
    )
    return failed


def _timed(planned: Operation, plan: Plan) -> tuple[Operation, AppliedEvent | None]:
    """Return a request as it has to be made now, and the event for its begin time (None: none)."""
    wanted, now = plan.job_update.start_time, int(time.time())
    start = dict(planned.fields).get(START)
    if start is None or wanted is None:
        return planned, None
    start, begin = begin_at(start, wanted, now)
    fields = tuple((name, start if name == START else value) for name, value in planned.fields)
    return replace(planned, fields=fields), AppliedEvent(at=now, start_time=begin)


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


def _applied_values(
    plan: Plan, done: Sequence[Operation], now: int, begun: AppliedEvent | None
) -> tuple[AppliedEvent, ...]:
    """Return the journal events for the values that Slurm has accepted."""
    taken = {name for operation in done for name, _ in operation.fields}
    wanted = plan.job_update
    values = AppliedEvent(
        at=now,
        exc_nodes=wanted.own_nodes if "ExcNodeList" in taken else None,
        num_nodes=wanted.num_nodes if "NumNodes" in taken else None,
        held=False if Verb.RELEASE in {operation.verb for operation in done} else None,
    )
    if begun is None:
        return (values,)
    if begun.at == now:
        return (replace(values, start_time=begun.start_time),)
    return values, begun


def _request(slurm: Slurm, job: JobName, operation: Operation) -> None:
    match operation.verb:
        case Verb.REQUEUE:
            slurm.requeue(job)
        case Verb.UPDATE:
            slurm.update(job, dict(operation.fields))
        case Verb.HOLD:
            slurm.hold(job)
        case Verb.RELEASE:
            slurm.release_job(job)
        case Verb.CANCEL:
            slurm.cancel(job)
        case _:
            assert_never(operation.verb)
