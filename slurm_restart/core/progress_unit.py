"""The unit in which the progress of a run is measured."""

from enum import Enum


class ProgressUnit(Enum):
    """What the numbers `from_step` and `step` of a run count."""

    STEP = "step"
    """Training steps: those of checkpoints, or those that the output names."""
    BYTE = "byte"
    """The size of a file that grows while the run gets on."""
    SECOND = "second"
    """The run time of the attempts that lasted long enough to count, all together."""

    def format(self, count: int) -> str:
        """Return a position for people, such as `step 1200` or `3600 s`."""
        match self:
            case ProgressUnit.STEP:
                return f"step {count}"
            case ProgressUnit.BYTE:
                return f"{count} bytes"
            case ProgressUnit.SECOND:
                return f"{count} s"
