"""The hook's shell front: nothing for other people's jobs, Python for ours."""

import subprocess
from pathlib import Path

import pytest

from slurm_restart.control.hook_script import hook_text

OURS = "csx-restart/1 run=0123456789abcdef;max=1;num=1;min=1"


def run(folder: Path, *, former: bool = False, **env: str) -> list[str]:
    """What the front has started, a line each."""
    marks = folder / "marks"
    for name in ("python", "former"):
        stub = folder / name
        stub.write_text(f'#!/bin/sh\necho {name} "$@" >> {marks}\n')
        stub.chmod(0o755)
    text = hook_text(
        Path("/etc/s p/site.toml"),
        former=folder / "former" if former else None,
        python=folder / "python",
    )
    hook = folder / "csx-epilog"
    hook.write_text(text)
    hook.chmod(0o755)
    done = subprocess.run([hook], env=env, check=False, capture_output=True, text=True)
    assert (done.returncode, done.stderr) == (0, "")
    return marks.read_text().splitlines() if marks.exists() else []


@pytest.mark.parametrize(
    "comment",
    ["", "mine", "csx-restart/1", "csx-restart/2 x", " csx-restart/1 x", "*", "x csx-restart/1 y"],
)
def test_other_jobs_start_nothing(tmp_path: Path, comment: str) -> None:
    assert run(tmp_path, SLURM_JOB_COMMENT=comment) == []


def test_no_comment_at_all_starts_nothing(tmp_path: Path) -> None:
    assert run(tmp_path) == []


def test_ours_start_an_isolated_python_with_the_settings(tmp_path: Path) -> None:
    [line] = run(tmp_path, SLURM_JOB_COMMENT=OURS)
    assert line.startswith("python -I -c ")
    assert line.endswith("/etc/s p/site.toml")


def test_array_jobs_start_nothing(tmp_path: Path) -> None:
    assert run(tmp_path, SLURM_JOB_COMMENT=OURS, SLURM_ARRAY_JOB_ID="5") == []


def test_the_sites_former_hook_runs_for_every_job(tmp_path: Path) -> None:
    assert run(tmp_path, former=True) == ["former"]
