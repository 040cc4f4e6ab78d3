"""The comment record: what a job reports about itself in its Comment, checked field by field.

Users can write anything into the Comment of their jobs, so every field has a form and a bound, and
a record with an invalid field is refused. The form is `csx-restart/1 key=value;key=value rest`,
where `rest` is the user's own comment. Some sites read Comments as JSON, so where the user's own
comment is a JSON object, the record becomes its first value:
`{"csx-restart/1":"key=value;key=value",…}`.
"""

import json
import re
from collections.abc import Callable
from dataclasses import fields, replace
from enum import Enum
from typing import Any

from slurm_restart.core.category import Category
from slurm_restart.core.compile_sizes import SIZE_LIST, parse_sizes
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.progress_unit import ProgressUnit
from slurm_restart.errors import CommentRecordError
from slurm_restart.frozen import frozen

_KEY = "csx-restart/1"
PREFIX = f"{_KEY} "
JSON_PREFIX = f'{{"{_KEY}":'
"""How a Comment begins that is a JSON object; a tool that writes it anew may add blanks."""
MAX_RECORD_BYTES = 576
MAX_USER_COMMENT_BYTES = 400
MAX_STEP = 10**12
MAX_TIME = 10**11
"""Epoch seconds."""
MAX_COUNT = 10**6
"""Restarts of a job, by Slurm's own count too."""
MAX_NODES = 100_000
MAX_HOSTLIST = 160
"""Characters of a hostlist in a record."""
MAX_NAMED = 64
"""Nodes that a record may name; a longer list is ignored."""
MAX_RESTARTS = 10_000
MAX_SECONDS = 10**8
MAX_LEAD = 65535
"""Seconds; the longest time that --signal of sbatch accepts."""


class Mode(Enum):
    """What the run does; an evaluation has no progress of its own."""

    FIT = "fit"
    VALIDATE = "validate"
    VALIDATE_ALL = "validate_all"
    TRAIN_AND_EVAL = "train_and_eval"
    SCRIPT = "script"
    """A batch script of the user's: it gets no config, and its checkpoints may be unknown."""

    @property
    def is_evaluation(self) -> bool:
        """Whether the run writes no checkpoints, so that it always starts from scratch."""
        return self in (Mode.VALIDATE, Mode.VALIDATE_ALL)


@frozen
class CommentRecord:
    """What the hook needs from a job.

    The first block is written by `csx-sbatch`, the rest by the supervisor in each attempt.
    Steps are training steps; times are seconds, `submit` seconds since the epoch.
    """

    run: str
    """The run id, 16 hexadecimal digits."""
    max_restarts: int
    """`max_num_restarts`: restarts in a row without a new checkpoint."""
    num_nodes: int
    """Nodes of a full-size attempt."""
    min_nodes: int
    mode: Mode = Mode.FIT
    phase: int = 0
    spares: int = 0
    """Nodes of the job beside those of a full-size attempt."""
    stop_on_repeat: int | None = None
    """None: the site's default, as for the times below."""
    shrink_after: int | None = None
    give_up_after: int | None = None
    exclude_for: int | None = None
    node_search: bool = True
    lead: int | None = None
    """Seconds between the warning signal and the time limit; None: the default."""
    fixed_size: bool = False
    """The size is what Slurm makes of the user's own options (`-n`, gres totals): never written."""
    self_requeue: bool = False
    """The supervisor requeues the job: hook and reconciler leave it alone."""

    stop: int | None = None
    """A person wants the run to end with the attempt of this restart count of Slurm's."""

    prior_failures: int = 0
    """Ends in a row without progress of the job that this one takes up."""
    prior_total: int = 0
    """Restarts in all of the jobs before in the same run directory."""
    cleared: int | None = None
    """Exclusions of the run from before this time, epoch seconds, no longer hold."""

    no_compile: str | None = None
    """Numbers of nodes for which the model is known not to compile: `3,2`; see `compile_sizes`."""

    unit: ProgressUnit = ProgressUnit.STEP
    """What `from_step` and `step` count."""

    attempt: int | None = None
    """Number of the attempt from 0; None before the first report of a supervisor."""
    submit: int | None = None
    """SubmitTime of the attempt, which names its end."""
    restarts: int | None = None
    """Slurm's restart count when the attempt started."""
    in_place: int = 0
    """Restarts in place in this allocation before this attempt; the fields below describe the ends
    before them, see `InPlaceEnds`."""
    in_place_failures: int = 0
    in_place_progress: bool = False
    in_place_fall_backs: int = 0
    in_place_same: int = 0
    in_place_seconds: int = 0
    earlier: bool = False
    """There is an earlier checkpoint, from which the next attempt starts if this one fails without
    progress."""
    from_step: int | None = None
    """The step that has to be exceeded for progress; None: not known yet."""
    step: int | None = None
    """The highest step that the run has reached: that of its newest complete checkpoint, or as the
    plan's `progress` measures it; None: not known yet."""
    ended: bool = False
    """The trainer of this attempt has ended, and the fields below describe how."""
    exit: int | None = None
    cause: Category | None = None
    rule: str | None = None
    """The id of the log rule that gave the cause."""
    root: str | None = None
    """First 8 hexadecimal digits of a hash of the root-cause line."""
    likely: bool = False
    """The cause is only likely: Slurm's facts stand above it."""
    put_off: bool = False
    """The cause would stop the run if it were sure; it does if it repeats at the same step."""
    nodes: str | None = None
    """Nodes that the evidence names, as a hostlist."""
    left_out: str | None = None
    """Nodes of the job, as a hostlist, that attempts in this allocation have left out."""
    said: str | None = None
    """What the health check printed on the first of `nodes` where it is the cause, else of
    `left_out`; `_` stands for blanks and the like."""

    @property
    def refused_sizes(self) -> frozenset[int]:
        """Numbers of nodes for which the model is known not to compile."""
        return parse_sizes(self.no_compile)

    def is_stopped(self, restarts: int) -> bool:
        """Return whether the run is to end with the attempt of this restart count of Slurm's."""
        return self.stop == restarts

    @property
    def job_nodes(self) -> int:
        """Nodes of the job at its submission."""
        return self.num_nodes + self.spares

    @property
    def in_place_ends(self) -> InPlaceEnds:
        """The ends before this attempt in the same allocation."""
        return InPlaceEnds(
            restarts=self.in_place,
            failures=self.in_place_failures,
            progress=self.in_place_progress,
            fall_backs=self.in_place_fall_backs,
            same=self.in_place_same,
            seconds=self.in_place_seconds,
        )


