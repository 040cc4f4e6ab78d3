import os
from datetime import timedelta

import pytest

from slurm_restart.errors import StateError
from slurm_restart.submit.directories import RunDirectories, directory_problem

from .conftest import NOW


def names(directory):
    return sorted(path.name for path in directory.iterdir())


def test_a_taken_second_means_the_next(tmp_path):
    directories = RunDirectories()
    paths = [directories.make(tmp_path / "m", NOW) for _ in range(3)]
    assert [path.name for path in paths] == [
        "20261125_023000_restartable",
        "20261125_023001_restartable",
        "20261125_023002_restartable",
    ]
    other = RunDirectories().make(tmp_path / "m", NOW + timedelta(seconds=1))
    assert other.name == "20261125_023003_restartable"


def test_what_was_made_is_taken_back(tmp_path):
    directories = RunDirectories()
    run_dir = directories.make(tmp_path / "a" / "b\n c", NOW)
    (run_dir / "plan.json").write_text("{}")
    directories.make(tmp_path / "a" / "b\n c", NOW)
    directories.remove(kept=set())
    assert names(tmp_path) == []


def test_what_others_use_or_is_kept_stays(tmp_path):
    (tmp_path / "a").mkdir()
    directories = RunDirectories()
    kept = directories.make(tmp_path / "a" / "b", NOW)
    gone = directories.make(tmp_path / "a" / "c", NOW)
    used = directories.make(tmp_path / "a" / "d", NOW)
    (tmp_path / "a" / "d" / "theirs").write_text("")
    directories.remove(kept={kept})
    assert kept.is_dir()
    assert not gone.parent.exists()
    assert names(used.parent) == ["theirs"]


def test_a_directory_that_cannot_be_made_is_reported(tmp_path):
    (tmp_path / "file").write_text("")
    with pytest.raises(StateError, match="cannot make a run directory"):
        RunDirectories().make(tmp_path / "file" / "m", NOW)


@pytest.mark.parametrize("path", ["m", "a/b/c", "it's $(x)\n ü", "a" * 255])
def test_directories_that_can_be_made(tmp_path, path):
    assert directory_problem(tmp_path / path) is None
    assert names(tmp_path) == []


@pytest.mark.parametrize(
    ("path", "problem"),
    [
        ("file", "which is none"),
        ("file/m", "which is none"),
        ("dangling/m", "which is none"),
        ("a" * 256, "expected names of at most 255 bytes"),
        ("ü" * 128, "expected names of at most 255 bytes"),
        ("a/" * 2100, "expected a path of at most 3968 bytes"),
    ],
)
def test_directories_that_cannot(tmp_path, path, problem):
    (tmp_path / "file").write_text("")
    (tmp_path / "dangling").symlink_to(tmp_path / "nowhere")
    found = directory_problem(tmp_path / path)
    assert found is not None
    assert problem in found


@pytest.mark.skipif(os.geteuid() == 0, reason="root may write anywhere")
def test_a_directory_without_permission(tmp_path):
    tmp_path.chmod(0o555)
    assert directory_problem(tmp_path / "m") == (
        f"expected a directory that you may write to, got {str(tmp_path)!r}"
    )
