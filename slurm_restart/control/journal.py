"""The journal: one append-only, fsynced file of JSON lines a run, in the controller's state."""

import fcntl
import json
import os
import re
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict, dataclass
from enum import Enum
from pathlib import Path
from typing import Any, get_type_hints

from slurm_restart.core.history import (
    AppliedEvent,
    EndEvent,
    Event,
    ExcludeEvent,
    History,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
    ReadmitEvent,
    StaleRunningEvent,
    replay,
)
from slurm_restart.errors import StateError

_KINDS: dict[str, type[Event]] = {
    "end": EndEvent,
    "exclude": ExcludeEvent,
    "readmit": ReadmitEvent,
    "intend": IntendEvent,
    "outcome": OutcomeEvent,
    "applied": AppliedEvent,
    "note": NoteEvent,
    "stale_running": StaleRunningEvent,
}
_NAMES = {kind: name for name, kind in _KINDS.items()}
_HINTS = {kind: get_type_hints(kind) for kind in _NAMES}
_SAFE_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}", re.ASCII)
MAX_JOURNAL_BYTES = 16 * 1024 * 1024
"""A run of a thousand restarts writes about 2 MB."""


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


def _plain(value: Any) -> Any:
    if isinstance(value, Enum):
        return value.value
    return list(value) if isinstance(value, tuple) else value


def to_line(event: Event) -> str:
    """One event as a line of JSON; values that say nothing are left out."""
    data = {name: _plain(value) for name, value in asdict(event).items() if value is not None}
    return json.dumps({"event": _NAMES[type(event)], **data}, separators=(",", ":"))


def _typed(hint: Any, value: Any) -> Any:
    if isinstance(value, list):
        return tuple(str(one) for one in value)
    if isinstance(hint, type) and issubclass(hint, Enum):
        return hint(value)
    return value


def from_line(line: str) -> Event:
    """Read one line.

    Raises:
        ValueError: not a line that `to_line` writes.
    """
    try:
        data = json.loads(line)
        kind = _KINDS[data.pop("event")]
        hints = _HINTS[kind]
        return kind(**{k: _typed(hints[k], v) for k, v in data.items() if k in hints})
    except (KeyError, TypeError, AttributeError, RecursionError) as error:
        raise ValueError(f"not an event: {error}") from error


class Journal:
    """The open, locked journal of one run."""

    def __init__(self, path: Path, descriptor: int) -> None:
        self.path = path
        self._descriptor = descriptor
        self.damaged: list[int] = []
        """Numbers of lines that cannot be read; they are passed over."""
        self.events = self._read()

    def _read(self) -> list[Event]:
        if os.fstat(self._descriptor).st_size > MAX_JOURNAL_BYTES:
            raise StateError(f"{self.path}: larger than {MAX_JOURNAL_BYTES} bytes")
        data = os.pread(self._descriptor, MAX_JOURNAL_BYTES, 0)
        events: list[Event] = []
        for number, line in enumerate(data.decode(errors="replace").splitlines(), 1):
            try:
                events.append(from_line(line))
            except ValueError:
                self.damaged.append(number)
        self._ends_whole = not data or data.endswith(b"\n")
        return events

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
    """Open, create and lock the journal of a run; waits for whoever holds it.

    Raises:
        StateError: it cannot be opened or read.
    """
    path = journal_path(state_dir, key)
    try:
        path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
        flags = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(path, flags, 0o600)
    except OSError as error:
        raise StateError(f"{path}: {error.strerror}") from error
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX)
        yield Journal(path, descriptor)
    finally:
        os.close(descriptor)


def other_runs(state_dir: Path, key: RunKey) -> tuple[str, ...]:
    """Run ids under which this user's job id has been journaled, other than the key's."""
    folder = journal_path(state_dir, key).parent
    stem = f"{key.job_id}-{key.uid}-"
    names = (path.stem.removeprefix(stem) for path in folder.glob(f"{stem}*.jsonl"))
    return tuple(name for name in names if name != key.run)


def read_journal(path: Path) -> tuple[list[Event], list[int]]:
    """The events of a journal or of an exported copy, without a lock, and the damaged lines.

    Raises:
        StateError: it cannot be read.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
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
        partial.write_text("".join(to_line(event) + "\n" for event in journal.events))
        partial.chmod(0o644)
        partial.replace(target)
    except OSError as error:
        raise StateError(f"{target}: {error.strerror}") from error
