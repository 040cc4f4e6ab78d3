"""The journal is exclusive while it is open, and an incomplete write is an error."""

import fcntl
import os
from pathlib import Path

import pytest

from slurm_restart.control.journal import RunKey, journal_path, open_journal
from slurm_restart.core.journal_events import NoteEvent
from slurm_restart.errors import StateError

KEY = RunKey(cluster="c", job_id=7, uid=1000, run="0123456789abcdef")
NOTE = NoteEvent(at=1, text="a note")


def test_nobody_else_can_lock_an_open_journal_not_even_to_read(tmp_path: Path) -> None:
    with open_journal(tmp_path, KEY):
        other = os.open(journal_path(tmp_path, KEY), os.O_RDONLY)
        with pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)
    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
    os.close(other)


def test_an_incomplete_write_is_an_error_and_the_rest_a_line_of_its_own(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    write = os.write
    with open_journal(tmp_path, KEY) as journal:
        with monkeypatch.context() as patched:
            patched.setattr(os, "write", lambda file, data: write(file, data[: len(data) // 2]))
            with pytest.raises(StateError, match="No space left on device: make room"):
                journal.append(NOTE)
        journal.append(NOTE)
    with open_journal(tmp_path, KEY) as journal:
        assert journal.events == [NOTE]
        assert len(journal.damaged) == 1


def test_a_folder_that_is_removed_meanwhile_is_an_error_and_not_tried_for_ever(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(Path, "mkdir", lambda *_args, **_options: None)
    with pytest.raises(StateError, match="No such file or directory"), open_journal(tmp_path, KEY):
        pass
