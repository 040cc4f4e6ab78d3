"""Finds the lines of a block that hold one of many fixed texts.

Two finders, one answer: Hyperscan where it is installed (extra `fast`), which searches whole blocks
at the speed of memory, and one in Python alone, which needs nothing.
"""

import string
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Protocol

from slurm_restart.logs.hyperscan_database import cached_database
from slurm_restart.logs.patterns import MIN_LETTERS

MAX_SHAPES = 2048
MAX_SHAPE = 1024
"""Bounds of the memory for lines that were seen: how many, and letters of each."""
_OTHER_BYTES = bytes(set(range(256)) - set(b"\r\n" + string.ascii_letters.encode()))
_ENDS = bytes.maketrans(b"\r", b"\n")


class Finder(Protocol):
    """Made of texts, each with the numbers of the rules that need it."""

    name: str

    def lines(self, block: bytes) -> Iterator[tuple[int, int]]:
        """(start, end) of the lines that hold a text, in their order.

        Lines end with a line feed or a carriage return, which is not part of them.
        """

    def rules(self, line: bytes) -> Iterable[int]:
        """The numbers of the rules of which the line holds a text, in order."""


def make_finder(texts: Mapping[str, Iterable[int]], name: str | None = None) -> Finder:
    """The finder of that name; without one the fastest that is installed.

    Raises:
        ValueError: no such finder, or it is not installed.
    """
    # Hyperscan takes no empty set.
    if name in (None, HyperscanFinder.name) and texts:
        if (module := _hyperscan()) is not None:
            return HyperscanFinder(texts, module)
        if name is not None:
            raise ValueError(f"{name} is not installed")
    if name in (None, ShapeFinder.name):
        return ShapeFinder(texts)
    raise ValueError(f"expected {HyperscanFinder.name} or {ShapeFinder.name}, got {name!r}")


@cache
def _hyperscan() -> Any | None:
    try:
        import hyperscan  # noqa: PLC0415  # only a process that scans logs pays for it
    except ImportError:
        return None
    return hyperscan


class HyperscanFinder:
    """Searches whole blocks with Hyperscan's compiler for literals."""

    name = "hyperscan"

    def __init__(self, texts: Mapping[str, Iterable[int]], module: Any) -> None:
        known = sorted(texts)
        self._rules = [tuple(texts[text]) for text in known]
        self._database = cached_database(known, module)

    def lines(self, block: bytes) -> Iterator[tuple[int, int]]:
        """See `Finder`."""
        ends: list[int] = []
        self._database.scan(block, _end_of_match, context=ends)
        past = 0
        for end in sorted(ends):
            if end > past:
                start = 1 + max(block.rfind(b"\n", past, end), block.rfind(b"\r", past, end))
                past = line_end(block, end)
                yield max(start, 0), past

    def rules(self, line: bytes) -> Iterable[int]:
        """See `Finder`."""
        found: list[int] = []
        self._database.scan(line, _id_of_match, context=found)
        return sorted({rule for text in found for rule in self._rules[text]})


def _end_of_match(_id: int, _start: int, end: int, _flags: int, ends: list[int]) -> None:
    ends.append(end)


def _id_of_match(number: int, _start: int, _end: int, _flags: int, found: list[int]) -> None:
    found.append(number)


def line_end(block: bytes, position: int) -> int:
    """Where the line at a position ends: at a line feed, a carriage return, or the block's end."""
    feed = block.find(b"\n", position)
    end = len(block) if feed < 0 else feed
    back = block.find(b"\r", position, end)
    return end if back < 0 else back


class ShapeFinder:
    """Looks at each kind of line once.

    Training output says the same again and again with other numbers: a line is reduced to its
    letters, and letters that have been seen to hold no text are not looked at again.
    """

    name = "python"

    def __init__(self, texts: Mapping[str, Iterable[int]]) -> None:
        self._rules = {text.encode(): tuple(numbers) for text, numbers in sorted(texts.items())}
        self._stems: dict[tuple[int, ...], list[tuple[bytes, bytes]]] = {}
        for text in self._rules:
            stem = text.translate(None, _OTHER_BYTES)
            self._stems.setdefault(tuple(stem[:MIN_LETTERS]), []).append((stem, text))
        self._harmless: set[bytes] = set()
        self._suspicious: dict[bytes, tuple[bytes, ...]] = {}

    def lines(self, block: bytes) -> Iterator[tuple[int, int]]:
        """See `Finder`."""
        shapes = block.translate(_ENDS, _OTHER_BYTES).split(b"\n")
        if self._harmless.issuperset(shapes):
            return
        suspicious: dict[bytes, tuple[bytes, ...]] = {}
        for shape in dict.fromkeys(shapes):
            if shape not in self._harmless:
                if texts := self._texts(shape):
                    suspicious[shape] = texts
                elif len(shape) <= MAX_SHAPE:
                    _remember(self._harmless, shape)
        if suspicious:
            yield from _spans(block, shapes, suspicious)

    def rules(self, line: bytes) -> Iterable[int]:
        """See `Finder`."""
        texts = self._texts(line.translate(None, _OTHER_BYTES))
        return sorted({number for text in texts if text in line for number in self._rules[text]})

    def _texts(self, shape: bytes) -> tuple[bytes, ...]:
        """The texts that lines with these letters may hold."""
        known = self._suspicious.get(shape)
        if known is not None:
            return known
        starts = self._stems.keys() & set(zip(shape, shape[1:], shape[2:], strict=False))
        found = tuple(
            text for start in starts for stem, text in self._stems[start] if stem in shape
        )
        if found and len(shape) <= MAX_SHAPE:
            if len(self._suspicious) >= MAX_SHAPES:
                self._suspicious.clear()
            self._suspicious[shape] = found
        return found


def _spans(
    block: bytes, shapes: list[bytes], suspicious: Mapping[bytes, tuple[bytes, ...]]
) -> Iterator[tuple[int, int]]:
    start = 0
    for line, shape in zip(block.translate(_ENDS).split(b"\n"), shapes, strict=True):
        if any(text in line for text in suspicious.get(shape, ())):
            yield start, start + len(line)
        start += len(line) + 1


def _remember(known: set[bytes], shape: bytes) -> None:
    if len(known) >= MAX_SHAPES:
        known.clear()
    known.add(shape)
