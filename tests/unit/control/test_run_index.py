"""The index over the journals: the same answers at first, later, and after it is lost."""

import os
import sqlite3
from dataclasses import replace
from pathlib import Path

import pytest

from contrib.bench_lists import CLUSTER, write_journals
from slurm_restart.control.journal import RunKey, journal_path, to_line
from slurm_restart.control.run_index import RunIndex
from slurm_restart.core.journal_events import NoteEvent
from tests.unit.core.test_run_summary import DONE, END, EXCLUDED, FINAL, STARTED

RUNS = 8


@pytest.fixture
def state_dir(tmp_path: Path) -> Path:
    write_journals(tmp_path, RUNS, uid=1000)
    write(tmp_path, 100, 1001, [END, EXCLUDED, STARTED])
    return tmp_path


def write(state_dir: Path, job_id: int, uid: int, events, *, cluster=CLUSTER) -> Path:
    key = RunKey(cluster=cluster, job_id=job_id, uid=uid, run=f"{job_id:016x}")
    path = journal_path(state_dir, key)
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_text("".join(f"{to_line(event)}\n" for event in events))
    return path


def answers(state_dir: Path, index: Path | None, **chosen):
    with RunIndex(state_dir / "journal", index, **chosen) as found:
        assert found.unreadable == []
        by_node = sorted(found.node_ends(), key=str)
        return found.runs(), by_node, found.exclusions(), found.jobs_on("a")


def test_the_answers_are_the_same_with_and_without_an_index(state_dir):
    index = state_dir / "index.sqlite"
    first = answers(state_dir, index)
    assert len(first[0]) == RUNS + 1
    assert index.stat().st_mode & 0o777 == 0o600
    assert answers(state_dir, index) == first
    assert answers(state_dir, None) == first
    index.unlink()
    assert answers(state_dir, index) == first


def test_unchanged_journals_are_not_read_again(state_dir, monkeypatch):
    index = state_dir / "index.sqlite"
    first = answers(state_dir, index)
    monkeypatch.setattr("slurm_restart.control.journal.read_journal", None)
    assert answers(state_dir, index) == first


def test_a_journal_that_was_written_is_read_again_and_one_that_is_gone_forgotten(state_dir):
    index = state_dir / "index.sqlite"
    answers(state_dir, index)
    path = write(state_dir, 100, 1001, [END, EXCLUDED, STARTED, DONE, FINAL])
    [run] = (run for run in answers(state_dir, index)[0] if run.job_id == 100)
    assert run.summary.category == "completed"
    path.unlink()
    after = answers(state_dir, index)
    assert len(after[0]) == RUNS
    assert all(each.uid == 1000 for each in after[2])
    assert after == answers(state_dir, None)


@pytest.mark.parametrize("content", [b"no database", b"SQLite format 3\0" + b"x" * 5000, b""])
def test_a_damaged_index_is_made_anew(state_dir, content):
    index = state_dir / "index.sqlite"
    expected = answers(state_dir, index)
    index.write_bytes(content)
    assert answers(state_dir, index) == expected
    assert sqlite3.connect(index).execute("SELECT COUNT(*) FROM runs").fetchone() == (RUNS + 1,)


def test_an_index_of_another_release_is_made_anew(state_dir):
    index = state_dir / "index.sqlite"
    expected = answers(state_dir, index)
    with sqlite3.connect(index) as database:
        database.execute("UPDATE format SET text = '0'")
        database.execute("DELETE FROM runs")
    assert answers(state_dir, index) == expected


def test_a_locked_index_or_no_place_for_one_changes_no_answer(state_dir, monkeypatch):
    monkeypatch.setattr("slurm_restart.control.run_index._BUSY", 0.05)
    index = state_dir / "index.sqlite"
    expected = answers(state_dir, index)
    write(state_dir, 101, 1001, [END])
    other = sqlite3.connect(index)
    other.execute("BEGIN EXCLUSIVE")
    assert len(answers(state_dir, index)[0]) == len(expected[0]) + 1
    other.close()
    file = state_dir / "file"
    file.touch()
    assert answers(state_dir, file / "index.sqlite") == answers(state_dir, None)
    link = state_dir / "link.sqlite"
    link.symlink_to(file)
    assert answers(state_dir, link) == answers(state_dir, None)
    assert file.read_bytes() == b""


def test_one_user_and_one_cluster(state_dir):
    write(state_dir, 5, 1001, [NoteEvent(at=1, text="-")], cluster="other")
    index = state_dir / "index.sqlite"
    runs, by_node, exclusions, _ = answers(state_dir, index, uid=1001, cluster=CLUSTER)
    assert [run.job_id for run in runs] == [100]
    assert {each.node for each in by_node} == {"a", "b", "c"}
    assert [each.job_id for each in exclusions] == [100]
    assert [run.job_id for run in answers(state_dir, index, cluster="other")[0]] == [5]


def test_files_that_are_no_journals_are_left_alone(state_dir):
    folder = state_dir / "journal" / CLUSTER
    (folder / "notes.txt").write_text("x")
    (folder / f"9-9-{'0' * 16}.jsonl").write_text("damaged\n")
    os.mkfifo(folder / f"8-9-{'0' * 16}.jsonl")
    with RunIndex(state_dir / "journal", None) as found:
        assert len(found.runs()) == RUNS + 1
        assert len(found.unreadable) == 1


def test_a_category_that_only_a_later_release_knows_is_no_obstacle(state_dir):
    path = write(state_dir, 102, 1001, [replace(END, at=5)])
    path.write_text(path.read_text().replace("hardware.node", "hardware.new"))
    assert len(answers(state_dir, None)[0]) == RUNS + 1
