"""From bytes to hits: which lines of a block may matter, and which rule a line matches.

This is the only place that knows how patterns are applied, so that another engine can take over.
Training output says the same again and again with other numbers: a line is reduced to its letters,
and letters that have been seen to hold nothing of interest are not looked at again.
"""

import re
import string
from collections.abc import Iterable, Sequence
from dataclasses import dataclass

from slurm_restart.core.finding import Role
from slurm_restart.logs.names import split_names
from slurm_restart.logs.patterns import MIN_LETTERS, letters, literals
from slurm_restart.logs.rule import Rule

MAX_SHAPES = 2048
MAX_SHAPE = 1024
"""Bounds of the memory for lines that were seen: how many, and letters of each."""

_OTHER_BYTES = bytes(set(range(256)) - set(b"\r\n" + string.ascii_letters.encode()))
_ENDS = bytes.maketrans(b"\r", b"\n")


@dataclass(frozen=True, slots=True)
class Hit:
    """A rule that matches a line, and the names that the line gives for the culprit."""

    rule: Rule
    nodes: tuple[str, ...]


class Engine:
    """A set of rules made ready for searching.

    Args:
        rules: in the order in which they are tried; the first that matches a line judges it.
        also: fixed texts that make a line worth looking at besides.
    """

    def __init__(self, rules: Sequence[Rule], *, also: Iterable[str] = ()) -> None:
        progress = [rule.pattern for rule in rules if rule.role is Role.PROGRESS]
        self._progress = tuple(re.compile(pattern) for pattern in progress)
        rules = [rule for rule in rules if rule.role is not Role.PROGRESS]
        self._rules = tuple((re.compile(rule.pattern), rule) for rule in rules)
        self._stems: dict[tuple[int, ...], list[tuple[bytes, int]]] = {}
        for number, rule in enumerate(rules):
            self._look_for(literals(rule.pattern), number)
        self._look_for(also, len(rules))
        self._harmless: set[bytes] = set()
        self._suspicious: dict[bytes, tuple[int, ...]] = {}

    def _look_for(self, texts: Iterable[str], number: int) -> None:
        """Lines with one of these texts are for a rule; they are found by their first letters."""
        for text in sorted(texts):
            stem = letters(text).encode()
            self._stems.setdefault(tuple(stem[:MIN_LETTERS]), []).append((stem, number))

    def sift(self, block: bytes, *, remember: bool = True) -> frozenset[int]:
        """The numbers, from 0, of the lines of a block that may match a rule.

        Lines end with a line feed or a carriage return. Without `remember` the next block is
        judged as if this one had not been seen.
        """
        shapes = block.translate(_ENDS, _OTHER_BYTES).split(b"\n")
        if self._harmless.issuperset(shapes):
            return frozenset()
        suspicious = set()
        for shape in dict.fromkeys(shapes):
            if shape not in self._harmless:
                if self._candidates(shape):
                    suspicious.add(shape)
                elif remember:
                    self._remember(shape)
        return frozenset(n for n, shape in enumerate(shapes) if shape in suspicious)

    def is_progress(self, text: str) -> bool:
        """Whether a readable line without its label tells that the program gets on."""
        return any(pattern.search(text) for pattern in self._progress)

    def match(self, text: str) -> Hit | None:
        """The first rule that matches a readable line without its label."""
        for number in self._candidates(text.encode().translate(None, _OTHER_BYTES)):
            if number < len(self._rules):
                pattern, rule = self._rules[number]
                if found := pattern.search(text):
                    return Hit(rule, _names(found) if rule.blame is not None else ())
        return None

    def _candidates(self, shape: bytes) -> tuple[int, ...]:
        """The numbers of the rules for a line with these letters, in order."""
        known = self._suspicious.get(shape)
        if known is not None:
            return known
        starts = self._stems.keys() & set(zip(shape, shape[1:], shape[2:], strict=False))
        found = {n for start in starts for stem, n in self._stems[start] if stem in shape}
        candidates = tuple(sorted(found))
        if candidates and len(shape) <= MAX_SHAPE:
            if len(self._suspicious) >= MAX_SHAPES:
                self._suspicious.clear()
            self._suspicious[shape] = candidates
        return candidates

    def _remember(self, shape: bytes) -> None:
        if len(shape) <= MAX_SHAPE:
            if len(self._harmless) >= MAX_SHAPES:
                self._harmless.clear()
            self._harmless.add(shape)


def _names(found: re.Match[str]) -> tuple[str, ...]:
    return split_names(found["node"]) if found["node"] else ()
