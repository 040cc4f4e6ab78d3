"""One strict reader of records: JSON objects as frozen dataclasses, checked by their annotations.

Exact types (true is no number), ranges, lengths and nesting are checked. Without an annotation of
its own, a number is a time in epoch seconds, a step or a count: 0 to `MAX_NUMBER`. Keys that the
dataclass does not have are kept for the next writing. Whatever the input is, the only error is
`RecordError`.
"""

import json
import math
import types
from collections.abc import Iterator
from dataclasses import MISSING, dataclass, field, fields, is_dataclass
from enum import Enum
from functools import cache
from typing import Annotated, Any, NamedTuple, TypeVar, Union, get_args, get_origin, get_type_hints

from slurm_restart.core.printable import escape_controls
from slurm_restart.errors import RecordError

MAX_NUMBER = 10**12
MAX_TEXT = 131_072
"""Characters of a text: the longest argument that Linux gives a program."""
MAX_ITEMS = 100_000
MAX_DEPTH = 16
"""Nesting of lists and objects under a key that is not known."""
_SHOWN = 60
_UNKNOWN = "unknown"

# What release 0.1 wrote, and the name that is written since 0.2.
FORMER_KEYS = {"settled": "backfilled"}
FORMER_VALUES = {
    "refit": "adjust", "wrote": "applied", "ghost": "stale_running", "files": "any",
}  # fmt: skip

_R = TypeVar("_R")


@dataclass(frozen=True)
class Range:
    """Bounds of a number, both inclusive; an annotation: `Annotated[int, Range(0, 255)]`."""

    low: float = 0
    high: float = MAX_NUMBER


@dataclass(frozen=True)
class Text:
    """Bounds of a text; an annotation."""

    most: int = MAX_TEXT
    nul: bool = True
    """Whether it may hold NUL characters, which no path and no argument of a program may."""
    values: frozenset[str] | None = None
    """The only texts that are allowed; None: any."""


Argument = Annotated[str, Text(nul=False)]
"""A path, or text that becomes an argument of a program."""


class _Field(NamedTuple):
    name: str
    hint: Any
    required: bool


_ANY_TEXT, _ANY_NUMBER = Text(), Range()
"""The bounds of values whose annotation has none."""


class _Layout(NamedTuple):
    fields: tuple[_Field, ...]
    names: frozenset[str]
    unknown: str | None
    """The field that takes the unknown keys."""


def unknown_keys() -> Any:
    """Return the dataclass field that keeps the keys of another release; see `to_data`."""
    return field(default_factory=dict, compare=False, repr=False, metadata={_UNKNOWN: True})


def parse_json(data: bytes | str) -> Any:
    """Return the value of a JSON text in UTF-8.

    Raises:
        RecordError: it is not JSON, or nested so deep that it cannot be read.
    """
    try:
        text = data.decode() if isinstance(data, bytes) else data
        return _DECODER.decode(text)
    except RecursionError:
        raise RecordError("", "JSON", "lists or objects nested too deep") from None
    except ValueError as error:
        raise RecordError("", "JSON", escape_controls(error)) from None


def read_object(kind: type[_R], data: Any) -> tuple[_R, dict[str, Any]]:
    """Return a record of the dataclass `kind`, and the keys that it has no field for.

    A dataclass with an `unknown_keys()` field takes them itself; then there are none left.

    Raises:
        RecordError: a value of the wrong type, out of range, too long, or missing.
    """
    return _object(kind, data, "")


def to_data(record: Any) -> Any:
    """Return a record as JSON data, with the unknown keys that it was read with."""
    if is_dataclass(record) and not isinstance(record, type):
        layout = _layout(type(record))
        known = {entry.name: to_data(getattr(record, entry.name)) for entry in layout.fields}
        unknown = getattr(record, layout.unknown) if layout.unknown else {}
        return known | {key: value for key, value in unknown.items() if key not in known}
    if isinstance(record, Enum):
        return record.value
    if isinstance(record, tuple | list):
        return [to_data(item) for item in record]
    if isinstance(record, dict):
        return {key: to_data(item) for key, item in record.items()}
    return record


def json_lines(data: bytes) -> Iterator[tuple[int, bytes]]:
    """Yield the number, from 1, and the text of each line that is not empty."""
    for number, line in enumerate(data.split(b"\n"), 1):
        if line.strip():
            yield number, line


@cache
def _layout(kind: Any) -> _Layout:
    hints = get_type_hints(kind, include_extras=True)
    known = []
    unknown = None
    for entry in fields(kind):
        if entry.metadata.get(_UNKNOWN):
            unknown = entry.name
            continue
        required = entry.default is MISSING and entry.default_factory is MISSING
        known.append(_Field(entry.name, hints[entry.name], required))
    return _Layout(tuple(known), frozenset(entry.name for entry in known), unknown)


def _object(kind: Any, data: Any, key: str) -> tuple[Any, dict[str, Any]]:
    if not isinstance(data, dict):
        raise RecordError(key, "an object", _found(data))
    layout = _layout(kind)
    names = layout.names
    given: dict[str, Any] = {}
    unknown: dict[str, Any] = {}
    for name, value in data.items():
        current = FORMER_KEYS.get(name, name)
        if current in names and (current == name or current not in data):
            given[current] = value
        else:
            _check_unknown(_join(key, name), name, value)
            unknown[name] = value
    values = {}
    for entry in layout.fields:
        place = f"{key}.{entry.name}" if key else entry.name
        if entry.name in given:
            values[entry.name] = _value(entry.hint, given[entry.name], place)
        elif entry.required:
            raise RecordError(place, "a value", "nothing: the key is missing")
    if layout.unknown:
        return kind(**values, **{layout.unknown: unknown}), {}
    return kind(**values), unknown


