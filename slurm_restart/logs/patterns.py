"""The literals that a pattern needs in a line, and whether its run time is bounded.

A backtracking engine is slow on lines that do not match, and a search for fixed texts is fast. So
every pattern must contain fixed text, which is taken from the parsed pattern: a pattern is tried
only on lines that contain it.
"""

import importlib
import itertools
import re
from collections.abc import Iterable
from typing import Any

MIN_LETTERS = 3
"""Letters of fixed text that every match of a pattern must contain."""
_FEW_LETTERS = 2
"""Letters that make a further text worth looking for."""

# The parser of `re` has no public name; its nodes have been the same from 3.11 to 3.14.
_parser = importlib.import_module("re._parser")
_op = importlib.import_module("re._constants")

_REPEATS = frozenset({_op.MAX_REPEAT, _op.MIN_REPEAT, _op.POSSESSIVE_REPEAT})
_ATOMIC = frozenset({_op.POSSESSIVE_REPEAT, _op.ATOMIC_GROUP})
_ZERO_WIDTH = frozenset({_op.AT, _op.ASSERT, _op.ASSERT_NOT})
_LETTERS = re.compile("[A-Za-z]+")
_TOKEN = re.compile(r"\\.|\[\^?\]?(?:\\.|[^\]\\])*\]|[()|]", re.DOTALL)
"""What tells the structure of a pattern: escapes and sets, in which nothing counts, and groups."""
_COMMON = (
    *("accuracy", "batch", "checkpoint", "Checkpoint", "epoch", "global", "grad", "iteration"),
    *("learning", "loss", "memory", "model", "nan", "norm", "perplexity", "process", "rank"),
    *("restore", "sample", "save", "seconds", "size", "step", "time", "token", "train", "valid"),
    *("with", "from"),
)
"""Words of ordinary training output; rarer texts are preferred as literals."""
_OF_FAILURES = re.compile("(?:e?rrors?|f?ail(?:ed|ures?|ing)?)", re.IGNORECASE)
_FREQUENT = 3.5
"""Weight of a word that stands in most lines of a failure: four other letters are rarer."""
_MANY = 1000
"""Repetitions from this length count as unbounded."""


def literals(pattern: str) -> frozenset[str]:
    """Return fixed texts of which every match of the pattern contains at least one.

    Empty if a match needs no fixed text with `MIN_LETTERS` letters, or the pattern ignores case.
    Of several such sets the one with the rarest texts is returned.
    """
    tree = _parser.parse(pattern)
    if tree.state.flags & re.IGNORECASE:
        return frozenset()
    needed = max(_needs(tree), key=_rarity, default=frozenset({""}))
    return needed if min(len(letters(text)) for text in needed) >= MIN_LETTERS else frozenset()


def more_literals(pattern: str) -> frozenset[str]:
    """Return further fixed texts of which every match contains at least one.

    They stand in another part of the pattern than `literals`, lookaheads included, and are at least
    two letters long each. Empty if there are none.
    """
    tree = _parser.parse(pattern)
    if tree.state.flags & re.IGNORECASE:
        return frozenset()
    known = literals(pattern)
    others = (
        needed
        for needed in (*_needs(tree), *_needs_of_lookaheads(tree))
        if min(len(letters(text)) for text in needed) >= _FEW_LETTERS
        if not all(any(text in first for text in needed) for first in known)
    )
    return max(others, key=_rarity, default=frozenset())


def branches(pattern: str) -> tuple[tuple[int, int], ...]:
    """Return (start, end) of the alternatives of a pattern that is one alternation, `(?:a|b)`.

    The pattern matches a line exactly if one of them does, and each has literals of its own. Empty
    if the pattern is of another form, or names a group.
    """
    if not pattern.startswith("(?:") or not pattern.endswith(")") or "(?P<" in pattern:
        return ()
    bars = _bars(pattern)
    if bars is None or not bars:
        return ()
    edges = [2, *bars, len(pattern) - 1]
    spans = tuple((start + 1, end) for start, end in itertools.pairwise(edges))
    return spans if all(literals(pattern[start:end]) for start, end in spans) else ()


