"""Which command chooses which back end, and where the choice is shown."""

import json
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from slurm_restart.cli import doctor, reconcile, status
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord, format_comment
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.choose_backend import BACKEND_VARIABLE, BackendChoice
from slurm_restart.slurm.commands import Commands


class StopError(Exception):
    """Ends an endless command."""


@pytest.fixture
def choices(monkeypatch: pytest.MonkeyPatch) -> list[tuple[str, bool]]:
    """The preference and `long_lived` of each choice that was made."""
    made: list[tuple[str, bool]] = []

    def choose(prefer: str = "auto", *, long_lived: bool, **_: Any) -> BackendChoice:
        made.append((prefer, long_lived))
        return BackendChoice(Commands(), "commands", "for a test")

    for module in (doctor, reconcile, status):
        monkeypatch.setattr(module, "choose_backend", choose)
    monkeypatch.setattr(Commands, "jobs", lambda _, **__: ())
    monkeypatch.setattr(Commands, "nodes", lambda _: ())
    monkeypatch.setattr(Commands, "cluster_name", lambda _: "alps")
    monkeypatch.setattr(Commands, "config", lambda _: {})
    return made


@pytest.fixture
def site(tmp_path: Path) -> Path:
    path = tmp_path / "site.toml"
    path.write_text(f'state_dir = "{tmp_path}"\nslurm_bin = "/usr/bin"\n')
    return path


def test_only_reconcile_every_lives_long(
    choices: list[tuple[str, bool]], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def stop(_: float) -> None:
        raise StopError

    runner = CliRunner()
    assert runner.invoke(reconcile.command, ["--site", str(site)]).exit_code == 0
    assert runner.invoke(status.command, []).exit_code == 0
    assert choices == [("auto", False)] * 2
    monkeypatch.setattr(reconcile.time, "sleep", stop)
    done = runner.invoke(reconcile.command, ["--site", str(site), "--every", "9"])
    assert isinstance(done.exception, StopError)
    assert choices[2:] == [("auto", True)]


def test_the_option_and_the_variable(choices: list[tuple[str, bool]], site: Path) -> None:
    runner = CliRunner()
    arguments = ["--site", str(site), "--backend", "commands"]
    runner.invoke(reconcile.command, arguments, env={BACKEND_VARIABLE: "pyslurm"})
    runner.invoke(status.command, [], env={BACKEND_VARIABLE: "pyslurm"})
    assert choices == [("commands", False), ("pyslurm", False)]


def test_reconcile_every_goes_on_where_the_controller_does_not_answer_yet(
    choices: list[tuple[str, bool]], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    pauses: list[float] = []

    def unavailable(_: Commands) -> str:
        raise SlurmUnavailableError("cluster name: no answer")

    def sleep(seconds: float) -> None:
        pauses.append(seconds)
        if len(pauses) == 2:
            raise StopError

    monkeypatch.setattr(Commands, "cluster_name", unavailable)
    monkeypatch.setattr(reconcile.time, "sleep", sleep)
    done = CliRunner().invoke(reconcile.command, ["--site", str(site), "--every", "9"])
    assert isinstance(done.exception, StopError)
    assert choices == [("auto", True)] * 2


def test_status_and_doctor_show_the_choice(
    choices: list[tuple[str, bool]], site: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    record = CommentRecord(run="0123456789abcdef", max_restarts=3, num_nodes=2, min_nodes=1)
    job = Job(job_id=7, uid=1, state=JobState.RUNNING, comment=format_comment(record))
    monkeypatch.setattr(Commands, "jobs", lambda _, **__: (job,))
    (row,) = json.loads(CliRunner().invoke(status.command, ["--json"]).output)
    assert (row["job_id"], row["backend"]) == (7, "commands (for a test)")
    done = CliRunner().invoke(doctor.command, ["--site", str(site), "--json"])
    (shown,) = [check for check in json.loads(done.output) if check["check"] == "backend"]
    assert shown["text"] == "reconcile --every reads jobs and nodes with commands (for a test)"
    assert choices[-1] == ("auto", True)
