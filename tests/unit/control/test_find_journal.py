"""The journal of a job is found by what is known of it, the controller's own before a copy."""

import os
from pathlib import Path

import pytest

from slurm_restart.control import find_journal as find_journal_module
from slurm_restart.control.advance import publish
from slurm_restart.control.controller import Controller
from slurm_restart.control.find_journal import find_journal
from slurm_restart.control.journal import RunKey, journal_path, open_journal
from slurm_restart.control.site import Site
from slurm_restart.core.journal_events import NoteEvent
from slurm_restart.errors import StateError
from tests.unit.control.conftest import FakeSlurm, controller_of, put, run_key_of
from tests.unit.core.facts import RUN

OTHER = "fedcba9876543210"


@pytest.fixture
def site(tmp_path: Path) -> Site:
    """Journals of two jobs; the first has run twice, as two runs."""
    controller = controller_of(FakeSlurm(), tmp_path / "state")
    for job_id, run, uid in ((7, RUN, 1000), (7, OTHER, 1000), (8, RUN, 1001)):
        key = run_key_of(job_id, run, uid)
        put(controller, NoteEvent(at=job_id, text=run), key=key)
        written = {RUN: 100, OTHER: 200}[run]
        os.utime(journal_path(controller.site.state_dir, key), (written, written))
    return controller.site


@pytest.mark.parametrize(
    ("known", "found"),
    [
        ({"job_id": 7}, (1000, OTHER)),
        ({"job_id": 7, "run": RUN}, (1000, RUN)),
        ({"job_id": 8}, (1001, RUN)),
        ({"run": OTHER}, (1000, OTHER)),
        ({"uid": 1001}, (1001, RUN)),
        ({"job_id": 7, "uid": 1001}, None),
        ({"uid": 0}, None),
        ({"job_id": 70}, None),
    ],
)
def test_the_newest_that_matches(
    site: Site, known: dict[str, int], found: tuple[int, str] | None
) -> None:
    journal = find_journal(site, **known)  # type: ignore[arg-type]
    assert (journal and (journal.uid, journal.run)) == found
    assert journal is None or [event.text for event in journal.events] == [journal.run]  # type: ignore[union-attr]


def test_events_and_damaged_lines(site: Site) -> None:
    path = journal_path(site.state_dir, run_key_of(8, RUN, 1001))
    path.write_text(path.read_text() + "half a li\n")
    journal = find_journal(site, job_id=8)
    assert journal is not None
    assert (journal.events, journal.damaged) == ((NoteEvent(at=8, text=RUN),), (2,))
    assert journal.path == path


def test_without_a_journal_the_exported_copy_is_read(
    tmp_path: Path, controller: Controller
) -> None:
    public = tmp_path / "public"
    public.mkdir()
    exporting = controller_of(FakeSlurm(), tmp_path / "own", export_dir=public)
    put(exporting, NoteEvent(at=1, text="x"))
    with open_journal(exporting.site.state_dir, run_key_of()) as opened:
        publish(exporting, opened, run_key_of())
    login_node = Site(state_dir=tmp_path / "none", export_dir=public)
    journal = find_journal(login_node, job_id=7)
    assert journal is not None
    assert journal.path.is_relative_to(public)
    assert find_journal(exporting.site, job_id=7).path.is_relative_to(tmp_path / "own")  # type: ignore[union-attr]
    assert find_journal(controller.site, job_id=7) is None


def test_a_directory_that_may_not_be_read_is_skipped(
    site: Site, monkeypatch: pytest.MonkeyPatch
) -> None:
    def refuse(_path: Path, _pattern: str) -> list[Path]:
        raise PermissionError

    monkeypatch.setattr(Path, "glob", refuse)
    assert find_journal(site, job_id=7) is None


def test_a_journal_that_cannot_be_read_is_an_error(site: Site) -> None:
    path = journal_path(site.state_dir, run_key_of(8, RUN, 1001))
    path.unlink()
    path.mkdir()
    with pytest.raises(StateError, match="expected a regular file"):
        find_journal(site, job_id=8)


def test_a_journal_of_any_size_is_read(site: Site) -> None:
    path = journal_path(site.state_dir, run_key_of(8, RUN, 1001))
    os.truncate(path, 10**12)  # NUL bytes, after a power cut
    journal = find_journal(site, job_id=8)
    assert journal is not None
    assert journal.events == (NoteEvent(at=8, text=RUN),)
    assert journal.damaged


def test_the_journal_of_a_cluster_of_any_name_is_found(tmp_path: Path) -> None:
    for number, cluster in enumerate(("-x", "ünï", ".", "a" * 300)):
        key = RunKey(cluster=cluster, job_id=number, uid=1000, run=RUN)
        with open_journal(tmp_path, key) as opened:
            opened.append(NoteEvent(at=1, text=cluster))
        journal = find_journal(Site(state_dir=tmp_path), job_id=number)
        assert journal is not None
        assert journal.events == (NoteEvent(at=1, text=cluster),)


@pytest.mark.parametrize("moment", ["stat", "read"])
def test_a_journal_that_is_removed_meanwhile_is_skipped(
    site: Site, monkeypatch: pytest.MonkeyPatch, moment: str
) -> None:
    newest = journal_path(site.state_dir, run_key_of(7, OTHER))
    if moment == "stat":
        lstat = Path.lstat

        def vanish(path: Path) -> os.stat_result:
            if path == newest:
                newest.unlink(missing_ok=True)
            return lstat(path)

        monkeypatch.setattr(Path, "lstat", vanish)
    else:
        read = find_journal_module.read_journal

        def read_late(path: Path) -> object:
            newest.unlink(missing_ok=True)
            return read(path)

        monkeypatch.setattr(find_journal_module, "read_journal", read_late)
    journal = find_journal(site, job_id=7)
    assert journal is not None
    assert journal.run == RUN


def test_a_file_of_another_name_is_no_journal(site: Site) -> None:
    folder = journal_path(site.state_dir, run_key_of(7)).parent
    (folder / "7-x-y.jsonl").touch()
    journal = find_journal(site, job_id=7)
    assert journal is not None
    assert (journal.uid, journal.run) == (1000, OTHER)
