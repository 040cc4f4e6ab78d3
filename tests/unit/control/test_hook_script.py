"""The hook's shell script starts Python for managed jobs only, with values that it quotes."""

import re
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_restart.control import hook_script
from slurm_restart.control.hook_script import hook_text
from slurm_restart.errors import CsxError

OURS = "csx-restart/1 run=0123456789abcdef;max=1;num=1;min=1"


def run(folder: Path, *, former: bool = False, **env: str) -> list[str]:
    """Run the script; returns what it has started, a line each."""
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


# --- the text of the script ----------------------------------------------------------------------


def test_the_values_are_filled_in_and_quoted() -> None:
    text = hook_text(Path("/a b/site.toml"), former=Path("/x;y"), python=Path("/it's/python"))
    lines = text.splitlines()
    assert lines[0] == "#!/bin/sh"
    assert "SITE='/a b/site.toml'" in lines
    assert "PYTHON='/it'\"'\"'s/python'" in lines
    assert any(line.startswith("FORMER='/x;y' ") for line in lines)
    assert re.findall("@[A-Z]+@", text) == []


def test_by_default_this_interpreter_runs_and_no_former_hook() -> None:
    text = hook_text(Path("/s"))
    assert f"PYTHON={sys.executable}\n" in text
    assert re.search("^FORMER='' ", text, re.MULTILINE)


def test_a_value_is_data_for_the_shell(tmp_path: Path) -> None:
    mark = tmp_path / "mark"
    text = hook_text(Path(f"/$(touch {mark})"), python=Path(f"/`touch {mark}`"))
    hook = tmp_path / "csx-epilog"
    hook.write_text(text)
    subprocess.run(
        ["/bin/sh", hook], env={"SLURM_JOB_COMMENT": OURS}, check=False, capture_output=True
    )
    assert not mark.exists()


def test_an_installation_without_the_template_is_an_error(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(hook_script, "_SHARE", tmp_path)
    monkeypatch.setattr(hook_script, "_CHECKOUT", tmp_path)
    with pytest.raises(CsxError, match=f"{tmp_path}/csx-epilog: missing from this installation"):
        hook_text(Path("/s"))
