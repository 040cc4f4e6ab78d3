"""`csx-restart install` prints and checks, and its exit code says what it has found."""

import os
import subprocess
import sys
from pathlib import Path

import pytest
from click.testing import CliRunner

from slurm_restart.cli import install
from slurm_restart.control.installation.part import Part, State
from tests.unit.cli.test_schemas import check

PRESENT = Part(
    id="state_dir", what="the state", path=Path("/s"), state=State.PRESENT, found="/s, slurm, 700"
)
MISSING = Part(
    id="hook",
    what="the hook",
    path=Path("/h"),
    owner="root",
    mode=0o755,
    state=State.MISSING,
    found="there is no /h",
    commands=("touch /h",),
)


def invoke(monkeypatch: pytest.MonkeyPatch, *options: str, parts: tuple[Part, ...], here=True):
    user = type("User", (), {"name": "slurm"})
    context = type("Context", (), {"slurm_user": user})
    values = {"context": context, "systemd": True, "command": Path("/c")}
    values |= {"is_controller": here, "controllers": ("ctl",)}
    monkeypatch.setattr(install, "look", lambda _: type("Machine", (), values))
    shown = {True: parts, False: parts[:1]}
    monkeypatch.setattr(install, "parts", lambda _, *, controller: shown[controller])
    return CliRunner().invoke(install.command, list(options), standalone_mode=False)


def test_check(monkeypatch):
    done = invoke(monkeypatch, "--check", parts=(PRESENT, MISSING))
    assert done.return_value == 1
    assert done.output.splitlines() == [
        "ok       state_dir: /s, slurm, 700",
        "MISSING  hook: there is no /h",
        "1 present, 1 missing, 0 differs",
        "csx-restart install --print shows what to do",
    ]
    assert invoke(monkeypatch, "--check", parts=(PRESENT,)).return_value == 0


def test_print_is_a_script(monkeypatch):
    done = invoke(monkeypatch, "--print", parts=(PRESENT, MISSING))
    assert done.return_value == 0
    lines = [line for line in done.output.splitlines() if line and not line.startswith("#")]
    assert lines == ["touch /h"]
    assert invoke(monkeypatch, parts=(PRESENT, MISSING)).output == done.output


def test_json(monkeypatch):
    done = invoke(monkeypatch, "--check", "--json", parts=(PRESENT, MISSING))
    assert done.return_value == 1
    check("install", done.output)


def test_another_host_than_the_controller(monkeypatch):
    done = invoke(monkeypatch, "--check", parts=(PRESENT, MISSING), here=False)
    assert done.return_value == 0
    assert "no controller (SlurmctldHost: ctl)" in done.stderr
    options = ("--check", "--controller")
    done = invoke(monkeypatch, *options, parts=(PRESENT, MISSING), here=False)
    assert (done.return_value, done.stderr) == (1, "")


def test_either_or(monkeypatch):
    done = invoke(monkeypatch, "--check", "--print", parts=())
    assert "not both" in str(done.exception)


def test_without_slurm_it_says_where_to_run_it(tmp_path):
    done = subprocess.run(
        [sys.executable, "-I", "-m", "slurm_restart.cli.restart", "install", "--check"],
        env={"PATH": os.environ["PATH"], "SLURM_CONF": str(tmp_path / "slurm.conf")},
        capture_output=True,
        text=True,
        check=False,
        timeout=300,
    )
    assert done.returncode == 75
    assert "run this on the controller" in done.stderr
