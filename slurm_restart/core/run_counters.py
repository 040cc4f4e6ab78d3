"""Count a run's restarts as they stand now, from its journal and what has happened since then.

The journal has the ends that the controller has judged. The others are in the run directory, and
as counters in the job's comment record where the run directory cannot be read.
"""

from collections.abc import Iterable
from dataclasses import replace

from slurm_restart.core.history import History, add_in_place, streak
from slurm_restart.core.in_place_ends import NONE_IN_PLACE, InPlaceEnds
from slurm_restart.core.job import Job
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.frozen import frozen


@frozen
class OwnAttempts:
    """The attempts of one job as its run directory has them."""

    ends: tuple[EndEvent, ...] = ()
    """Each end on record, in order, those before a restart in place too."""
    in_place: tuple[int, ...] = ()
    """Numbers of the attempts that were started in place."""
    to_exceed: int | None = None
    """The step that the newest attempt has to exceed for progress; None: not known, or it has
    ended."""
    restarts: int | None = None
    """Slurm's restart count while the newest attempt ran; None: none has started."""
    ended: str | None = None
    """Why the run ends with the newest attempt, as was decided; None: it does not, or it is not
    known."""


@frozen
class RunCounters:
    """The counters of a run, with those of the present allocation."""

    failures: int | None
    """Ends in a row without progress that counted; None: not known."""
    in_place: int
    """Restarts in place, of which Slurm does not know. By the comment record alone, those of
    earlier allocations may be missing."""


def count_now(
    job: Job | None,
    history: History | None,
    record: CommentRecord | None,
    own: OwnAttempts | None,
) -> RunCounters | None:
    """Return the counters of a run; None: they are not known.

    Args:
        job: as Slurm shows it; None: Slurm does not know it any more.
        history: the run's journal; None: there is none, or it cannot be read.
        record: the job's comment record; None: it has none.
        own: what the run directory has of the job; None: it cannot be read.
    """
    if own is not None:
        return _count(history or History(), record, own)
    if history is not None:
        return _count_with_record(history, record)
    return None if job is None or record is None else _count_of_record(job, record)


def _count(history: History, record: CommentRecord | None, own: OwnAttempts) -> RunCounters:
    """Count the ends of the journal, and those of the run directory after them."""
    later = [end for end in own.ends if not _is_judged(end, history.ends)]
    last = max((end.attempt for end in history.ends if end.attempt is not None), default=-1)
    counted = streak(
        (*history.ends, *later), next_from_step=own.to_exceed, prior_failures=_prior(record)
    )
    return RunCounters(
        failures=counted.failures,
        in_place=history.in_place_restarts() + sum(number > last for number in own.in_place),
    )


def _count_with_record(history: History, record: CommentRecord | None) -> RunCounters:
    """Count the ends of the journal, and those in place that the comment record tells."""
    since = _since(history, record)
    from_step = None if record is None else record.from_step
    before = streak(history.ends, next_from_step=from_step, prior_failures=_prior(record))
    return RunCounters(
        failures=add_in_place(before, since).failures,
        in_place=history.in_place_restarts() + since.restarts,
    )


def _count_of_record(job: Job, record: CommentRecord) -> RunCounters:
    """Count what the comment record tells: the ends of its allocation, without the last one."""
    counters = _count_with_record(History(), record)
    if not job.restarts:
        has_ended = record.attempt is not None and not job.running
        return replace(counters, failures=None) if has_ended else counters
    # Attempts are numbered on after a requeue, and by a job that takes up the run of another.
    takes_up = record.prior_total or record.prior_failures
    all_of_run = 0 if takes_up else (record.attempt or 0) - job.restarts
    return RunCounters(failures=None, in_place=max(record.in_place, all_of_run))


def _prior(record: CommentRecord | None) -> int:
    """Return the ends without progress of the job that this one takes up."""
    return 0 if record is None else record.prior_failures


def _is_judged(end: EndEvent, judged: Iterable[EndEvent]) -> bool:
    """Return whether the journal has an end of the run directory, or a later one.

    One that the journal has without a number, as the attempt had reported none, is known by Slurm's
    restart count.
    """
    return any(
        end.index <= each.index
        if each.attempt is None or end.attempt is None
        else end.attempt <= each.attempt
        for each in judged
    )


def _since(history: History, record: CommentRecord | None) -> InPlaceEnds:
    """Return the ends in place in the allocation of an attempt whose end is not judged yet."""
    if record is None or any(end.attempt == record.attempt for end in history.ends):
        return NONE_IN_PLACE
    return record.in_place_ends
