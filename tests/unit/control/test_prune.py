"""What is old and of no job that Slurm knows is removed, under its lock, and nothing else."""

import fcntl
import os
from pathlib import Path

import pytest

from slurm_restart.control import prune as module
from slurm_restart.control.prune import DAY, INTERVAL, prune
from slurm_restart.errors import StateError
from tests.unit.core.facts import RUN

NOW = 10**9
OLD = 91 * DAY


class Directories:
    """A state directory and an export directory with files of a given age."""

    def __init__(self, folder: Path) -> None:
        self.state, self.public = folder / "state", folder / "public"
        self.state.mkdir()
        self.public.mkdir()

    def put(self, name: str, *, age: int, public: bool = False) -> Path:
        path = (self.public if public else self.state) / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.touch()
        os.utime(path, (NOW - age, NOW - age))
        return path

    def prune(
        self, *known: int, now: float = NOW, keep: int = 90, cluster: str = "c", public: bool = True
    ) -> int:
        folder = self.public if public else None
        return prune(self.state, folder, known, now, keep, cluster=cluster)

    def left(self) -> set[str]:
        names = {path.name for path in self.state.rglob("*") if path.is_file()}
        return names - {"pruned"} | {path.name for path in self.public.rglob("*") if path.is_file()}


@pytest.fixture
def directories(tmp_path: Path) -> Directories:
    return Directories(tmp_path)


def test_old_journals_of_jobs_that_are_gone(directories: Directories) -> None:
    for job, age in ((1, OLD), (2, OLD), (3, 89 * DAY)):
        stem = f"{job}-1000-{RUN}"
        for suffix in ("jsonl", "damaged", "compact"):
            directories.put(f"journal/c/{stem}.{suffix}", age=age)
        directories.put(f"c/{stem}.jsonl", age=age, public=True)
        directories.put(f"c/{stem}.tmp", age=age, public=True)
    assert directories.prune(2) == 1
    assert {int(name.partition("-")[0]) for name in directories.left()} == {2, 3}
    assert len(directories.left()) == 8


def test_other_files_stay(directories: Directories) -> None:
    kept = [
        directories.put(f"journal/c/{name}", age=OLD)
        for name in ("notes.txt", "1-x.jsonl", f"1-1000-{RUN}.jsonl.bak", "x.tmp")
    ]
    kept += [directories.put(f"journal/d/1-1000-{RUN}.jsonl", age=OLD)]  # another cluster's
    kept += [directories.put(f"d/1-1000-{RUN}.jsonl", age=OLD, public=True)]
    kept += [directories.put("created", age=OLD), directories.put("csx-epilog.log", age=OLD)]
    (directories.state / "journal" / "c" / f"2-1000-{RUN}.jsonl").mkdir()
    assert directories.prune() == 0
    assert all(path.exists() for path in kept)
    assert (directories.state / "journal" / "c" / f"2-1000-{RUN}.jsonl").is_dir()


def test_the_folder_of_a_cluster_of_any_name(directories: Directories) -> None:
    path = directories.put(f"journal/%2Dx/1-1000-{RUN}.jsonl", age=OLD)
    assert directories.prune(cluster="-x") == 1
    assert not path.exists()


def test_what_is_left_in_the_queue(directories: Directories) -> None:
    old, new = directories.put("queue/17", age=OLD), directories.put("queue/18", age=DAY)
    assert directories.prune(17) == 0
    assert (old.exists(), new.exists()) == (False, True)


def test_kept_for_ever(directories: Directories) -> None:
    path = directories.put(f"journal/c/1-1000-{RUN}.jsonl", age=10 * OLD)
    report = directories.put("reported/1.comment", age=2 * DAY)
    assert directories.prune(keep=0) == 0
    assert path.exists()
    assert not report.exists()


def test_once_an_hour(directories: Directories) -> None:
    assert directories.prune() == 0
    directories.put(f"journal/c/1-1000-{RUN}.jsonl", age=OLD)
    assert directories.prune(now=NOW + INTERVAL - 1) == 0
    assert directories.prune(now=NOW + INTERVAL) == 1
    directories.put(f"journal/c/1-1000-{RUN}.jsonl", age=OLD)
    assert directories.prune(now=NOW) == 1  # the clock was set back


def test_a_journal_in_use_stays(directories: Directories) -> None:
    path = directories.put(f"journal/c/1-1000-{RUN}.jsonl", age=OLD)
    with path.open() as file:
        fcntl.flock(file, fcntl.LOCK_EX)
        assert directories.prune() == 0
    assert path.exists()
    assert directories.prune(now=NOW + INTERVAL) == 1


def test_a_journal_that_changes_meanwhile_stays(
    directories: Directories, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = directories.put(f"journal/c/1-1000-{RUN}.jsonl", age=OLD)
    lock = module.try_lock

    def use_first(path: Path) -> int | None:
        path.write_text("an event\n")
        return lock(path)

    monkeypatch.setattr(module, "try_lock", use_first)
    assert directories.prune(now=NOW) == 0
    assert path.read_text() == "an event\n"


def test_reports_about_jobs_that_are_gone(directories: Directories) -> None:
    for name, age in (("1.comment", 2), ("2.comment", 2), ("3.comment", 0), ("ab12.owner", 9)):
        directories.put(f"reported/{name}", age=age * DAY)
    assert directories.prune(2) == 0
    assert directories.left() == {"2.comment", "3.comment", "ab12.owner"}


def test_without_an_export_directory(directories: Directories) -> None:
    directories.put(f"journal/c/1-1000-{RUN}.jsonl", age=OLD)
    copy = directories.put(f"c/1-1000-{RUN}.jsonl", age=OLD, public=True)
    assert directories.prune(public=False) == 1
    assert copy.exists()


def test_a_link_is_not_followed(directories: Directories, tmp_path: Path) -> None:
    target = tmp_path / f"1-1000-{RUN}.jsonl"
    target.touch()
    os.utime(target, (1, 1))
    folder = directories.state / "journal" / "c"
    folder.mkdir(parents=True)
    (folder / target.name).symlink_to(target)
    os.utime(folder / target.name, (1, 1), follow_symlinks=False)
    assert directories.prune() == 0
    assert target.exists()


def test_no_state_directory(tmp_path: Path) -> None:
    with pytest.raises(StateError, match="pruned"):
        prune(tmp_path / "none", None, (), NOW, 90, cluster="c")