def _bars(pattern: str) -> list[int] | None:
    """Return the places of `|` in the group around a pattern; None: it ends before the end."""
    bars, depth = [], 0
    for token in _TOKEN.finditer(pattern, 0, len(pattern) - 1):
        text = token[0]
        depth += (text == "(") - (text == ")")
        if depth == 0:
            return None
        if text == "|" and depth == 1:
            bars.append(token.start())
    return bars


def _needs_of_lookaheads(items: Iterable[tuple[Any, Any]]) -> list[frozenset[str]]:
    return [needed for op, argument in items if op is _op.ASSERT for needed in _needs(argument[1])]


def letters(text: str) -> str:
    """Return the ASCII letters of a text."""
    return "".join(_LETTERS.findall(text))


def _rarity(needed: frozenset[str]) -> tuple[bool, float, int]:
    enough = all(len(letters(text)) >= MIN_LETTERS for text in needed)
    return enough, min(map(_weight, needed)), -len(needed)


def _weight(text: str) -> float:
    """Return how many letters of a text do not belong to a word of `_COMMON`."""
    left = letters(text)
    if _OF_FAILURES.fullmatch(left):
        return _FREQUENT
    if any(left in word for word in _COMMON):
        return 0
    for word in _COMMON:
        left = left.replace(word, "")
    return len(left)


def _needs(items: Iterable[tuple[Any, Any]]) -> list[frozenset[str]]:
    """Return the sets of texts that a sequence of the pattern needs, in its order."""
    needs: list[frozenset[str]] = []
    run = ""
    for op, argument in items:
        if op is _op.LITERAL:
            run += chr(argument)
        elif op not in _ZERO_WIDTH:
            ends = {_head(branch) for branch in argument[1]} if op is _op.BRANCH else {""}
            needs += [frozenset(run + end for end in ends)] if run else []
            needs += _needs_of(op, argument)
            run = ""
    return needs + ([frozenset({run})] if run else [])


def _head(items: Iterable[tuple[Any, Any]]) -> str:
    """Return the fixed text with which a sequence begins."""
    literal = itertools.takewhile(lambda item: item[0] is _op.LITERAL, items)
    return "".join(chr(character) for _, character in literal)


def _needs_of(op: Any, argument: Any) -> list[frozenset[str]]:
    if op is _op.SUBPATTERN:
        _group, flags, _without, inside = argument
        return [] if flags & re.IGNORECASE else _needs(inside)
    if op is _op.ATOMIC_GROUP:
        return _needs(argument)
    if op in _REPEATS:
        least, _most, inside = argument
        return _needs(inside) if least else []
    if op is _op.BRANCH:
        branches = [_needs(branch) for branch in argument[1]]
        if all(branches):
            return [frozenset().union(*(max(needs, key=_rarity) for needs in branches))]
    return []


def danger(pattern: str) -> str | None:
    """Return why a pattern may take very long on some line, or None."""
    return _danger(_parser.parse(pattern), repeated=False, leading=True)


def _danger(items: Iterable[tuple[Any, Any]], *, repeated: bool, leading: bool) -> str | None:
    """`repeated`: inside an unbounded repetition; `leading`: nothing precedes the sequence."""
    for op, argument in items:
        unbounded = op in _REPEATS and argument[1] >= _MANY
        if unbounded and repeated:
            return "an unbounded repetition inside another one"
        if unbounded and leading:
            return "an unbounded repetition at the start: put ^ or fixed text before it"
        for part in _parts(op, argument):
            inside = repeated or (unbounded and op not in _ATOMIC)
            if problem := _danger(part, repeated=inside, leading=leading):
                return problem
        leading = leading and _may_be_empty(op, argument)
    return None


def _may_be_empty(op: Any, argument: Any) -> bool:
    if op in _REPEATS:
        return bool(argument[0] == 0)
    return op in _ZERO_WIDTH and argument is not _op.AT_BEGINNING


def _parts(op: Any, argument: Any) -> list[Any]:
    """Return the sequences inside a node."""
    if op is _op.SUBPATTERN:
        return [argument[3]]
    if op is _op.BRANCH:
        return list(argument[1])
    if op in _REPEATS:
        return [argument[2]]
    if op is _op.ATOMIC_GROUP:
        return [argument]
    return [argument[1]] if op in (_op.ASSERT, _op.ASSERT_NOT) else []
