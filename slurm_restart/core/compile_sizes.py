"""Sizes of a run that are compiled ahead of a restart, and sizes that are known not to compile.

A size is a number of nodes. An accelerator whose compiler takes the number of systems as given has
to compile anew for each size, which takes minutes in a restart with fewer nodes.
"""

import re
from collections.abc import Collection, Iterable
from enum import Enum

AHEAD = 2
"""How many smaller sizes are compiled ahead, as the Model Zoo's own restarting does."""
MAX_LISTED = 4
"""Sizes in a list for the comment record."""
SIZE_LIST = rf"[0-9]{{1,6}}(?:,[0-9]{{1,6}}){{0,{MAX_LISTED - 1}}}"
"""The form of such a list, as a regular expression."""


class CompileOutcome(Enum):
    """How the compile of one size ended."""

    COMPILED = "compiled"
    REFUSED = "refused"
    """The output says that the model does not compile for this size."""
    FAILED = "failed"
    """For another reason, or for one that is not known: a later attempt tries it again."""

    @property
    def is_final(self) -> bool:
        """Whether the size needs no further compile."""
        return self is not CompileOutcome.FAILED


def compile_title(num_csx: int) -> str:
    """Return what the compile for so many systems is, for people."""
    return f"compile ahead for num_csx {num_csx}"


def sizes_left(nodes: int, least: int, done: Collection[int]) -> tuple[int, ...]:
    """Return the sizes that are still to be compiled.

    The largest one comes first, as a restart loses one node more often than two.

    Args:
        nodes: of the attempt.
        least: the fewest nodes of a restart.
        done: sizes that need no compile, or are not to be tried again in this attempt.
    """
    ahead = range(nodes - 1, max(least, nodes - AHEAD) - 1, -1)
    return tuple(size for size in ahead if size not in done)


def largest_compilable(most: int, least: int, refused: Collection[int]) -> int | None:
    """Return the largest size from `least` to `most` that is not known to be impossible.

    Args:
        most: as many nodes as there are.
        least: the fewest nodes of a restart.
        refused: sizes that are known not to compile.
    """
    return next((size for size in range(most, least - 1, -1) if size not in refused), None)


def smallest_compilable(least: int, full: int, refused: Collection[int]) -> int:
    """Return the smallest such size from `least`; that of a full-size attempt has compiled."""
    return next((size for size in range(least, full) if size not in refused), full)


def format_sizes(sizes: Iterable[int]) -> str | None:
    """Return a list of sizes for the comment record, the largest first; None: it would be empty."""
    listed = sorted(sizes, reverse=True)[:MAX_LISTED]
    return ",".join(map(str, listed)) or None


def parse_sizes(text: str | None) -> frozenset[int]:
    """Return the sizes of a list; what is not of its form is an empty one."""
    if text is None or re.fullmatch(SIZE_LIST, text, re.ASCII) is None:
        return frozenset()
    return frozenset(map(int, text.split(",")))
