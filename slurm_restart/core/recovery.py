"""Which restarts a run asks for, and who carries them out."""

from enum import Enum


class Recovery(Enum):
    """What a run asks for: `slurm: {recovery: …}`, or `--recovery`."""

    REQUEUE = "requeue"
    """Each attempt is a start of the job by Slurm."""
    IN_PLACE = "in-place"
    """In the same allocation only: the job has --no-requeue."""
    AUTO = "auto"
    """In the same allocation where that is right, else after a requeue."""

    @property
    def in_place(self) -> bool:
        """Whether attempts may start in the allocation of the one before."""
        return self is not Recovery.REQUEUE

    @property
    def requeues(self) -> bool:
        """Whether the job may be requeued."""
        return self is not Recovery.IN_PLACE

    @property
    def where(self) -> str:
        """Where the next attempt starts, in words that follow "restarts"; empty: by default."""
        match self:
            case Recovery.REQUEUE:
                return " by requeue"
            case Recovery.IN_PLACE:
                return " in the same allocation"
            case Recovery.AUTO:
                return ""


class HookUse(Enum):
    """Who requeues a run: `slurm: {hook: …}`, or `--hook`."""

    AUTO = "auto"
    """The hook where slurmctld runs a program at the end of a job, else the run's supervisor."""
    YES = "yes"
    """The hook."""
    NO = "no"
    """The supervisor: what slurmctld runs is another program than the hook."""