def in_place_fields(ends: InPlaceEnds) -> dict[str, Any]:
    """Return the values of the record's fields for these ends."""
    return {
        "in_place": ends.restarts,
        "in_place_failures": ends.failures,
        "in_place_progress": ends.progress,
        "in_place_fall_backs": ends.fall_backs,
        "in_place_same": ends.same,
        "in_place_seconds": ends.seconds,
    }


def _int(low: int, high: int) -> Callable[[str], int]:
    def read(text: str) -> int:
        if not re.fullmatch(r"-?[0-9]{1,15}", text) or not low <= int(text) <= high:
            raise CommentRecordError(f"expected a whole number from {low} to {high}")
        return int(text)

    return read


def _text(pattern: str) -> Callable[[str], str]:
    def read(text: str) -> str:
        if not re.fullmatch(pattern, text, re.ASCII):
            raise CommentRecordError(f"expected text of the form {pattern}")
        return text

    return read


def _enum(kind: type[Enum]) -> Callable[[str], Enum]:
    def read(text: str) -> Enum:
        try:
            return kind(text)
        except ValueError:
            raise CommentRecordError(f"expected one of the {kind.__name__} names") from None

    return read


def _flag(text: str) -> bool:
    if text not in {"0", "1"}:
        raise CommentRecordError("expected 0 or 1")
    return text == "1"


_hostlist = _text(rf"[A-Za-z0-9\[\],._-]{{1,{MAX_HOSTLIST}}}")

# field: (key in the Comment, reader). Keys are short because 576 bytes are all there is.
_FIELDS: dict[str, tuple[str, Callable[[str], Any]]] = {
    "run": ("run", _text(r"[0-9a-f]{16}")),
    "max_restarts": ("max", _int(0, MAX_RESTARTS)),
    "num_nodes": ("num", _int(1, MAX_NODES)),
    "min_nodes": ("min", _int(1, MAX_NODES)),
    "mode": ("mode", _enum(Mode)),
    "phase": ("phase", _int(0, 10_000)),
    "spares": ("spares", _int(0, MAX_NODES)),
    "stop_on_repeat": ("repeat", _int(0, MAX_RESTARTS)),
    "shrink_after": ("shrink", _int(0, MAX_SECONDS)),
    "give_up_after": ("giveup", _int(0, MAX_SECONDS)),
    "exclude_for": ("exclude", _int(0, MAX_SECONDS)),
    "node_search": ("search", _flag),
    "lead": ("lead", _int(0, MAX_LEAD)),
    "stop": ("stop", _int(0, MAX_COUNT)),
    "prior_failures": ("pf", _int(0, MAX_RESTARTS)),
    "prior_total": ("pt", _int(0, MAX_COUNT)),
    "cleared": ("clear", _int(0, MAX_TIME)),
    "no_compile": ("nocomp", _text(SIZE_LIST)),
    "unit": ("unit", _enum(ProgressUnit)),
    "fixed_size": ("fixed", _flag),
    "self_requeue": ("self", _flag),
    "attempt": ("attempt", _int(0, MAX_STEP)),
    "submit": ("submit", _int(0, MAX_STEP)),
    "restarts": ("restarts", _int(0, MAX_STEP)),
    "in_place": ("in", _int(0, MAX_RESTARTS)),
    "in_place_failures": ("inf", _int(0, MAX_RESTARTS)),
    "in_place_progress": ("inp", _flag),
    "in_place_fall_backs": ("inb", _int(0, MAX_RESTARTS)),
    "in_place_same": ("ins", _int(0, MAX_RESTARTS)),
    "in_place_seconds": ("int", _int(0, MAX_SECONDS)),
    "earlier": ("earlier", _flag),
    "from_step": ("from", _int(0, MAX_STEP)),
    "step": ("step", _int(0, MAX_STEP)),
    "ended": ("ended", _flag),
    "exit": ("exit", _int(0, 255)),
    "cause": ("cause", _enum(Category)),
    "rule": ("rule", _text(r"[a-z0-9][a-z0-9._-]{0,63}")),
    "root": ("root", _text(r"[0-9a-f]{8}")),
    "likely": ("likely", _flag),
    "put_off": ("off", _flag),
    "nodes": ("nodes", _hostlist),
    "left_out": ("out", _hostlist),
    "said": ("said", _text(r"[A-Za-z0-9_.,:/+%()-]{1,80}")),
}
_REQUIRED = ("run", "max_restarts", "num_nodes", "min_nodes")
_BY_KEY = {key: (field, read) for field, (key, read) in _FIELDS.items()}


