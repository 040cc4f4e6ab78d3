"""One option of sbatch, and how csx-sbatch handles it."""

from enum import Enum

from slurm_restart.frozen import frozen

COMMENT_LIMIT = 400


class Argument(Enum):
    """Whether an option takes an argument, in getopt's terms."""

    NONE = "no argument"
    REQUIRED = "required"
    OPTIONAL = "optional"


class OptionHandling(Enum):
    """What csx-sbatch does with an option that the user gives."""

    PASSED = "passed"
    """Passed to sbatch unchanged, for every phase."""
    MERGED = "merged"
    """Combined with the options that csx-sbatch itself sets."""
    PASSED_IF_FIXED_SIZE = "passed if the size is fixed"
    """Refused if a restart may have fewer nodes."""
    REFUSED = "refused"
    HANDLED_HERE = "handled by csx-sbatch"
    """Not passed to sbatch."""
    RESTART = "how to restart"
    """Not passed to sbatch; accepted in `#CSX` lines of a batch script too."""


@frozen
class Option:
    """One row. `note`: why it is refused and what to do instead, or how it is merged."""

    name: str
    short: str | None
    argument: Argument
    handling: OptionHandling
    note: str = ""
    variables: tuple[str, ...] = ()
    """Environment variables that set the option."""
    excludes: tuple[str, ...] = ()
    """Options that this one replaces if it is given in a later layer."""
    script_handling: OptionHandling | None = None
    """How it is handled for a batch script of the user's; None: as for a config.

    A note on a refusal is about configs, unless it is refused for both.
    """

    def handling_for(self, *, script: bool) -> OptionHandling:
        """Return how it is handled, for a batch script of the user's or for a config."""
        return self.script_handling or self.handling if script else self.handling
