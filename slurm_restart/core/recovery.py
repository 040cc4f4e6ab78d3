"""Which restarts a run asks for."""

from enum import Enum


class Recovery(Enum):
    """What a run asks for: `slurm: {recovery: …}`, or `--recovery`."""

    REQUEUE = "requeue"
    """Each attempt is a start of the job by Slurm."""
    IN_PLACE = "in-place"
    """In the same allocation where that is right."""
    AUTO = "auto"
    """In the same allocation where that is right, else after a requeue."""

    @property
    def in_place(self) -> bool:
        """Whether attempts may start in the allocation of the one before."""
        return self is not Recovery.REQUEUE
