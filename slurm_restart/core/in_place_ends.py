"""The ends after which the supervisor restarted a run in place, within one start of its job.

The hook sees one end for each start of a job. What came before it in the same allocation is
reported by the supervisor as these counters, so that each limit counts restarts in place too.
"""

from slurm_restart.frozen import frozen


@frozen
class InPlaceEnds:
    """The ends of earlier attempts in the allocation of the last one."""

    restarts: int = 0
    """How many there were; each was followed by a restart in place, which counts against the cap on
    all restarts."""
    failures: int = 0
    """Those that counted and made no progress, since the last progress among them."""
    progress: bool = False
    """Whether one of them made progress."""
    fall_backs: int = 0
    """After how many of them the run went back to an earlier checkpoint, since the last progress
    among them."""
    same: int = 0
    """Those with the same root cause at the same step as the end that was reported after them."""
    seconds: int = 0
    """From the start of the first of the attempts to the end of the last; of an attempt after them
    Slurm knows the run time of its job alone."""


NONE_IN_PLACE = InPlaceEnds()
