"""Hostlists, Slurm's short form of many node names: `csx[1-3,7]`, `rack1-[01-16]`.

ClusterShell reads them too, but its import alone takes 18 ms of the 80 ms that the hook has for
everything.
"""

import re
from itertools import product
from math import prod

from slurm_restart.errors import SlurmError

MAX_NAMES = 100_000

_PART = r"(?:[^\[\],\s]|\[[0-9,-]+\])+"
_HOSTLIST = re.compile(f"{_PART}(?:,{_PART})*")
_RANGE = re.compile(r"([0-9]{1,18})(?:-([0-9]{1,18}))?")


def expand(hostlist: str) -> tuple[str, ...]:
    """The names of a hostlist, each once, in its order.

    Raises:
        SlurmError: it is not a hostlist, or has more than `MAX_NAMES` names.
    """
    if not hostlist:
        return ()
    if not _HOSTLIST.fullmatch(hostlist):
        raise SlurmError(f"expected a hostlist, got {hostlist[:80]!r}")
    names: dict[str, None] = {}
    for part in re.findall(_PART, hostlist):
        # The odd pieces are what stood in brackets.
        pieces = re.split(r"\[([^\]]+)\]", part)
        ranges = [_ranges(piece) for piece in pieces[1::2]]
        count = prod(sum(len(numbers) for numbers, _ in group) for group in ranges)
        if count > MAX_NAMES - len(names):
            raise SlurmError(f"a hostlist of more than {MAX_NAMES} names: {hostlist[:80]!r}")
        choices = [[piece] for piece in pieces]
        choices[1::2] = [
            [f"{number:0{width}}" for numbers, width in group for number in numbers]
            for group in ranges
        ]
        names.update(dict.fromkeys("".join(choice) for choice in product(*choices)))
    return tuple(names)


def _ranges(text: str) -> list[tuple[range, int]]:
    """`08-10,12` as ranges, each with the width of its first number."""
    found = []
    for part in text.split(","):
        match = _RANGE.fullmatch(part)
        first, last = (int(match[1]), int(match[2] or match[1])) if match else (1, 0)
        if match is None or last < first:
            raise SlurmError(f"expected ranges of numbers in a hostlist, got {text[:80]!r}")
        found.append((range(first, last + 1), len(match[1])))
    return found
