"""The journal is read back as it was written, whatever has happened to the file."""

import subprocess
import sys
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.control.journal import (
    RunKey,
    from_line,
    journal_path,
    open_journal,
    other_runs,
    read_journal,
    to_line,
)
from slurm_restart.core.category import Category
from slurm_restart.core.history import (
    Action,
    AppliedEvent,
    EndEvent,
    Event,
    ExcludeEvent,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
    ReadmitEvent,
    StaleRunningEvent,
)
from slurm_restart.errors import StateError

KEY = RunKey(cluster="c1", job_id=7, uid=1000, run="0123456789abcdef")
INTS = st.integers(0, 2**40)
NAMES = st.lists(st.text(max_size=8), max_size=3).map(tuple)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        EndEvent,
        at=INTS,
        submit_time=INTS,
        restarts=INTS,
        requeued=st.booleans(),
        category=st.sampled_from(Category),
        rule=st.text(max_size=20),
        action=st.sampled_from(Action),
        reason=st.text(max_size=20),
        progress=st.none() | st.booleans(),
        nodes=NAMES,
        observed=st.booleans(),
    ),
    st.builds(
        ExcludeEvent, at=INTS, node=st.text(), until=INTS, evidence=st.text(), submit_time=INTS
    ),
    st.builds(ReadmitEvent, at=INTS, node=st.text(), why=st.text()),
    st.builds(IntendEvent, at=INTS, submit_time=INTS, operations=NAMES, attempt=st.none() | INTS),
    st.builds(OutcomeEvent, at=INTS, submit_time=INTS, done=NAMES, failed=st.none() | st.text()),
    st.builds(AppliedEvent, at=INTS, exc_nodes=st.none() | NAMES, held=st.none() | st.booleans()),
    st.builds(NoteEvent, at=INTS, text=st.text()),
    st.builds(StaleRunningEvent, at=INTS, submit_time=INTS),
)


@given(event=EVENTS)
def test_a_line_is_read_back(event: Event) -> None:
    line = to_line(event)
    assert "\n" not in line
    assert from_line(line) == event


@given(text=st.text())
def test_a_line_of_anything_is_refused_and_nothing_worse(text: str) -> None:
    with pytest.raises(ValueError, match=r"."):
        from_line(text)


def note(text: str) -> NoteEvent:
    return NoteEvent(at=1, text=text)


def test_events_last(tmp_path: Path) -> None:
    with open_journal(tmp_path, KEY) as journal:
        journal.append(note("one"), note("two"))
    with open_journal(tmp_path, KEY) as journal:
        assert journal.events == [note("one"), note("two")]
    assert journal_path(tmp_path, KEY).stat().st_mode & 0o777 == 0o600


def test_a_torn_last_line_is_passed_over_and_stays_apart(tmp_path: Path) -> None:
    with open_journal(tmp_path, KEY) as journal:
        journal.append(note("one"))
    with journal_path(tmp_path, KEY).open("a") as file:
        file.write('{"event":"note","at":')
    with open_journal(tmp_path, KEY) as journal:
        assert (journal.events, journal.damaged) == ([note("one")], [2])
        journal.append(note("three"))
    assert read_journal(journal_path(tmp_path, KEY)) == ([note("one"), note("three")], [2])


def test_a_link_in_the_journals_place_is_not_followed(tmp_path: Path) -> None:
    path = journal_path(tmp_path, KEY)
    path.parent.mkdir(parents=True)
    path.symlink_to(tmp_path / "elsewhere")
    with pytest.raises(StateError), open_journal(tmp_path, KEY):
        pass
    assert not (tmp_path / "elsewhere").exists()


@pytest.mark.parametrize("cluster", ["", "..", "../x", "a/b", "a" * 80])
def test_a_clusters_name_leads_nowhere_else(tmp_path: Path, cluster: str) -> None:
    key = RunKey(cluster=cluster, job_id=7, uid=1000, run=KEY.run)
    with pytest.raises(StateError):
        journal_path(tmp_path, key)


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(StateError, match="journal"), open_journal(tmp_path, KEY):
        pass


def test_other_run_ids_of_the_same_job_and_user(tmp_path: Path) -> None:
    with open_journal(tmp_path, KEY) as journal:
        journal.append(note("one"))
    changed = RunKey(cluster="c1", job_id=7, uid=1000, run="f" * 16)
    stranger = RunKey(cluster="c1", job_id=7, uid=1001, run="f" * 16)
    assert other_runs(tmp_path, changed) == (KEY.run,)
    assert other_runs(tmp_path, stranger) == ()


def test_the_second_waits_for_the_first(tmp_path: Path) -> None:
    code = (
        "import sys; from pathlib import Path; "
        "from slurm_restart.control.journal import RunKey, open_journal\n"
        f"print('started', flush=True)\nwith open_journal(Path(sys.argv[1]), {KEY!r}) as journal:\n"
        "    print(len(journal.events))"
    )
    with open_journal(tmp_path, KEY) as journal:
        second = subprocess.Popen(
            [sys.executable, "-c", code, str(tmp_path)], stdout=subprocess.PIPE, text=True
        )
        assert second.stdout is not None
        assert second.stdout.readline() == "started\n"
        journal.append(note("first"))
    assert second.communicate(timeout=30)[0] == "1\n"