def _value(hint: Any, value: Any, key: str, limits: Any = None) -> Any:  # noqa: PLR0911 - a type each
    """Return a JSON value as the annotated type; `limits`: the annotation's Range or Text."""
    if hint is int or hint is str:  # most values of a journal
        return _scalar(hint, value, key, limits)
    origin = get_origin(hint)
    if origin is Annotated:
        inner, limit = get_args(hint)[:2]
        return _value(inner, value, key, limit)
    if origin in (Union, types.UnionType):
        if value is None:
            return None
        inner = next(entry for entry in get_args(hint) if entry is not types.NoneType)
        return _value(inner, value, key, limits)
    if origin is tuple:
        return _tuple(get_args(hint), value, key)
    if origin is dict:
        return _mapping(get_args(hint)[1], value, key)
    if is_dataclass(hint):
        return _object(hint, value, key)[0]
    if issubclass(hint, Enum):
        return _member(hint, value, key)
    return _scalar(hint, value, key, limits)


def _tuple(hints: tuple[Any, ...], value: Any, key: str) -> tuple[Any, ...]:
    if not isinstance(value, list):
        raise RecordError(key, "a list", _found(value))
    repeated = hints[-1] is Ellipsis
    if len(value) > MAX_ITEMS or not (repeated or len(value) == len(hints)):
        count = f"at most {MAX_ITEMS}" if repeated else str(len(hints))
        raise RecordError(key, f"a list of {count} values", f"{len(value)}")
    kinds = hints[:1] * len(value) if repeated else hints
    return tuple(
        _value(hint, item, f"{key}[{index}]")
        for index, (hint, item) in enumerate(zip(kinds, value, strict=True))
    )


def _mapping(hint: Any, value: Any, key: str) -> dict[str, Any]:
    if not isinstance(value, dict):
        raise RecordError(key, "an object", _found(value))
    if len(value) > MAX_ITEMS:
        raise RecordError(key, f"an object of at most {MAX_ITEMS} keys", f"{len(value)}")
    for name in value:
        _check_text(name, _join(key, name), Text())
    return {name: _value(hint, item, _join(key, name)) for name, item in value.items()}


def _member(kind: type[Enum], value: Any, key: str) -> Enum:
    if isinstance(value, str):
        for text in (value, FORMER_VALUES.get(value)):
            for member in kind:
                if member.value == text:
                    return member
    names = ", ".join(str(member.value) for member in kind)
    raise RecordError(key, f"one of {names}", _found(value))


def _scalar(kind: Any, value: Any, key: str, limits: Any) -> Any:
    if kind is str:
        return _check_text(value, key, limits or _ANY_TEXT)
    if kind is bool:
        if type(value) is not bool:
            raise RecordError(key, "true or false", _found(value))
        return value
    if kind not in (int, float):
        raise NotImplementedError(f"no record has a {kind}")
    bounds = limits or _ANY_NUMBER
    number = type(value) is int or (kind is float and type(value) is float)
    if not number or not bounds.low <= value <= bounds.high:
        what = "a whole number" if kind is int else "a number"
        raise RecordError(key, f"{what} from {bounds.low} to {bounds.high}", _found(value))
    return kind(value)


def _check_text(value: Any, key: str, limits: Text) -> str:
    if type(value) is not str:
        raise RecordError(key, "text", _found(value))
    if len(value) > limits.most:
        expected = f"text of at most {limits.most} characters"
        raise RecordError(key, expected, f"{len(value)}")
    if limits.values is not None and value not in limits.values:
        raise RecordError(key, f"one of {', '.join(sorted(limits.values))}", _found(value))
    if not limits.nul and "\0" in value:
        raise RecordError(key, "text without NUL characters", _found(value))
    try:
        value.encode("utf-8", "surrogateescape")
    except UnicodeEncodeError:
        raise RecordError(key, "text", "a lone surrogate") from None
    return value


def _check_unknown(key: str, name: str, value: Any) -> None:
    """Refuse what could not be written again, or not be read again; without recursion."""
    if len(name) > MAX_TEXT:
        raise RecordError(key, f"a key of at most {MAX_TEXT} characters", f"{len(name)}")
    _check_text(name, key, Text())
    level = [value]
    for _ in range(MAX_DEPTH):
        deeper: list[Any] = []
        for item in level:
            match item:
                case dict():
                    deeper += [*item, *item.values()]
                case list():
                    deeper += item
                case str():
                    _check_text(item, key, Text())
                case float() if not math.isfinite(item):
                    raise RecordError(key, "a finite number", _found(item))
        if not deeper:
            return
        level = deeper
    raise RecordError(key, f"at most {MAX_DEPTH} levels of nesting", "more")


def _refuse_constant(name: str) -> Any:
    raise ValueError(f"expected a number, got {name}")


_DECODER = json.JSONDecoder(parse_constant=_refuse_constant)
"""Made once: a journal may have a hundred thousand lines."""


def _join(key: str, name: str) -> str:
    short = escape_controls(name[:_SHOWN])
    return f"{key}.{short}" if key else short


def _found(value: Any) -> str:
    """Return a value as a message shows it: short, and printable."""
    match value:
        case None:
            return "null"
        case bool():
            return "true" if value else "false"
        case dict():
            return "an object"
        case list():
            return "a list"
        case str():
            return repr(value[:_SHOWN]) + ("…" if len(value) > _SHOWN else "")
        case _:
            return str(value)[:_SHOWN]
