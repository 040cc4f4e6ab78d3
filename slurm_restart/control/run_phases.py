"""The phases of a run: jobs of their own with one run id, the later depending on the earlier."""

import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import replace

from slurm_restart.control.end_facts import run_key
from slurm_restart.control.journal import read_journal, run_journals
from slurm_restart.control.observe import RunContext, Snapshot
from slurm_restart.core.category import Category
from slurm_restart.core.history import Exclusion, History, replay
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, is_managed, parse_comment
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.plan import DEPENDENCY_LOST, EarlierPhase, PhaseState
from slurm_restart.errors import CommentRecordError

_ENDED_BY_PEOPLE = frozenset({JobState.CANCELLED, JobState.DEADLINE})
"""Final states of a job that waited: no end is on record."""


def concerns_later_phases(history: History) -> bool:
    """Return whether what has happened in a phase has to reach the later ones at once.

    A success does not: Slurm starts them. Where Slurm calls it PREEMPTED, the reconciler helps.
    """
    failed = _has_ended(history) and history.ends[-1].category is not Category.COMPLETED
    return failed or bool(history.excluded(time.time()))


def _has_ended(history: History) -> bool:
    return bool(history.ends) and not history.ends[-1].action.restarts


def phases_of_run(
    jobs: tuple[Job, ...], uid: int, record: CommentRecord
) -> Iterator[tuple[Job, CommentRecord]]:
    """Yield the jobs of the same user and run."""
    for job in jobs:
        if job.uid != uid or not is_managed(job.comment):
            continue
        try:
            other = parse_comment(job.comment)
        except CommentRecordError:
            continue
        if other.run == record.run:
            yield job, other


def later_phases(
    jobs: tuple[Job, ...], uid: int, record: CommentRecord
) -> Iterator[tuple[Job, CommentRecord]]:
    """Yield the pending jobs of the same user and run that come after this phase."""
    for job, other in phases_of_run(jobs, uid, record):
        if other.phase > record.phase and job.state is JobState.PENDING:
            yield job, other


def add_earlier_phases(
    shared: Snapshot, job: Job, record: CommentRecord, context: RunContext
) -> RunContext:
    """Return the context with what the earlier phases of a job's run mean for it."""
    if job.over:
        return replace(context, resumed_as=_resumed_as(shared, job, record))
    if record.phase == 0 or job.state is not JobState.PENDING:
        return context
    others = _other_phases(shared, job, record)
    earlier = _phase_before(shared, job, record, others) if job.reason == DEPENDENCY_LOST else None
    return replace(
        context, exclusions=_exclusions(others.values(), record.cleared or 0), earlier=earlier
    )


def _other_phases(shared: Snapshot, job: Job, record: CommentRecord) -> dict[int, History]:
    """Return the histories of the run's other phases by job id, in the order of their journals."""
    controller = shared.controller
    key = run_key(controller.cluster, job, record)
    return {
        int(path.name.partition("-")[0]): replay(read_journal(path)[0])
        for path in run_journals(controller.site.state_dir, key)
    }


def _resumed_as(shared: Snapshot, job: Job, record: CommentRecord) -> int | None:
    """Return the id of a later job of the same phase, which a person has submitted; None: none."""
    phases = phases_of_run(shared.jobs(job.uid), job.uid, record)
    later = [
        other.job_id
        for other, its in phases
        if its.phase == record.phase
        and other.job_id != job.job_id
        and other.array_job_id is None
        and (other.submit_time or 0) >= (job.end_time or 0) > 0
    ]
    return max(later, default=None)


def _exclusions(histories: Iterable[History], since: int) -> tuple[Exclusion, ...]:
    """Return the exclusions in force that began at `since` or later, each node's longest."""
    found: dict[str, Exclusion] = {}
    for history in histories:
        for exclusion in history.excluded(time.time()):
            if exclusion.since < since:
                continue
            known = found.setdefault(exclusion.node, exclusion)
            if exclusion.until > known.until:
                found[exclusion.node] = exclusion
    return tuple(found.values())


def _phase_before(
    shared: Snapshot, job: Job, record: CommentRecord, others: Mapping[int, History]
) -> EarlierPhase | None:
    """Return the phase before; None: it is not known what has become of it."""
    phases = phases_of_run(shared.jobs(job.uid), job.uid, record)
    # Of a phase that a person has taken up again, the newest job counts.
    in_order = sorted(phases, key=lambda phase: phase[0].submit_time or 0)
    before = {other.phase: each for each, other in in_order}.get(record.phase - 1)
    for job_id, history in others.items():
        if not _has_ended(history) or history.ends[-1].observed:
            continue
        if before is None or before.job_id == job_id:
            return _ended_phase(history.ends[-1], job_id, before)
    if before is None:
        return None
    if not before.over:
        return EarlierPhase(job_id=before.job_id, state=PhaseState.ALIVE)
    if before.state not in _ENDED_BY_PEOPLE:
        return None
    reason = f"it is {before.state.value}"
    return EarlierPhase(job_id=before.job_id, state=PhaseState.FAILED, reason=reason)


def _ended_phase(last: EndEvent, job_id: int, job: Job | None) -> EarlierPhase | None:
    """Return a phase whose last end was final; None: it is COMPLETING, or a person requeued it."""
    if job is not None and not job.over:
        return None
    completed = last.category is Category.COMPLETED
    state = PhaseState.COMPLETED if completed else PhaseState.FAILED
    return EarlierPhase(job_id=job_id, state=state, reason=last.reason)