def _format_value(value: Any) -> str:
    if isinstance(value, Enum):
        return str(value.value)
    return str(int(value)) if isinstance(value, bool) else str(value)


def format_record(comment_record: CommentRecord) -> str:
    """Return the record as text without the prefix. A field at its default is omitted.

    `self` comes first: the shell part of the hook knows such a job by it.

    `said`, then `no_compile`, `left_out` and `nodes`, is omitted if the text would exceed
    `MAX_RECORD_BYTES`: without `nodes`, the hook blames no node.
    """
    pairs = [
        f"{_FIELDS[field.name][0]}={_format_value(value)}"
        for field in sorted(fields(comment_record), key=lambda field: field.name != "self_requeue")
        if (value := getattr(comment_record, field.name)) is not None and value != field.default
    ]
    text = ";".join(pairs)
    for name in ("said", "no_compile", "left_out", "nodes") if len(text) > MAX_RECORD_BYTES else ():
        if getattr(comment_record, name) is not None:
            less: dict[str, Any] = {name: None}
            return format_record(replace(comment_record, **less))
    return text


def format_comment(comment_record: CommentRecord, user_comment: str = "") -> str:
    """Return the whole Comment: the record with the user's own comment."""
    record = format_record(comment_record)
    members = _json_members(user_comment)
    if members is None:
        return f"{PREFIX}{record} {user_comment}".rstrip()
    return f'{JSON_PREFIX}"{record}"{members}'


def _json_members(user_comment: str) -> str | None:
    """Return what follows a first value in a JSON object; None: the text is no JSON object."""
    text = user_comment.rstrip()
    if not text.startswith("{"):
        return None
    try:
        members = json.loads(text)
    except (ValueError, RecursionError):
        return None
    if _KEY in members:
        return None
    return f",{text[1:]}" if members else text[1:]


def _split(comment: str) -> tuple[str, str] | None:
    """Return the record's text and the user's own comment; None: there is no record."""
    if comment.startswith(PREFIX):
        record, _, user_comment = comment.removeprefix(PREFIX).partition(" ")
        return record, user_comment
    if comment.startswith(JSON_PREFIX):
        value = comment.removeprefix(JSON_PREFIX).lstrip(" ")
        record, _, rest = value.removeprefix('"').partition('"')
        return record, "{" + rest.removeprefix(",")
    return None


def split_user_comment(comment: str) -> str:
    """Return the user's own comment without the record; all of it where there is no record."""
    parts = _split(comment)
    return comment if parts is None else parts[1]


def is_managed(comment: str) -> bool:
    """Whether a job claims to be this plugin's."""
    return comment.startswith((PREFIX, JSON_PREFIX))


def parse_comment(comment: str) -> CommentRecord:
    """Parse the record of a Comment.

    Raises:
        CommentRecordError: no record, or a record that this plugin would not have written.
    """
    parts = _split(comment)
    if parts is None:
        raise CommentRecordError("the Comment holds no record of csx-restart")
    text = parts[0]
    if len(text) > MAX_RECORD_BYTES:
        raise CommentRecordError(f"the comment record is longer than {MAX_RECORD_BYTES} bytes")
    values: dict[str, Any] = {}
    for pair in text.split(";"):
        key, equals, value = pair.partition("=")
        if not equals or key not in _BY_KEY:
            raise CommentRecordError("the comment record has an unknown field")
        field, read = _BY_KEY[key]
        if field in values:
            raise CommentRecordError(f"{key}: given twice")
        try:
            values[field] = read(value)
        except CommentRecordError as error:
            raise CommentRecordError(f"{key}: {error}") from None
    missing = [field for field in _REQUIRED if field not in values]
    if missing:
        raise CommentRecordError(f"the comment record lacks {', '.join(missing)}")
    comment_record = CommentRecord(**values)
    if comment_record.min_nodes > comment_record.num_nodes:
        raise CommentRecordError("min: larger than num")
    if (
        max(comment_record.in_place_failures, comment_record.in_place_same)
        > comment_record.in_place
    ):
        raise CommentRecordError("inf, ins: larger than in")
    return comment_record
