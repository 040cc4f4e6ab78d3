from pathlib import Path

import pytest

from slurm_restart.supervise.supervisor_context import _is_in_path


def make(path: Path, mode: int) -> Path:
    path.parent.mkdir(exist_ok=True)
    path.write_text("")
    path.chmod(mode)
    return path.parent


def test_a_program_is_found_in_any_directory_of_path(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    place = make(tmp_path / "second" / "scontrol", 0o755)
    monkeypatch.setenv("PATH", f"{tmp_path / 'first'}:{place}")
    assert _is_in_path("scontrol")
    assert not _is_in_path("sbatch")


def test_neither_a_directory_nor_a_plain_file_is_a_program(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    (tmp_path / "a" / "scontrol").mkdir(parents=True)
    place = make(tmp_path / "b" / "scontrol", 0o644)
    monkeypatch.setenv("PATH", f"{tmp_path / 'a'}:{place}")
    assert not _is_in_path("scontrol")
