"""Who has run a command, and where what they wanted is recorded."""

import os
from pathlib import Path

import pytest

from slurm_restart.cli import run_note
from slurm_restart.cli.administrator import person
from slurm_restart.control.state_dir import user_name
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import format_comment
from tests.unit.core import facts

OWN = user_name(os.getuid())


@pytest.mark.parametrize(
    ("caller", "who"),
    [
        (None, OWN),
        ("", OWN),
        (OWN, OWN),
        ("alice", f"alice as {OWN}"),
        ("\x1b[1m", f"\\x1b[1m as {OWN}"),
    ],
)
def test_the_person_who_has_called_sudo_is_named(
    monkeypatch: pytest.MonkeyPatch, caller: str | None, who: str
) -> None:
    monkeypatch.delenv("SUDO_USER", raising=False)
    if caller is not None:
        monkeypatch.setenv("SUDO_USER", caller)
    assert person() == who


def job(uid: int, **record: object) -> Job:
    comment = format_comment(facts.comment_record(**record))
    return Job(job_id=7, uid=uid, state=JobState.RUNNING, comment=comment)


def test_the_owner_writes_no_journal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 5)
    run_note.record_wish(None, [job(5)], "stop", site_path=Path("/nonexistent"))
    assert capsys.readouterr().err == ""


@pytest.mark.parametrize("itself", [False, True])
def test_another_is_told_where_there_is_no_journal(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str], *, itself: bool
) -> None:
    monkeypatch.setattr(os, "getuid", lambda: 6)
    jobs = [job(5, self_requeue=itself)]
    run_note.record_wish(None, jobs, "set max_num_restarts=5", site_path=Path("/nonexistent"))
    said = capsys.readouterr().err
    assert said.startswith("csx-restart: set max_num_restarts=5: done, but not recorded")
    assert ("requeues itself" if itself else "/nonexistent: no such file") in said


def test_nothing_is_recorded_of_nothing(capsys: pytest.CaptureFixture[str]) -> None:
    run_note.record_wish(None, [], "stop", site_path=Path("/nonexistent"))
    assert capsys.readouterr().err == ""
