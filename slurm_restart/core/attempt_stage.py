"""Determine at which stage of its life a managed job is, and which attempt has ended last."""

from collections.abc import Sequence
from dataclasses import replace
from enum import Enum

from slurm_restart.core.history import History
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.frozen import frozen


class Stage(Enum):
    """Where a job is between two attempts."""

    ENDED = "ended"
    """An attempt has ended and the job is not requeued: COMPLETING or in a final state."""
    REQUEUED = "requeued"
    """Requeued, but still COMPLETING."""
    PENDING = "pending"
    RUNNING = "running"
    OTHER = "other"
    """Suspended, or a state that only a flag shows."""


@frozen
class AttemptStage:
    """The stage of a job, with the attempt that has ended last."""

    stage: Stage
    ended: int | None
    """Slurm's restart count of the attempt that has ended last; None: none has."""
    known: EndEvent | None
    """That end's event, if it is in the journal."""
    start_lost: bool = False
    """Whether slurmctld has lost the start of that attempt: it shows the job waiting for it."""

    @property
    def unjudged(self) -> bool:
        """Whether an attempt has ended that the journal does not know."""
        return self.ended is not None and self.known is None


def find_stage(
    job: Job, history: History, comment_record: CommentRecord, nodes: Sequence[str]
) -> AttemptStage:
    """Return the stage of a job.

    Args:
        job: as Slurm shows it.
        history: the run's journal.
        comment_record: the job's.
        nodes: those of the attempt that ends, if the hook or Slurm names them.
    """
    if job.completing and job.state in (None, JobState.RUNNING, JobState.SUSPENDED):
        return _completing(job, history, comment_record, nodes)
    if was_cancelled_waiting(job, history, comment_record):
        return _stage(Stage.ENDED, job.restarts - 1, history, comment_record, job)
    if job.state is JobState.PENDING or job.requeued_held:
        return _waiting(job, history, comment_record)
    if job.state is JobState.RUNNING:
        return _stage(Stage.RUNNING, job.restarts - 1, history, comment_record, job)
    if job.state is None or not job.state.is_final:
        return AttemptStage(stage=Stage.OTHER, ended=None, known=None)
    return _stage(Stage.ENDED, job.restarts, history, comment_record, job)


def _waiting(job: Job, history: History, comment_record: CommentRecord) -> AttemptStage:
    if job.completing:
        return _stage(Stage.REQUEUED, job.restarts - 1, history, comment_record, job)
    lost = _lost_start(job, history, comment_record)
    at = _stage(Stage.PENDING, job.restarts - (not lost), history, comment_record, job)
    return replace(at, start_lost=lost)


def _lost_start(job: Job, history: History, comment_record: CommentRecord) -> bool:
    """Whether the attempt that a pending job waits for has ended already.

    slurmctld, killed before it had saved the start, shows the job as it was before (measured). The
    attempt after has the same restart count then; every requeue counts.
    """
    reported = reports_end(comment_record, job) and comment_record.restarts == job.restarts
    return reported or history.end_of(job.restarts) is not None


def reports_end(comment_record: CommentRecord, job: Job) -> bool:
    """Return whether the record reports the end of an attempt with the SubmitTime that Slurm shows.

    An attempt before may have had the same one, but not the same restart count.
    """
    return comment_record.ended and comment_record.submit == job.submit_time


def was_cancelled_waiting(job: Job, history: History, comment_record: CommentRecord) -> bool:
    """Whether the job was cancelled while it waited: the attempt of its restart count never ran.

    A job that is cancelled between its requeue and the end of COMPLETING keeps its former nodes.
    """
    if job.state is not JobState.CANCELLED:
        return False
    if not job.nodes and not job.completing:
        return True
    before, started = history.end_of(job.restarts - 1), history.started
    ran = started is not None and started.restarts == job.restarts
    reported = comment_record.restarts == job.restarts and comment_record.submit == job.submit_time
    return before is not None and not ran and not reported


def _stage(
    stage: Stage, ended: int, history: History, comment_record: CommentRecord, job: Job
) -> AttemptStage:
    if ended < 0:
        return AttemptStage(stage=stage, ended=None, known=None)
    known = history.end_of(ended)
    if known is not None and _is_later_attempt(known, comment_record, job):
        known = None
    return AttemptStage(stage=stage, ended=ended, known=known)


def _is_later_attempt(known: EndEvent, comment_record: CommentRecord, job: Job) -> bool:
    """Whether the record reports the end of a later attempt than the one on record.

    slurmctld, killed before it had saved a requeue, gives the next attempt the same restart count.
    """
    reported, recorded = comment_record.attempt, known.attempt
    return (
        reported is not None
        and recorded is not None
        and reported > recorded
        and comment_record.ended
        and job.state is not JobState.RUNNING
    )


def _completing(
    job: Job, history: History, comment_record: CommentRecord, nodes: Sequence[str]
) -> AttemptStage:
    """Return the stage of a COMPLETING job whose base state Slurm does not show (before 24.11).

    Its SubmitTime names the attempt, as it changes when the job leaves COMPLETING; but a job that
    waits in COMPLETING for a dead node keeps the one of the attempt before (measured on 22.05).
    Then only nodes, or the self-report, show another attempt.
    """
    last = history.ends[-1] if history.ends else None
    if last is not None and _is_same(last, job, comment_record, nodes):
        stage = Stage.REQUEUED if job.restarts > last.index else Stage.ENDED
        return AttemptStage(stage=stage, ended=last.index, known=last)
    began = restarts_at_start(job, history, comment_record)
    requeued = job.restarts > began
    return AttemptStage(
        stage=Stage.REQUEUED if requeued else Stage.ENDED,
        ended=job.restarts - requeued,
        known=None,
    )


def _is_same(last: EndEvent, job: Job, comment_record: CommentRecord, nodes: Sequence[str]) -> bool:
    if last.submit_time != job.submit_time:
        return False
    if last.nodes and not set(nodes) <= set(last.nodes):
        return False
    reported = comment_record.attempt if comment_record.submit == job.submit_time else None
    return None in (reported, last.attempt) or reported == last.attempt


def restarts_at_start(job: Job, history: History, comment_record: CommentRecord) -> int:
    """Return Slurm's restart count when the attempt began that is ending now."""
    if comment_record.submit == job.submit_time and comment_record.restarts is not None:
        return comment_record.restarts
    if history.started is not None and history.started.submit_time == job.submit_time:
        return history.started.restarts
    if not history.ends:
        return 0
    last = history.ends[-1]
    # Where the last end on record was final, a person has requeued the job since.
    return last.index + 1
