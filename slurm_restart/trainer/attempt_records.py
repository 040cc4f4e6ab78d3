"""The records of an attempt, as JSON files beside its output."""

import json
from dataclasses import field
from pathlib import Path
from typing import Annotated, Any, TypeVar

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.compile_sizes import CompileOutcome
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.core.record_reader import (
    Argument,
    Range,
    Text,
    json_lines,
    parse_json,
    read_object,
    to_data,
    unknown_keys,
)
from slurm_restart.errors import RecordError, StateError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import FileTooLargeError, read_bounded, read_tail

MAX_BYTES = 16 << 20
"""Of one file. A start record lists the checkpoints that existed before, a line of
`progress.jsonl` takes about 150 bytes."""
_R = TypeVar("_R")
_Time = Annotated[float, Range(0, 10**11)]
"""Epoch seconds; the bound is in the year 5138, which `datetime` still knows."""
_Byte = Annotated[int, Range(0, 255)]
_Mark = Annotated[int, Range(-(2**63), 2**63 - 1)]
_CategoryName = Annotated[str, Text(values=frozenset(member.value for member in Category))]
_ConfidenceName = Annotated[str, Text(values=frozenset(member.value for member in Confidence))]


@frozen
class LeftOutCheckpoint:
    """A checkpoint from which attempts fail."""

    path: Argument
    reason: str
    unknown: dict[str, Any] = unknown_keys()


@frozen
class AttemptStart:
    """How an attempt started. Times are epoch seconds."""

    attempt: int
    at: _Time
    job_id: int | None
    restarts: int
    """SLURM_RESTART_COUNT."""
    in_place: int = 0
    """Restarts in place in this allocation up to this attempt; 0: Slurm has started it."""
    nodes: tuple[str, ...]
    unhealthy: dict[str, str] = field(default_factory=dict)
    """Nodes of the job that the health check has found faulty, and what: they are not used."""
    num_csx: int
    checkpoint: Argument | None
    """What is trained from or evaluated; None: training from scratch, or an evaluation whose config
    names no single one."""
    from_step: int | None
    """None: an evaluation, or a checkpoint whose step is not known."""
    unit: ProgressUnit = ProgressUnit.STEP
    """What the steps of this attempt count."""
    measured: bool = False
    """The plan's `progress` shows how far the run is: `from_step` is the highest step of all
    earlier attempts, and the attempt starts as the first one did."""
    resumed: bool
    """`checkpoint` was written by an earlier attempt of this phase."""
    mark: tuple[_Mark, _Mark] | None = None
    """The mark of `checkpoint`, which changes when it is written anew; None: not known."""
    earlier: bool = False
    """There is an earlier checkpoint for the next attempt, if this one fails without progress."""
    left_out: tuple[LeftOutCheckpoint, ...] = ()
    """Checkpoints that are well-formed, and why they are not used."""
    links: dict[str, tuple[Argument, Argument]] = field(default_factory=dict)
    """Links that were pointed at `checkpoint`, as theirs is not used: what each held, and holds."""
    beyond: int | None = None
    """The step that has to be exceeded for progress; None: `from_step`."""
    first_step: int
    """The step at which the phase began, in its first attempt."""
    last_step: int | None
    """The step at which the run is done; None: not known."""
    validation_only: bool = False
    """All steps are done; what is left is the validation after the last one."""
    nan_checker: bool = False
    """The Model Zoo's check for NaN is on."""
    before: dict[str, tuple[_Mark, _Mark]] = field(default_factory=dict)
    """In the first attempt: checkpoints that existed already, name and mark. All others are of this
    phase; clocks of nodes and file servers, which may differ, are not compared."""
    before_in_file: bool = False
    """There are so many that they are in `before.bin` (`KnownCheckpoints`) instead."""
    unknown: dict[str, Any] = unknown_keys()

    @property
    def to_exceed(self) -> int | None:
        """The step beyond which the attempt makes progress; None: it makes none."""
        return self.from_step if self.beyond is None else self.beyond


def highest_step(start: AttemptStart | None, step: int | None) -> int | None:
    """Return the highest step of the run: an attempt may have started before it.

    Args:
        start: the last attempt's record; None: it started no program.
        step: of the newest checkpoint; None: not known.
    """
    beyond = None if start is None else start.beyond
    return max((known for known in (step, beyond) if known is not None), default=None)


@frozen
class Fence:
    """Taken by an attempt before it chooses a checkpoint: no earlier one is the current attempt."""

    attempt: int
    token: Argument
    """Random: a directory of the same number that was made anew has another one."""
    at: _Time
    job_id: int | None
    restarts: int
    """Slurm's restart count, or that of an earlier fence of this job, if Slurm counts anew."""
    node: str | None
    """That of the supervisor, by Slurm's name."""
    saved: dict[str, Annotated[int, Range(0, 10**9)]] = field(default_factory=dict)
    """Where checkpoints are at a URL: of each earlier attempt that may still run, how many it had
    on record when the fence was taken."""
    unknown: dict[str, Any] = unknown_keys()

    def is_before(self, other: "Fence") -> bool:
        """Return whether Slurm started this one first, whichever has the higher number."""
        return self.job_id == other.job_id and self.restarts < other.restarts


@frozen
class LateCheckpoint:
    """A checkpoint that an attempt may have written after a later one had taken its fence."""

    at: _Time
    path: Argument
    mark: tuple[_Mark, _Mark]
    """Written anew, it has another mark."""
    step: int
    reason: str
    """Why it is not used, for people."""
    unknown: dict[str, Any] = unknown_keys()


