"""Reads values out of a config and collects every problem, instead of stopping at the first."""

import difflib
from collections.abc import Collection, Iterable
from typing import Any

from slurm_restart.trainer.yaml_lines import Document, Key

_LONGEST = 60


class Checker:
    """What a document says, key by key; `problems` are whole lines for a person.

    Null counts as absent everywhere, as the trainer takes it.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self.problems: list[str] = []

    def problem(self, keys: tuple[Key, ...], expected: str, got: Any = None) -> None:
        """Note `expected …, got …` at a key (at its parent's line where it is absent)."""
        message = f"expected {expected}, got {shown(got)}"
        self.problems.append(self.document.problem(keys, message))

    def get(self, *keys: Key) -> Any:
        """The value at a key; None where it, or a parent, is absent, null or of another kind."""
        value: Any = self.document.data
        for key in keys:
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list) and isinstance(key, int) and key < len(value):
                value = value[key]
            else:
                return None
        return value

    def mapping(self, *keys: Key) -> bool:
        """Whether there is a mapping; anything else but nothing is a problem."""
        value = self.get(*keys)
        if value is not None and not isinstance(value, dict):
            self.problem(keys, "a mapping", value)
        return isinstance(value, dict)

    def whole(self, *keys: Key, low: int, high: int | None = None) -> int | None:
        """A whole number within bounds; None where there is none or it is wrong."""
        value = self.get(*keys)
        if value is None:
            return None
        if type(value) is not int or value < low or (high is not None and value > high):
            bounds = f"from {low}" if high is None else f"from {low} to {high}"
            self.problem(keys, f"a whole number {bounds}", value)
            return None
        return value

    def text(self, *keys: Key) -> str | None:
        """Text that is not empty and can be part of a path or an argument."""
        value = self.get(*keys)
        if value is None:
            return None
        if not isinstance(value, str) or not value or "\0" in value:
            self.problem(keys, "text", value)
            return None
        return value

    def flag(self, *keys: Key, default: bool) -> bool:
        """True or false."""
        value = self.get(*keys)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.problem(keys, "true or false", value)
            return default
        return value

    def only(self, keys: tuple[Key, ...], known: Collection[str]) -> None:
        """Refuse every key of a mapping that is not a known one, with the nearest that is."""
        for key in self.get(*keys) or {}:
            if key not in known:
                expected = nearest(key, known) or f"one of {', '.join(known)}"
                self.problem((*keys, key), expected, key)

    def misspelt(
        self, keys: tuple[Key, ...], read: Collection[str], others: Iterable[str] = ()
    ) -> None:
        """Refuse keys that are nearly one of those read here but neither it nor a known other."""
        known = {*read, *others}
        for key in self.get(*keys) or {}:
            if key not in known and (near := nearest(key, read, cutoff=0.8)):
                self.problem((*keys, key), near, key)


def nearest(word: Any, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The known word that a misspelt one was meant to be, None where none is like it."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def shown(value: Any) -> str:
    """A value in a message: as it would stand in the file, and short."""
    match value:
        case None:
            return "nothing"
        case bool():
            return "true" if value else "false"
        case dict():
            return "a mapping"
        case list():
            return "a list" if value else "an empty list"
        case str():
            short = value if len(value) <= _LONGEST else f"{value[:_LONGEST]}…"
            return repr(short)
        case _:
            text = str(value)
            return text if len(text) <= _LONGEST else f"{text[:_LONGEST]}…"
