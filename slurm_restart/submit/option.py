"""One option of sbatch, and what becomes of it."""

from dataclasses import dataclass
from enum import Enum

COMMENT_LIMIT = 400


class Argument(Enum):
    """Whether an option takes one, in getopt's words."""

    NONE = "no argument"
    REQUIRED = "required"
    OPTIONAL = "optional"


class OptionHandling(Enum):
    """What csx-sbatch does with an option that a person gives."""

    PASSED = "passed"
    """To sbatch, as it is, for every phase."""
    MERGED = "merged"
    """Brought together with what csx-sbatch itself asks for."""
    FIXED_SIZE = "passed if the size is fixed"
    """Passed where min_num_csx equals num_csx; refused where the run may shrink."""
    REFUSED = "refused"
    ANSWERED = "answered"
    """By csx-sbatch itself."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Option:
    """One row. `note`: the reason and the way out, or how it is merged."""

    name: str
    short: str | None
    argument: Argument
    handling: OptionHandling
    note: str = ""
    variables: tuple[str, ...] = ()
    """Environment variables that stand for the option."""
    excludes: tuple[str, ...] = ()
    """Options that this one takes the place of when it comes from a later layer."""
