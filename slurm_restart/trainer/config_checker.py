"""Read values of a config and collect every problem instead of stopping at the first."""

import difflib
from collections.abc import Collection, Iterable
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    # Submitting a batch script needs no YAML, and its import takes 25 ms.
    from slurm_restart.trainer.yaml_lines import Document, Key

_MAX_SHOWN = 60


class Checker:
    """Read the values of a document by key; `problems` are complete lines of a message.

    Null counts as absent everywhere, as in the trainer.
    """

    def __init__(self, document: "Document") -> None:
        self.document = document
        self.problems: list[str] = []

    def add_problem(self, keys: tuple["Key", ...], expected: str, got: Any = None) -> None:
        """Add `expected …, got …` with the line of a key, or of its parent if absent."""
        message = f"expected {expected}, got {format_value(got)}"
        self.problems.append(self.document.problem(keys, message))

    def get(self, *keys: "Key") -> Any:
        """Return the value at a key; None if a key is absent, null or of another type."""
        value: Any = self.document.data
        for key in keys:
            if isinstance(value, dict):
                value = value.get(key)
            elif isinstance(value, list) and isinstance(key, int) and key < len(value):
                value = value[key]
            else:
                return None
        return value

    def mapping(self, *keys: "Key") -> bool:
        """Return whether the value is a mapping; a value of another type is a problem."""
        value = self.get(*keys)
        if value is not None and not isinstance(value, dict):
            self.add_problem(keys, "a mapping", value)
        return isinstance(value, dict)

    def whole(self, *keys: "Key", low: int, high: int | None = None) -> int | None:
        """Return a whole number within bounds; None if it is absent or wrong."""
        value = self.get(*keys)
        if value is None:
            return None
        if type(value) is not int or value < low or (high is not None and value > high):
            bounds = f"from {low}" if high is None else f"from {low} to {high}"
            self.add_problem(keys, f"a whole number {bounds}", value)
            return None
        return value

    def text(self, *keys: "Key") -> str | None:
        """Return text that is not empty and holds no NUL; None if it is absent or wrong."""
        value = self.get(*keys)
        if value is None:
            return None
        if not isinstance(value, str) or not value or "\0" in value:
            self.add_problem(keys, "text", value)
            return None
        return value

    def flag(self, *keys: "Key", default: bool) -> bool:
        """Return true or false; `default` if the value is absent or wrong."""
        value = self.get(*keys)
        if value is None:
            return default
        if not isinstance(value, bool):
            self.add_problem(keys, "true or false", value)
            return default
        return value

    def refuse_unknown(self, keys: tuple["Key", ...], known: Collection[str]) -> None:
        """Add a problem for each unknown key of a mapping, with the most similar known key."""
        for key in self.get(*keys) or {}:
            if key not in known:
                expected = nearest(key, known) or f"one of {', '.join(known)}"
                self.add_problem((*keys, key), expected, key)

    def refuse_misspelt(
        self, keys: tuple["Key", ...], read: Collection[str], others: Iterable[str] = ()
    ) -> None:
        """Add a problem for each unknown key that is very similar to one in `read`.

        Args:
            keys: of the mapping.
            read: keys that this package reads.
            others: keys that only the trainer reads.
        """
        known = {*read, *others}
        for key in self.get(*keys) or {}:
            if key not in known and (near := nearest(key, read, cutoff=0.8)):
                self.add_problem((*keys, key), near, key)


def nearest(word: Any, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """Return the most similar known word; None if none is similar."""
    near = difflib.get_close_matches(str(word), list(known), n=1, cutoff=cutoff)
    return near[0] if near else None


def format_value(value: Any) -> str:
    """Return a value as a message shows it: in YAML's form, and short."""
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
            short = value if len(value) <= _MAX_SHOWN else f"{value[:_MAX_SHOWN]}…"
            return repr(short)
        case _:
            text = str(value)
            return text if len(text) <= _MAX_SHOWN else f"{text[:_MAX_SHOWN]}…"
