"""What is on record of an attempt, as JSON files beside its output."""

import json
import types
from collections.abc import Mapping
from dataclasses import asdict, dataclass, field
from pathlib import Path
from typing import Any, TypeVar, Union, get_args, get_origin, get_type_hints

_R = TypeVar("_R")


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptStart:
    """What an attempt started from. Times are epoch seconds."""

    attempt: int
    at: float
    job_id: int | None
    restarts: int
    """SLURM_RESTART_COUNT."""
    nodes: tuple[str, ...]
    num_csx: int
    checkpoint: str | None
    """What the trainer loads; None: it starts from scratch, or an evaluation's config says."""
    from_step: int | None
    """None: an evaluation, or a checkpoint that does not tell its step."""
    resumed: bool
    """`checkpoint` was written by an earlier attempt of this phase."""
    first_step: int
    """The step at which the phase began, in its first attempt."""
    last_step: int | None
    """The step at which the run is done; None: not known."""
    before: dict[str, tuple[int, int]] = field(default_factory=dict)
    """In the first attempt: checkpoints that were there already, name and mark. What is not among
    them was written by this phase, whatever the clocks of nodes and file servers say."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Saved:
    """A new complete checkpoint."""

    at: float
    step: int
    path: str


@dataclass(frozen=True, kw_only=True, slots=True)
class RootCauseLine:
    """The line of the output that says why; `line` counts from 1."""

    line: int
    text: str
    file: str | None = None


@dataclass(frozen=True, kw_only=True, slots=True)
class AttemptEnd:
    """How an attempt ended. Times are epoch seconds."""

    attempt: int
    at: float
    category: str
    rule: str
    reason: str
    """For a person; empty for success."""
    confidence: str = "certain"
    exit_code: int | None = None
    """None: not known, or ended by a signal."""
    signal: int | None = None
    root_cause: RootCauseLine | None = None
    root: str | None = None
    """Fingerprint of the root-cause line, as in the digest."""
    blamed_nodes: tuple[str, ...] = ()
    step: int | None = None
    """The newest complete checkpoint of the run."""
    progress: bool | None = None
    """Whether this attempt wrote a new checkpoint; None: not known."""
    recoverable: bool = True
    expected_decision: str = ""
    """What the supervisor expects the hook to do; the hook decides."""
    compile_job_ids: tuple[str, ...] = ()
    execute_job_ids: tuple[str, ...] = ()
    settled: bool = False
    """The supervisor had no time to say this: it was put together afterwards."""


def to_json(record: Any) -> bytes:
    """A record as a JSON file."""
    return f"{json.dumps(asdict(record), indent=2)}\n".encode()


def to_line(record: Any) -> str:
    """A record as one line."""
    return json.dumps(asdict(record))


def read_record(kind: type[_R], path: Path) -> _R | None:
    """A record; None where there is none, or none that can be read."""
    try:
        return _build(kind, json.loads(path.read_bytes()))
    except (OSError, ValueError, TypeError):
        return None


def read_lines(kind: type[_R], path: Path) -> tuple[_R, ...]:
    """Records of a file with one a line; a line that is damaged is passed over."""
    try:
        text = path.read_bytes()
    except OSError:
        return ()
    found = []
    for line in text.splitlines():
        try:
            found.append(_build(kind, json.loads(line)))
        except (ValueError, TypeError):
            # The last line of a process that was killed, or of a disk that was full.
            continue
    return tuple(found)


def _build(kind: type[_R], data: Any) -> _R:
    """A record from JSON; fields of another release are passed over.

    Raises:
        TypeError: a value of another type than the field's, or a missing field.
    """
    if not isinstance(data, Mapping):
        raise TypeError(f"expected an object, got {data!r}")
    hints = get_type_hints(kind)
    return kind(**{name: _value(hints[name], data[name]) for name in hints if name in data})


def _value(kind: Any, value: Any) -> Any:
    origin = get_origin(kind)
    if origin in (Union, types.UnionType):
        return None if value is None else _value(get_args(kind)[0], value)
    if origin is tuple and isinstance(value, list):
        return tuple(_value(get_args(kind)[0], item) for item in value)
    if origin is dict and isinstance(value, dict):
        return {str(key): _value(get_args(kind)[1], item) for key, item in value.items()}
    if origin is None and kind is not RootCauseLine:
        if kind is float and type(value) is int:
            return float(value)
        if type(value) is kind:
            return value
    elif kind is RootCauseLine:
        return _build(RootCauseLine, value)
    raise TypeError(f"expected {kind}, got {value!r}")
