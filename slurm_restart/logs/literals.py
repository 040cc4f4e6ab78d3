"""Finds the lines of a block that contain one of many fixed texts.

Two finders give the same answer: Hyperscan where it is installed (extra `fast`), which searches
whole blocks at the speed of memory, and one in pure Python.
"""

import string
from collections.abc import Iterable, Iterator, Mapping
from functools import cache
from typing import Any, Protocol

from slurm_restart.logs.hyperscan_database import cached_database
from slurm_restart.logs.patterns import MIN_LETTERS

MAX_KNOWN = 2048
MAX_LETTERS = 1024
"""Bounds of the memory for known lines: their number, and the letters of each."""
_OTHER_BYTES = bytes(set(range(256)) - set(b"\r\n" + string.ascii_letters.encode()))
_ENDS = bytes.maketrans(b"\r", b"\n")


class Finder(Protocol):
    """A search for texts, each with the numbers of the rules that need it."""

    name: str

    def lines(self, block: bytes) -> Iterator[tuple[int, int]]:
        """Yield (start, end) of the lines that contain a text, in their order.

        Lines end with a line feed or a carriage return, which is not part of them.
        """

    def rules(self, line: bytes) -> Iterable[int]:
        """Return the numbers of the rules of which the line contains a text, sorted."""


def make_finder(texts: Mapping[str, Iterable[int]], name: str | None = None) -> Finder:
    """Return the finder of that name; without a name the fastest that is installed.

    Raises:
        ValueError: no such finder, or it is not installed.
    """
    # Hyperscan refuses an empty set.
    if name in (None, HyperscanFinder.name) and texts:
        if (module := _hyperscan()) is not None:
            return HyperscanFinder(texts, module)
        if name is not None:
            raise ValueError(f"{name} is not installed")
    if name in (None, PythonFinder.name):
        return PythonFinder(texts)
    raise ValueError(f"expected {HyperscanFinder.name} or {PythonFinder.name}, got {name!r}")


@cache
def _hyperscan() -> Any | None:
    try:
        import hyperscan  # noqa: PLC0415  # 10 ms, only for a process that scans logs
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
    """Return the end of the line at a position: line feed, carriage return or the block's end."""
    feed = block.find(b"\n", position)
    end = len(block) if feed < 0 else feed
    back = block.find(b"\r", position, end)
    return end if back < 0 else back


class PythonFinder:
    """Searches lines by their letters, in pure Python.

    Lines of training output repeat with other numbers: each line is reduced to its ASCII letters,
    and letters that are known to contain no text are not searched again.
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
        letters = block.translate(_ENDS, _OTHER_BYTES).split(b"\n")
        if self._harmless.issuperset(letters):
            return
        suspicious: dict[bytes, tuple[bytes, ...]] = {}
        for line_letters in dict.fromkeys(letters):
            if line_letters not in self._harmless:
                if texts := self._texts(line_letters):
                    suspicious[line_letters] = texts
                elif len(line_letters) <= MAX_LETTERS:
                    _remember(self._harmless, line_letters)
        if suspicious:
            yield from _spans(block, letters, suspicious)

    def rules(self, line: bytes) -> Iterable[int]:
        """See `Finder`."""
        texts = self._texts(line.translate(None, _OTHER_BYTES))
        return sorted({number for text in texts if text in line for number in self._rules[text]})

    def _texts(self, line_letters: bytes) -> tuple[bytes, ...]:
        """Return the texts that lines with these letters may contain."""
        known = self._suspicious.get(line_letters)
        if known is not None:
            return known
        starts = self._stems.keys() & set(
            zip(line_letters, line_letters[1:], line_letters[2:], strict=False)
        )
        found = tuple(
            text for start in starts for stem, text in self._stems[start] if stem in line_letters
        )
        if found and len(line_letters) <= MAX_LETTERS:
            if len(self._suspicious) >= MAX_KNOWN:
                self._suspicious.clear()
            self._suspicious[line_letters] = found
        return found


def _spans(
    block: bytes, letters: list[bytes], suspicious: Mapping[bytes, tuple[bytes, ...]]
) -> Iterator[tuple[int, int]]:
    """Yield (start, end) of the lines that contain a text."""
    start = 0
    for line, line_letters in zip(block.translate(_ENDS).split(b"\n"), letters, strict=True):
        if any(text in line for text in suspicious.get(line_letters, ())):
            yield start, start + len(line)
        start += len(line) + 1


def _remember(known: set[bytes], line_letters: bytes) -> None:
    if len(known) >= MAX_KNOWN:
        known.clear()
    known.add(line_letters)
