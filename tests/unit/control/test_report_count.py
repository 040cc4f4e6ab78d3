"""Problems are counted by all processes together, and the log has few of many reports."""

import errno
import os
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_restart.control import report_count
from slurm_restart.control.report_count import (
    clear_report,
    count_report,
    is_due,
    known_problems,
)


def test_each_problem_is_counted(tmp_path: Path) -> None:
    assert [count_report(tmp_path, "7.comment") for _ in range(3)] == [1, 2, 3]
    assert count_report(tmp_path, "8.comment") == 1
    assert count_report(tmp_path, "7.size") == 1
    assert sorted(known_problems(tmp_path, "comment")) == ["7.comment", "8.comment"]
    clear_report(tmp_path, "7.comment")
    clear_report(tmp_path, "9.comment")
    assert count_report(tmp_path, "7.comment") == 1


def test_due_reports() -> None:
    assert [count for count in range(1, 20_000) if is_due(count)] == [1, 10, 100, 1000, 10_000]


def test_the_count_is_bounded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(report_count, "MAX_COUNT", 3)
    assert [count_report(tmp_path, "7.x") for _ in range(5)] == [1, 2, 3, 4, 4]
    assert (tmp_path / "reported" / "7.x").stat().st_size == 3


@pytest.mark.parametrize("name", ["", "../x", "a/b", ".x", "-x", "a.b.c", "a" * 200, "a\n"])
def test_a_name_that_could_be_a_path_is_refused(tmp_path: Path, name: str) -> None:
    with pytest.raises(ValueError, match="expected a short name"):
        count_report(tmp_path, name)


def test_processes_count_together(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path\n"
        "from slurm_restart.control.report_count import count_report\n"
        "for _ in range(200): print(count_report(Path(sys.argv[1]), '7.x'))"
    )
    processes = [
        subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        for _ in range(4)
    ]
    counts = [int(line) for p in processes for line in p.communicate(timeout=300)[0].split()]
    assert sorted(counts) == list(range(1, 801))


def test_on_a_full_disk_the_file_itself_counts(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def full(_descriptor: int, _data: bytes) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    monkeypatch.setattr(report_count.os, "write", full)
    assert [count_report(tmp_path, "7.x") for _ in range(3)] == [1, 2, 2]


def test_where_nothing_can_be_written_each_report_is_a_first(tmp_path: Path) -> None:
    (tmp_path / "reported").touch()
    assert [count_report(tmp_path, "7.x") for _ in range(2)] == [1, 1]
    assert known_problems(tmp_path, "x") == []
    clear_report(tmp_path, "7.x")
