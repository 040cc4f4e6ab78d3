"""The error of an attempt that must not begin, as its run has ended with the attempt before."""

from slurm_restart.core.category import Category
from slurm_restart.errors import CsxError

RULE = "supervisor.run_over"
PREFIX = "the run ends here: "
"""In front of the reason, in the text of the error."""


class RunOverError(CsxError):
    """The run has ended, but Slurm has requeued its job. Exit code 1.

    Args:
        category: why the last attempt ended.
        reason: why the run does not go on.
    """

    def __init__(self, category: Category, reason: str) -> None:
        self.category = category
        super().__init__(f"{PREFIX}{reason}")
