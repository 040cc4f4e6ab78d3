"""Files that SlurmUser does not own are reported once each, with the remedy."""

import os
from pathlib import Path

import pytest

from slurm_restart.control import check_owners as module
from slurm_restart.control.check_owners import MAX_LINES, check_owners


class Owners:
    """The files of another user in the state directory."""

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self.folder = folder
        self.foreign: list[str] = []
        self.lines: list[str] = []
        monkeypatch.setattr(
            module, "foreign_files", lambda *_: [(folder / name, 0) for name in self.foreign]
        )
        monkeypatch.setattr(os, "geteuid", lambda: 4321)

    def check(self, *foreign: str) -> list[str]:
        """The lines of one check."""
        self.foreign, self.lines = list(foreign), []
        assert check_owners(self.folder, self.lines.append) == len(foreign)
        return self.lines


@pytest.fixture
def owners(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Owners:
    return Owners(tmp_path, monkeypatch)


def test_once_a_file(owners: Owners) -> None:
    line = f"{owners.folder}/a: belongs to root, not to 4321: chown 4321 {owners.folder}/a"
    assert owners.check("a") == [line]
    assert owners.check("a") == []
    assert len(owners.check("a", "b")) == 1
    log = (owners.folder / "csx-epilog.log").read_text().splitlines()
    assert [entry.partition(" ")[2] for entry in log] == [
        f"job -: {line}",
        f"job -: {line.replace('/a', '/b')}",
    ]


def test_again_after_it_was_put_right(owners: Owners) -> None:
    assert len(owners.check("a", "b")) == 2
    assert owners.check("b") == []
    assert len(owners.check("a", "b")) == 1
    assert owners.check() == []


def test_many_are_counted(owners: Owners) -> None:
    names = [str(number) for number in range(MAX_LINES + 5)]
    lines = owners.check(*names)
    assert len(lines) == MAX_LINES + 1
    assert lines[-1] == f"5 more files in {owners.folder} belong to other users"
    assert owners.check(*names) == []


def test_none(tmp_path: Path) -> None:
    (tmp_path / "x").touch()
    assert check_owners(tmp_path, pytest.fail) == 0
