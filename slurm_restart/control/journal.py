"""The journal: one append-only, fsynced file of JSON lines a run, in the controller's state."""

import fcntl
import json
import os
import re
import stat
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from slurm_restart.control.hook_log import HookLog
from slurm_restart.core.history import History, replay
from slurm_restart.core.journal_events import (
    AppliedEvent,
    EndEvent,
    Event,
    ExcludeEvent,
    FinalEvent,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
    ReadmitEvent,
    StaleRunningEvent,
    StartedEvent,
)
from slurm_restart.core.printable import escape_controls
from slurm_restart.core.record_reader import (
    FORMER_VALUES,
    json_lines,
    parse_json,
    read_object,
    to_data,
)
from slurm_restart.core.slurm_operations import Operation
from slurm_restart.errors import RecordError, StateError
from slurm_restart.safe_files import open_append, open_regular, read_bounded

_KINDS: dict[str, type[Event]] = {
    "end": EndEvent,
    "exclude": ExcludeEvent,
    "readmit": ReadmitEvent,
    "intend": IntendEvent,
    "outcome": OutcomeEvent,
    "applied": AppliedEvent,
    "note": NoteEvent,
    "stale_running": StaleRunningEvent,
    "started": StartedEvent,
    "final": FinalEvent,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
MAX_JOURNAL_BYTES = 16 * 1024 * 1024
"""A run of a thousand restarts writes about 2 MB."""
MAX_LINE = 4 * 1024 * 1024
MAX_LOGGED = 10
"""Unreadable lines of one journal that are logged one by one."""


@dataclass(frozen=True, kw_only=True)
class RunKey:
    """What names a run. Job ids are used again after a controller crash, so one is not enough."""

    cluster: str
    job_id: int
    uid: int
    run: str

    @property
    def file_name(self) -> str:
        """Name of the journal, without the cluster."""
        return f"{self.job_id}-{self.uid}-{self.run}.jsonl"


def to_line(event: Event, unknown: Mapping[str, Any] | None = None) -> str:
    """Return one event as a line of JSON; None values are left out.

    Args:
        event: the event.
        unknown: keys of another release that the event was read with.
    """
    data = {name: value for name, value in to_data(event).items() if value is not None}
    line = {**(unknown or {}), "event": _NAMES[type(event)], **data}
    return json.dumps(line, separators=(",", ":"))


def from_line(line: bytes | str) -> tuple[Event, dict[str, Any]]:
    """Return the event of a line, and the keys that this release does not know.

    Raises:
        RecordError: not a line that `to_line` writes, in this release or in 0.1.
    """
    if len(line) > MAX_LINE:
        raise RecordError("", f"a line of at most {MAX_LINE} bytes", str(len(line)))
    data = parse_json(line)
    if not isinstance(data, dict):
        raise RecordError("", "an object", type(data).__name__)
    name = data.pop("event", None)
    kind = _KINDS.get(FORMER_VALUES.get(name, name)) if isinstance(name, str) else None
    if kind is None:
        expected = f"one of {', '.join(_KINDS)}"
        raise RecordError("event", expected, repr(name)[:60] if isinstance(name, str) else "none")
    event, unknown = read_object(kind, data)
    if isinstance(event, IntendEvent):
        _check_operations(event)
    return event, unknown


def _check_operations(event: IntendEvent) -> None:
    for index, text in enumerate(event.operations):
        try:
            Operation.from_text(text)
        except ValueError:
            key = f"operations[{index}]"
            raise RecordError(key, "a request to Slurm", repr(text[:60])) from None


class Journal:
    """The open, locked journal of one run."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.problems: list[RecordError] = []
        """What is wrong with the lines that cannot be read, which are passed over."""
        self._unknown: dict[int, dict[str, Any]] = {}
        """Keys of another release, by the index of their event."""
        self.events: list[Event] = []
        data = self._read()
        self._parse(data)
        self._ends_whole = not data or data.endswith(b"\n")

    @property
    def damaged(self) -> list[int]:
        """The numbers of the lines that cannot be read."""
        return [problem.line or 0 for problem in self.problems]

    def _read(self) -> bytes:
        try:
            status = os.fstat(self._descriptor)
            if not stat.S_ISREG(status.st_mode):
                raise StateError(f"{self.path}: expected a regular file")
            if status.st_size > MAX_JOURNAL_BYTES:
                raise StateError(f"{self.path}: larger than {MAX_JOURNAL_BYTES} bytes")
            return os.pread(self._descriptor, MAX_JOURNAL_BYTES, 0)
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror}") from error

    def _parse(self, data: bytes) -> None:
        for number, line in json_lines(data):
            try:
                event, unknown = from_line(line)
            except RecordError as error:
                self.problems.append(error.at(str(self.path), number))
                continue
            if unknown:
                self._unknown[len(self.events)] = unknown
            self.events.append(event)

    def lines(self) -> str:
        """Return the events that could be read as lines, with the keys of another release."""
        return "".join(
            to_line(event, self._unknown.get(index)) + "\n"
            for index, event in enumerate(self.events)
        )

    @property
    def history(self) -> History:
        """What the events amount to."""
        return replay(self.events)

    def append(self, *events: Event) -> None:
        """Write events and wait until they are on disk.

        Raises:
            StateError: they are not.
        """
        if not events:
            return
        text = "".join(to_line(event) + "\n" for event in events)
        if not self._ends_whole:  # a torn last line stays a line of its own
            text = "\n" + text
        data = text.encode()
        self._ends_whole = False  # until all of it is there
        try:
            if os.write(self._descriptor, data) != len(data):
                raise StateError(f"{self.path}: no space for the journal")
            os.fsync(self._descriptor)
        except OSError as error:
            raise StateError(f"{self.path}: {error.strerror}") from error
        self._ends_whole = True
        self.events.extend(events)


def journal_path(state_dir: Path, key: RunKey) -> Path:
    """Where the journal of a run is.

    Raises:
        StateError: the cluster's name could lead out of the state directory.
    """
    if not _SAFE_NAME.fullmatch(key.cluster):
        raise StateError(f"cluster name {key.cluster!r} cannot name a folder")
    return state_dir / "journal" / key.cluster / key.file_name


@contextmanager
def open_journal(state_dir: Path, key: RunKey) -> Iterator[Journal]:
    """Open (or create) and lock the journal of a run; waits while another process has it open.

    Raises:
        StateError: it cannot be opened or read.
    """
    path = journal_path(state_dir, key)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        flags |= os.O_NONBLOCK  # a named pipe in its place is refused, not waited for
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        journal = Journal(path, descriptor)
        if journal.problems:
            _set_aside(journal, HookLog(state_dir, str(key.job_id)))
        yield journal
    finally:
        os.close(descriptor)


def _set_aside(journal: Journal, log: HookLog) -> None:
    """Log each unreadable line once; `*.damaged` beside the journal holds what has been logged.

    The lines themselves stay in the journal, where the next release may be able to read them.
    """
    path = journal.path.with_suffix(".damaged")
    try:
        known = set(read_bounded(path, MAX_JOURNAL_BYTES, follow=False).decode().splitlines())
    except (OSError, UnicodeDecodeError):
        known = set()
    new = [problem for problem in journal.problems if escape_controls(problem) not in known]
    for problem in new[:MAX_LOGGED]:
        log(f"line left out: {problem}")
    if len(new) > MAX_LOGGED:
        log(f"{len(new) - MAX_LOGGED} more lines of {journal.path} left out, see {path}")
    try:
        descriptor = open_append(path, 0o600)
        try:
            os.write(descriptor, "".join(f"{escape_controls(line)}\n" for line in new).encode())
        finally:
            os.close(descriptor)
    except OSError as error:
        log(f"{path}: {error.strerror}")


def run_journals(state_dir: Path, key: RunKey) -> tuple[Path, ...]:
    """Return the journals of the other phases of a run, which are jobs of their own."""
    own = journal_path(state_dir, key)
    found = own.parent.glob(f"*-{key.uid}-{key.run}.jsonl")
    return tuple(sorted(path for path in found if path != own))


def read_journal(path: Path) -> tuple[list[Event], list[int]]:
    """The events of a journal or of an exported copy, without a lock, and the damaged lines.

    Raises:
        StateError: it cannot be read.
    """
    try:
        descriptor = open_regular(path, follow=False)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    try:
        journal = Journal(path, descriptor)
    finally:
        os.close(descriptor)
    return journal.events, journal.damaged


def export(journal: Journal, export_dir: Path, key: RunKey) -> None:
    """Put a copy that everybody may read where the site wants it; no event holds a user's text.

    Raises:
        StateError: it cannot be written.
    """
    target = export_dir / journal_path(export_dir, key).relative_to(export_dir / "journal")
    partial = target.with_suffix(".tmp")
    try:
        target.parent.mkdir(exist_ok=True)
        target.parent.chmod(0o755)  # the hook's umask keeps others out
        partial.write_text(journal.lines())
        partial.chmod(0o644)
        partial.replace(target)
    except OSError as error:
        raise StateError(f"{target}: {error.strerror}") from error