@frozen
class Compiled:
    """A compile for a smaller restart that has ended by itself."""

    at: _Time
    attempt: int
    nodes: int
    num_csx: int
    outcome: CompileOutcome
    seconds: _Time
    """How long it took."""
    config: Argument
    """What was compiled: the same text for the same config and command."""
    reason: Argument = ""
    """Why it failed, for people; empty: it did not."""
    unknown: dict[str, Any] = unknown_keys()


@frozen
class Saved:
    """A new complete checkpoint, or one at a URL that the output said was saved."""

    at: _Time
    step: int
    path: Argument
    mark: tuple[_Mark, _Mark] | None = None
    """Its mark when it was found to be complete; at a URL: the attempt that saved it, and 0. None:
    recorded by an earlier release."""
    found_by: int | None = None
    """At a URL: the later attempt that found it in the output, as it was not on record."""
    unknown: dict[str, Any] = unknown_keys()


@frozen
class Warned:
    """What the user was told while the attempt ran."""

    at: _Time
    text: str
    unknown: dict[str, Any] = unknown_keys()


@frozen
class Measured:
    """How far an attempt without known checkpoints has got."""

    at: _Time
    step: int
    unknown: dict[str, Any] = unknown_keys()


@frozen
class RootCauseLine:
    """The line of the output with the cause; `line` counts from 1."""

    line: int
    text: str
    file: str | None = None
    unknown: dict[str, Any] = unknown_keys()


@frozen
class AttemptEnd:
    """How an attempt ended. Times are epoch seconds."""

    attempt: int
    at: _Time
    category: _CategoryName
    rule: str
    reason: str
    """Text for people; empty for success."""
    confidence: _ConfidenceName = "certain"
    exit_code: _Byte | None = None
    """None: not known, or ended by a signal."""
    signal: _Byte | None = None
    root_cause: RootCauseLine | None = None
    root: str | None = None
    """Fingerprint of the root-cause line, as in the comment record."""
    blamed_nodes: tuple[str, ...] = ()
    step: int | None = None
    """The highest step that the run has reached: that of its newest complete checkpoint, or as the
    plan's `progress` measures it."""
    progress: bool | None = None
    """Whether this attempt exceeded the step that it started from; None: not known."""
    recoverable: bool = True
    expected_decision: str = ""
    """The decision that the supervisor expects of the hook."""
    stuck: tuple[str, ...] = ()
    """What the processes of a run did that hung, for people; the stacks are in `hang/`."""
    compile_job_ids: tuple[str, ...] = ()
    execute_job_ids: tuple[str, ...] = ()
    backfilled: bool = False
    """Whether the supervisor wrote no exit record, and this record was derived from other facts."""
    unknown: dict[str, Any] = unknown_keys()


@frozen
class RequeueRequest:
    """What the supervisor asks of Slurm after an attempt, written before it asks. Epoch seconds."""

    at: _Time
    requeued: bool
    """Whether Slurm had requeued the job already."""
    exc_nodes: tuple[str, ...] = ()
    """Nodes that the run excludes from now on, without those that people exclude."""
    num_nodes: int | None = None
    """The new size; None: it stays."""
    start_time: _Time | None = None
    done: bool | None = None
    """Whether Slurm has accepted it; None: not known, as its command was killed or unanswered."""
    unknown: dict[str, Any] = unknown_keys()


def to_json(record: Any) -> bytes:
    """Return a record as the content of a JSON file."""
    return f"{json.dumps(to_data(record), indent=2)}\n".encode()


def to_line(record: Any) -> str:
    """Return a record as one line of JSON."""
    return json.dumps(to_data(record))


def load_record(kind: type[_R], path: Path) -> _R:
    """Return the record of a file.

    Raises:
        RecordError: it is not a record of that kind.
        OSError: it cannot be read: not there, no regular file, larger than `MAX_BYTES`.
    """
    data = read_bounded(path, MAX_BYTES, follow=False)
    try:
        return read_object(kind, parse_json(data))[0]
    except RecordError as error:
        raise error.at(str(path)) from None


def read_record(kind: type[_R], path: Path) -> _R | None:
    """Return the record of a file; None: there is none, or it cannot be read."""
    try:
        return load_record(kind, path)
    except (OSError, RecordError):
        return None


def read_lines(kind: type[_R], path: Path) -> tuple[tuple[_R, ...], tuple[StateError, ...]]:
    """Return the records of a file with one a line, and what cannot be read: lines, or the file.

    The last line of a process that was killed may be torn, as may any when the disk was full. Of a
    file that is too large the end is read, as the newest records matter most.
    """
    found: list[_R] = []
    problems: list[StateError] = []
    try:
        data, is_whole = _read_newest(path)
    except FileNotFoundError:
        return (), ()
    except OSError as error:
        return (), (StateError(f"{path}: {error.strerror}"),)
    if not is_whole:
        problems.append(StateError(f"{path}: only the last {len(data)} bytes are read"))
    for number, line in json_lines(data):
        try:
            found.append(read_object(kind, parse_json(line))[0])
        except RecordError as error:
            problems.append(error.at(str(path), number))
    return tuple(found), tuple(problems)


def _read_newest(path: Path) -> tuple[bytes, bool]:
    """Return the whole lines at the end of a file, and whether that is all of it.

    Raises:
        OSError: it cannot be read.
    """
    try:
        return read_bounded(path, MAX_BYTES, follow=False), True
    except FileTooLargeError:
        return read_tail(path, MAX_BYTES, follow=False).partition(b"\n")[2], False
