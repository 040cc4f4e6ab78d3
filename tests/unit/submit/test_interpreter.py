import subprocess
import sys
from pathlib import Path

import pytest

import slurm_restart
from slurm_restart.submit import interpreter
from slurm_restart.submit.interpreter import supervisor_command

PACKAGE = Path(slurm_restart.__file__).parent


def hostile(tmp_path):
    """An environment and a directory that lead Python astray."""
    for name in ("slurm_restart", "click", "json"):
        (tmp_path / f"{name}.py").write_text("raise SystemExit('led astray')\n")
    return {
        "cwd": tmp_path,
        "env": {
            "PATH": "",
            "PYTHONPATH": str(tmp_path),
            "PYTHONHOME": "/nonexistent",
            "PYTHONSTARTUP": str(tmp_path / "json.py"),
            "PYTHONSAFEPATH": "",
            "HOME": str(tmp_path),
            "CONDA_PREFIX": "/nonexistent",
            "VIRTUAL_ENV": "/nonexistent",
        },
    }


@pytest.mark.parametrize("installed", [True, False])
def test_the_package_is_found_whatever_the_environment_says(tmp_path, monkeypatch, installed):
    monkeypatch.setattr(interpreter, "_is_installed", lambda: installed)
    command = supervisor_command("/r")
    assert command[0] == sys.executable
    assert command[-3:] == ("run", "--run-dir", "/r")
    # The supervisor itself would look for the run; the package is what matters here.
    show = "import slurm_restart, sys; print(slurm_restart.__file__, sys.argv[1:])"
    if installed:
        probe = [*command[:2], "-c", show, *command[4:]]
    else:
        bootstrap = command[3].replace("from slurm_restart.cli.restart import main; main()", show)
        assert bootstrap != command[3]
        probe = [*command[:3], bootstrap, *command[4:]]
    done = subprocess.run(
        probe, capture_output=True, text=True, check=True, timeout=300, **hostile(tmp_path)
    )
    assert done.stdout.split(" ", 1) == [
        str(PACKAGE / "__init__.py"),
        "['run', '--run-dir', '/r']\n",
    ]


def test_a_package_that_only_pythonpath_finds_is_named_by_its_path(monkeypatch, tmp_path):
    elsewhere = tmp_path / "slurm_restart" / "__init__.py"
    monkeypatch.setattr(slurm_restart, "__file__", str(elsewhere))
    command = supervisor_command("/r")
    assert command[1:3] == ("-I", "-c")
    assert command[4] == str(tmp_path)
