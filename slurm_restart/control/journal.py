"""The journal: one append-only, fsynced file of JSON lines a run, in the controller's state."""

import json
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from slurm_restart.control.cluster_folder import folder_name
from slurm_restart.control.compact_journal import needed_events
from slurm_restart.control.damaged_lines import MAX_DAMAGED, report_damaged
from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.journal_file import (
    GAP,
    append_synced,
    open_locked,
    read_file,
    replace_file,
)
from slurm_restart.control.public_copy import public_lines, write_copy
from slurm_restart.control.repeated_events import without_repeats
from slurm_restart.control.state_dir import birth, state_error
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
from slurm_restart.core.record_reader import (
    FORMER_VALUES,
    json_lines,
    parse_json,
    read_object,
    to_data,
)
from slurm_restart.core.slurm_operations import Operation
from slurm_restart.errors import RecordError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import open_regular

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
COMPACT_BYTES = 1024 * 1024
"""A larger journal is written anew with what is needed, if that is at most half of it."""
MAX_LINE = 4 * 1024 * 1024


@frozen
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
        self._damaged: list[bytes] = []
        """These lines."""
        self._unknown: dict[int, dict[str, Any]] = {}
        """Keys of another release, by the index of their event."""
        self.events: list[Event] = []
        self._history: History | None = None
        """The replay of `events`, once it was asked for."""
        self._read_lines: list[bytes] = []
        """The lines of the events that were read."""
        data = read_file(path, descriptor)
        self.size = len(data)
        self.incomplete = GAP in data
        """Whether the file is so large that its middle was not read."""
        self._parse(data)
        self._ends_whole = not data or data.endswith(b"\n")

    @property
    def damaged(self) -> list[int]:
        """The numbers of the lines that cannot be read."""
        return [problem.line or 0 for problem in self.problems]

    def _parse(self, data: bytes) -> None:
        for number, line in json_lines(data):
            try:
                event, unknown = from_line(line)
            except RecordError as error:
                self.problems.append(error.at(str(self.path), number))
                self._damaged.append(line)
                continue
            if unknown:
                self._unknown[len(self.events)] = unknown
            self.events.append(event)
            self._read_lines.append(line)

    def compacted(self) -> bytes | None:
        """Return the lines that are needed of a large journal as it was read, as they are.

        None: it is not large, or more than half of it is needed.
        """
        if self.size <= COMPACT_BYTES:
            return None
        kept: list[bytes] = []
        left = MAX_DAMAGED
        for line in reversed(self._damaged):
            left -= len(line) + 1
            if left < 0:
                break
            kept.append(line)
        kept.reverse()
        kept += [self._read_lines[index] for index in needed_events(self.events)]
        data = b"".join(line + b"\n" for line in kept)
        return data if len(data) <= self.size // 2 else None

    def lines(self) -> Iterator[str]:
        """Yield the events that could be read as lines, with the keys of another release."""
        for index, event in enumerate(self.events):
            yield to_line(event, self._unknown.get(index))

    @property
    def last_at(self) -> int:
        """Epoch seconds of the latest event; 0: there is none."""
        return max((event.at for event in self.events), default=0)

    @property
    def history(self) -> History:
        """What the events amount to."""
        if self._history is None:
            self._history = replay(self.events)
        return self._history

    def append(self, *events: Event) -> None:
        """Write events and wait until they are on disk; `without_repeats` says which are left out.

        Raises:
            StateError: they are not.
        """
        added = without_repeats(self.events, events)
        if not added:
            return
        text = "".join(to_line(event) + "\n" for event in added)
        if not self._ends_whole:  # a torn last line stays a line of its own
            text = "\n" + text
        data = text.encode()
        self._ends_whole = False  # until all of it is there
        append_synced(self.path, self._descriptor, data)
        self._ends_whole = True
        self.events.extend(added)
        if self._history is not None:
            self._history = replay(added, self._history)


def journal_path(state_dir: Path, key: RunKey) -> Path:
    """Return where the journal of a run is."""
    return state_dir / "journal" / folder_name(key.cluster) / key.file_name


@contextmanager
def open_journal(state_dir: Path, key: RunKey) -> Iterator[Journal]:
    """Open (or create) and lock the journal of a run; waits while another process has it open.

    Raises:
        StateError: it cannot be opened or read.
    """
    path = journal_path(state_dir, key)
    birth(state_dir)  # before the first journal of a new directory
    descriptor = open_locked(path)
    try:
        journal = Journal(path, descriptor)
        log = HookLog(state_dir, str(key.job_id))
        if journal.incomplete:
            log.once("size", f"{path}: too large, its middle is left out")
        if journal.problems:
            report_damaged(path, journal.problems, log)
        if (data := journal.compacted()) is not None:
            try:
                new = replace_file(path, data)
            except OSError as error:
                log.once("compact", f"{path}: not written anew: {error.strerror}")
            else:
                os.close(descriptor)
                descriptor = new
                journal = Journal(path, descriptor)
        yield journal
    finally:
        os.close(descriptor)


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
        raise state_error(path, error) from error
    try:
        journal = Journal(path, descriptor)
    finally:
        os.close(descriptor)
    return journal.events, journal.damaged


def export(journal: Journal, export_dir: Path, key: RunKey) -> None:
    """Put a copy that everybody may read where the site wants it: no text of a user or an admin.

    Raises:
        StateError: it cannot be written.
    """
    target = export_dir / folder_name(key.cluster) / key.file_name
    write_copy(target, public_lines(journal.lines()))
