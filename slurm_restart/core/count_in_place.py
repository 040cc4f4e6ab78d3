"""Count the ends of one allocation for the comment record, which has no room for each of them."""

from collections.abc import Sequence

from slurm_restart.core.category import Category
from slurm_restart.core.history import ends_at_step
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.job_comment import MAX_SECONDS
from slurm_restart.core.journal_events import EndEvent


def count_in_place(
    ends: Sequence[EndEvent],
    *,
    cause: Category | None = None,
    root: str | None = None,
    step: int | None = None,
) -> InPlaceEnds:
    """Return the counters of ends that were followed by a restart in place.

    Args:
        ends: those of earlier attempts in the allocation, in order; progress that is not known
            counts as none.
        cause: category of the end after them; None: it has not come yet.
        root: fingerprint of that end's root cause.
        step: where that end left the run.
    """
    failures, progress, fall_backs = 0, False, 0
    for end in ends:
        if end.progress:
            failures, progress, fall_backs = 0, True, 0
        else:
            failures += end.is_capped
            fall_backs += end.fall_back
    return InPlaceEnds(
        restarts=len(ends),
        failures=failures,
        progress=progress,
        fall_backs=fall_backs,
        same=0 if cause is None or root is None else _count_same(ends, (cause, root), step),
        seconds=_seconds(ends),
    )


def _seconds(ends: Sequence[EndEvent]) -> int:
    """Return the time from the first start to the last end; of unknown ends there is none."""
    known = [(end.at - end.run_time, end.at) for end in ends if end.run_time is not None]
    lasted = max(end for _, end in known) - min(start for start, _ in known) if known else 0
    return min(lasted, MAX_SECONDS)


def _count_same(ends: Sequence[EndEvent], cause: tuple[Category, str], step: int | None) -> int:
    return sum((end.category, end.root) == cause for end in ends_at_step(ends, step))
