"""Apply a plan to a job: write what is wanted to disk, ask Slurm, write the outcome to disk."""

import itertools
import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from dataclasses import replace
from typing import assert_never

from slurm_restart.control.journal import Journal
from slurm_restart.core.fit_pending import Plan
from slurm_restart.core.journal_events import AppliedEvent, EndKey, IntendEvent, OutcomeEvent
from slurm_restart.core.slurm_operations import START, Operation, Verb, begin_at
from slurm_restart.errors import JobNotPendingError, SlurmError, SlurmUnavailableError
from slurm_restart.slurm.format_hostlist import format_hostlist
from slurm_restart.slurm.interface import JobName, Slurm

MAX_FAILED = 2000
"""Characters of Slurm's refusals that the journal keeps."""
TOGETHER = frozenset({"ExcNodeList", "NumNodes", "NumCPUs", START, "AdminComment"})
"""Fields that Slurm takes in one request for a requeued job, COMPLETING or not (measured)."""


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
    requests = _Requests(slurm, job, plan, before_start)
    requests.make(operations)
    failed = "; ".join(requests.refusals)[:MAX_FAILED] or None
    journal.append(
        OutcomeEvent(
            at=int(time.time()),
            **end._asdict(),
            done=tuple(operation.to_text() for operation in requests.done),
            failed=failed,
        ),
        *_applied_values(plan, requests.done, now, requests.begun),
    )
    return failed


class _Requests:
    """The requests of a plan, and what Slurm made of them."""

    def __init__(
        self, slurm: Slurm, job: JobName, plan: Plan, before_start: Callable[[], None]
    ) -> None:
        self._slurm, self._job, self._plan = slurm, job, plan
        self._before_start = before_start
        self.done: list[Operation] = []
        self.refusals: list[str] = []
        self.begun: AppliedEvent | None = None

    def make(self, operations: Sequence[Operation]) -> None:
        """Make them in this order; updates in a row as one request, or alone if Slurm refuses it.

        A call of scontrol takes 5 ms of CPU time; to judge an end takes 7 (measured in a storm).
        """
        with suppress(JobNotPendingError):  # it has started meanwhile: nothing is left to change
            for planned in _in_one_request(operations):
                self._ask(planned)
                if self.refusals and planned[0].verb is Verb.REQUEUE:
                    return

    def _ask(self, planned: Sequence[Operation]) -> None:
        timed = [self._timed(operation) for operation in planned]
        asked = [operation for operation, _ in timed]
        fields = tuple(field for operation in asked for field in operation.fields)
        try:
            _request(self._slurm, self._job, replace(asked[0], fields=fields))
        except JobNotPendingError:
            raise
        except SlurmError as error:
            if len(planned) == 1 or isinstance(error, SlurmUnavailableError):
                self.refusals += [f"{operation}: {error}" for operation in asked]
                return
            for operation in planned:
                self._ask((operation,))
        else:
            self.done += asked
            self.begun = next((begins for _, begins in timed if begins is not None), self.begun)

    def _timed(self, planned: Operation) -> tuple[Operation, AppliedEvent | None]:
        if START in dict(planned.fields):
            self._before_start()
        return _timed(planned, self._plan)


def _in_one_request(operations: Sequence[Operation]) -> Iterator[tuple[Operation, ...]]:
    """Yield the operations in their order, those together that can be one request."""

    def kind(operation: Operation) -> tuple[Verb, bool]:
        return operation.verb, {name for name, _ in operation.fields} <= TOGETHER

    for (verb, together), group in itertools.groupby(operations, key=kind):
        if verb is Verb.UPDATE and together:
            yield tuple(group)
        else:
            yield from ((operation,) for operation in group)


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
