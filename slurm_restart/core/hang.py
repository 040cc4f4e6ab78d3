"""What is known of a hang, or of a slowdown, when the run is ended for it."""

from slurm_restart.core.attribution import Blame
from slurm_restart.frozen import frozen


@frozen
class HangReport:
    """What was found, in words, and what follows from it."""

    reason: str
    """Text for people."""
    lines: tuple[str, ...] = ()
    """What the processes do, for people."""
    blamed: tuple[Blame, ...] = ()
    busy_elsewhere: bool = False
    """Whether a process on another node than the batch host computes."""
