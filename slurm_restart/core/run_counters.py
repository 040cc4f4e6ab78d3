"""Count a run's restarts as they stand now: those in its journal, and those in place since then."""

from slurm_restart.core.history import History, add_in_place, streak
from slurm_restart.core.in_place_ends import NONE_IN_PLACE, InPlaceEnds
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.frozen import frozen


@frozen
class RunCounters:
    """The counters of a run, with those of the present allocation."""

    failures: int
    """Ends in a row without progress that counted."""
    in_place: int
    """Restarts in place, of which Slurm does not know."""


def count_now(history: History, record: CommentRecord | None) -> RunCounters:
    """Return the counters of a run.

    Args:
        history: the run's journal.
        record: the job's comment record; None: it has none.
    """
    since = _since(history, record)
    before = streak(history.ends, next_from_step=record.from_step if record else None)
    return RunCounters(
        failures=add_in_place(before, since).failures,
        in_place=history.in_place_restarts() + since.restarts,
    )


def _since(history: History, record: CommentRecord | None) -> InPlaceEnds:
    """Return the ends in place in the allocation of an attempt whose end is not judged yet."""
    if record is None or any(end.attempt == record.attempt for end in history.ends):
        return NONE_IN_PLACE
    return record.in_place_ends
