"""The journal is read back as it was written, whatever has happened to the file."""

import json
import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.control.journal import (
    RunKey,
    export,
    from_line,
    journal_path,
    open_journal,
    other_runs,
    read_journal,
    to_line,
)
from slurm_restart.core.category import Category
from slurm_restart.core.journal_events import (
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
from slurm_restart.core.record_reader import MAX_NUMBER
from slurm_restart.core.slurm_operations import Operation, Verb
from slurm_restart.errors import RecordError, StateError

KEY = RunKey(cluster="c1", job_id=7, uid=1000, run="0123456789abcdef")
WORDS = st.text(max_size=8)
INTS = st.integers(0, MAX_NUMBER)
OPERATIONS = st.lists(
    st.builds(
        Operation,
        verb=st.sampled_from(Verb),
        fields=st.lists(st.tuples(WORDS, WORDS), max_size=3).map(tuple),
    ).map(Operation.to_text),
    max_size=3,
).map(tuple)
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
    st.builds(
        IntendEvent, at=INTS, submit_time=INTS, operations=OPERATIONS, attempt=st.none() | INTS
    ),
    st.builds(OutcomeEvent, at=INTS, submit_time=INTS, done=NAMES, failed=st.none() | st.text()),
    st.builds(AppliedEvent, at=INTS, exc_nodes=st.none() | NAMES, held=st.none() | st.booleans()),
    st.builds(NoteEvent, at=INTS, text=st.text()),
    st.builds(StaleRunningEvent, at=INTS, submit_time=INTS),
)


@given(event=EVENTS)
def test_a_line_is_read_back(event: Event) -> None:
    line = to_line(event)
    assert "\n" not in line
    assert from_line(line) == (event, {})


@given(text=st.text())
def test_a_line_of_anything_is_refused_and_nothing_worse(text: str) -> None:
    with pytest.raises(RecordError, match=r"."):
        from_line(text)


JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(),
    lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    max_leaves=8,
)


@given(name=st.sampled_from(["end", "applied", "wrote", "intend", "note"]), data=st.data())
def test_wrong_values_are_one_error(name: str, data: st.DataObject) -> None:
    keys = st.sampled_from(["at", "submit_time", "restarts", "category", "nodes", "operations"])
    line = json.dumps({"event": name, **data.draw(st.dictionaries(keys | st.text(), JSON))})
    try:
        event, unknown = from_line(line)
    except RecordError:
        return
    assert from_line(to_line(event, unknown)) == (event, unknown)


@pytest.mark.parametrize(
    "line", [b"[" * 100_000, b"\xff\xfe", b'{"event":"note","at":1,"text":"\\ud800"}', b"null", b""]
)
def test_bytes_that_are_no_event(line: bytes) -> None:
    with pytest.raises(RecordError):
        from_line(line)


FORMER = """
{"event":"end","at":1,"submit_time":1,"restarts":0,"requeued":false,"category":"unknown",\
"rule":"r","action":"refit","reason":""}
{"event":"wrote","at":2,"num_nodes":3}
{"event":"ghost","at":3,"submit_time":1}
"""


def test_the_names_of_release_0_1_are_read(tmp_path: Path) -> None:
    path = tmp_path / "7-1000-0123456789abcdef.jsonl"
    path.write_text(FORMER.replace("\\\n", ""))
    events, damaged = read_journal(path)
    assert damaged == []
    assert [type(event) for event in events] == [EndEvent, AppliedEvent, StaleRunningEvent]
    assert isinstance(events[0], EndEvent)
    assert events[0].action is Action.ADJUST


def test_keys_of_another_release_are_in_the_exported_copy(tmp_path: Path) -> None:
    path = journal_path(tmp_path, KEY)
    path.parent.mkdir(parents=True)
    path.write_text('{"event":"note","at":1,"text":"a","new":{"x":[1]}}\n')
    (tmp_path / "public").mkdir()
    with open_journal(tmp_path, KEY) as journal:
        journal.append(note("two"))
        export(journal, tmp_path / "public", KEY)
    copy = next((tmp_path / "public").glob("*/*.jsonl")).read_text().splitlines()
    assert [json.loads(line).get("new") for line in copy] == [{"x": [1]}, None]


def test_a_line_that_cannot_be_read_is_kept_and_logged_once(tmp_path: Path) -> None:
    path = journal_path(tmp_path, KEY)
    path.parent.mkdir(parents=True)
    path.write_text('{"event":"note","at":"\u202e"}\n')
    for _ in range(3):
        with open_journal(tmp_path, KEY) as journal:
            assert journal.damaged == [1]
    logged = (tmp_path / "csx-epilog.log").read_text().splitlines()
    assert len(logged) == 1
    assert "7-1000-0123456789abcdef.jsonl:1: at: expected a whole number" in logged[0]
    assert path.read_text().startswith('{"event":"note","at":"')


@pytest.mark.parametrize("make", [os.mkfifo, os.mkdir])
def test_what_is_no_file_harms_nobody_else(tmp_path: Path, make: Callable[[Path], None]) -> None:
    path = journal_path(tmp_path, KEY)
    path.parent.mkdir(parents=True)
    make(path)
    with pytest.raises(StateError), open_journal(tmp_path, KEY):
        pass
    with pytest.raises(StateError):
        read_journal(path)


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
    assert second.communicate(timeout=300)[0] == "1\n"
