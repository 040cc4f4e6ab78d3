"""Node names as lines of a log give them: one, several, or Slurm's short form `csx[1-3,7]`."""

import re
from itertools import islice, product

MAX_NAMES = 256
"""Names kept of one line; a list that long names nobody."""

_PART = re.compile(r"(?:[^\[\],\s]|\[[0-9,-]+\])+")
_RANGE = re.compile(r"([0-9]{1,9})(?:-([0-9]{1,9}))?")


def split_names(text: str) -> tuple[str, ...]:
    """The names in a text, each once; what is no list of names gives none."""
    if _PART.sub("", text).strip(","):
        return ()
    names = (name for part in _PART.findall(text) for name in _expand(part))
    return tuple(dict.fromkeys(islice(names, MAX_NAMES)))


def _expand(part: str) -> tuple[str, ...]:
    """`rack1-[08-10,12]` as its names."""
    pieces = re.split(r"\[([0-9,-]+)\]", part)
    choices = [
        _numbers(piece) if number % 2 else (piece,)  # the odd pieces stood in brackets
        for number, piece in enumerate(pieces)
    ]
    return tuple("".join(choice) for choice in islice(product(*choices), MAX_NAMES))


def _numbers(text: str) -> tuple[str, ...]:
    numbers: list[str] = []
    for part in text.split(","):
        found = _RANGE.fullmatch(part)
        if found is None:
            return ()
        first, last = found[1], found[2] or found[1]
        count = min(int(last), int(first) + MAX_NAMES) + 1
        numbers += [f"{number:0{len(first)}}" for number in range(int(first), count)]
    return tuple(numbers)
