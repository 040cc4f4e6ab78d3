"""The journal is read back as it was written, whatever has happened to the file."""

import errno
import fcntl
import json
import os
import re
import subprocess
import sys
import syslog
import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from contrib.testing.waiting import await_
from slurm_restart.control import journal_file
from slurm_restart.control.damaged_lines import MAX_DAMAGED
from slurm_restart.control.journal import (
    COMPACT_BYTES,
    Journal,
    RunKey,
    export,
    from_line,
    journal_path,
    open_journal,
    read_journal,
    to_line,
)
from slurm_restart.control.state_dir import birth
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


def end(at: int) -> EndEvent:
    return EndEvent(
        at=at,
        submit_time=at,
        restarts=0,
        requeued=False,
        category=Category.UNKNOWN,
        rule="exit.nonzero",
        action=Action.REQUEUE,
        reason="restart without progress",
        nodes=("csx1", "csx2", "csx3", "csx4"),
    )


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


@pytest.mark.parametrize("cluster", ["", ".", "..", "../x", "a/b", "-x", "ünï", "a" * 80, "ü" * 99])
def test_a_clusters_name_leads_nowhere_else(tmp_path: Path, cluster: str) -> None:
    key = RunKey(cluster=cluster, job_id=7, uid=1000, run=KEY.run)
    path = journal_path(tmp_path, key)
    assert path.resolve().parent.parent == tmp_path / "journal"
    with open_journal(tmp_path, key) as journal:
        journal.append(note("one"))
        (tmp_path / "public").mkdir()
        export(journal, tmp_path / "public", key)
    assert read_journal(path)[0] == [note("one")]
    [copy] = (tmp_path / "public").glob("*/*.jsonl")
    assert copy.parent.name == path.parent.name


def repeated(journal: Journal, *events: Event) -> None:
    for event in events:
        journal.append(event)


def test_what_repeats_is_written_once(tmp_path: Path) -> None:
    refused = (
        IntendEvent(at=1, submit_time=1, operations=("hold",)),
        OutcomeEvent(at=1, submit_time=1, done=(), failed="hold: refused"),
        note("a person's hold"),
    )
    with open_journal(tmp_path, KEY) as journal:
        for at in range(1, 30):
            repeated(journal, *(replace(event, at=at) for event in refused))
    with open_journal(tmp_path, KEY) as journal:
        assert journal.events == list(refused)


def grown(tmp_path: Path, *events: Event, damaged: bytes = b"") -> Path:
    """A journal of more than COMPACT_BYTES: these events after many notes of one text."""
    path = journal_path(tmp_path, KEY)
    path.parent.mkdir(parents=True)
    line = to_line(note("x" * 1000)) + "\n"
    notes = line * (COMPACT_BYTES // len(line) + 1)
    path.write_bytes(notes.encode() + damaged + "".join(to_line(e) + "\n" for e in events).encode())
    return path


def test_a_large_journal_is_written_anew(tmp_path: Path) -> None:
    path = grown(tmp_path, note("last"), damaged=b'{"event":"of a later release"}\n')
    with open_journal(tmp_path, KEY) as journal:
        assert journal.events == [note("x" * 1000), note("last")]
        journal.append(note("more"))
    assert path.stat().st_size < 5000
    assert path.stat().st_mode & 0o777 == 0o600
    assert b"of a later release" in path.read_bytes()
    assert read_journal(path)[0][-2:] == [note("last"), note("more")]
    assert sorted(file.suffix for file in path.parent.iterdir()) == [".damaged", ".jsonl"]


def test_a_journal_that_was_written_anew_is_locked(tmp_path: Path) -> None:
    path = grown(tmp_path)
    with open_journal(tmp_path, KEY):
        assert path.stat().st_size < 5000
        with path.open() as other, pytest.raises(BlockingIOError):
            fcntl.flock(other, fcntl.LOCK_SH | fcntl.LOCK_NB)


def test_keys_of_another_release_survive(tmp_path: Path) -> None:
    path = grown(tmp_path)
    with path.open("a") as file:
        file.write('{"event":"note","at":1,"text":"a","new":[1]}\n')
    with open_journal(tmp_path, KEY):
        pass
    assert path.read_text().splitlines()[-1] == '{"event":"note","at":1,"text":"a","new":[1]}'


def test_only_the_last_unreadable_lines_of_a_large_journal_are_kept(tmp_path: Path) -> None:
    lines = [b'{"event":"%d"}' % number for number in range(20_000)]
    path = grown(tmp_path, damaged=b"\n".join(lines) + b"\n")
    with open_journal(tmp_path, KEY):
        pass
    kept = path.read_bytes().splitlines()[:-1]
    assert kept == lines[-len(kept) :]
    assert MAX_DAMAGED * 0.9 < len(b"\n".join(kept)) < MAX_DAMAGED
    assert path.with_suffix(".damaged").stat().st_size == MAX_DAMAGED
    assert len((tmp_path / "csx-epilog.log").read_text().splitlines()) == 1


def test_a_large_journal_of_which_all_is_needed_stays(tmp_path: Path) -> None:
    path = journal_path(tmp_path, KEY)
    path.parent.mkdir(parents=True)
    ends = [end(number) for number in range(4000)]
    path.write_text("".join(to_line(event) + "\n" for event in ends))
    before = path.stat()
    assert before.st_size > COMPACT_BYTES
    with open_journal(tmp_path, KEY) as journal:
        assert journal.events == ends
    assert (path.stat().st_ino, path.stat().st_mtime) == (before.st_ino, before.st_mtime)


def test_a_full_disk_leaves_the_large_journal_as_it_is(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = grown(tmp_path, note("last"))
    birth(tmp_path)
    size = path.stat().st_size

    def refuse(*_args: object) -> int:
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with monkeypatch.context() as patched:
        patched.setattr(os, "write", refuse)
        patched.setattr(syslog, "syslog", lambda *_args: None)
        with open_journal(tmp_path, KEY) as journal:
            assert journal.events[-1] == note("last")
    assert path.stat().st_size == size
    assert [file.name for file in path.parent.iterdir()] == [path.name]


def test_the_one_that_waited_uses_the_new_file(tmp_path: Path) -> None:
    path = grown(tmp_path)
    old = os.open(path, os.O_RDONLY)
    fcntl.flock(old, fcntl.LOCK_EX)
    inode = path.stat().st_ino

    def append() -> None:
        with open_journal(tmp_path, KEY) as journal:
            journal.append(note("after the wait"))

    waiting = [threading.Thread(target=append) for _ in range(2)]
    for thread in waiting:
        thread.start()
    waits = re.compile(rf"-> FLOCK.*:{inode} ")
    await_(lambda: len(waits.findall(Path("/proc/locks").read_text())) == 2, "both wait")
    os.close(old)
    for thread in waiting:
        thread.join(timeout=300)
    # The first writes the journal anew; the second finds its note there, and repeats none.
    assert path.stat().st_ino != inode
    assert read_journal(path)[0] == [note("x" * 1000), note("after the wait")]


def test_the_one_that_waited_finds_a_removed_journal(tmp_path: Path) -> None:
    with open_journal(tmp_path, KEY) as journal:
        journal.append(note("old"))
        inode = journal.path.stat().st_ino

        def append() -> None:
            with open_journal(tmp_path, KEY) as another:
                another.append(note("new"))

        thread = threading.Thread(target=append)
        thread.start()
        waits = re.compile(rf"-> FLOCK.*:{inode} ")
        await_(lambda: waits.search(Path("/proc/locks").read_text()), "the thread waits")
        journal.path.unlink()
    thread.join(timeout=300)
    assert read_journal(journal_path(tmp_path, KEY))[0] == [note("new")]


def test_a_journal_beyond_all_measure_is_read_at_both_ends(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(journal_file, "MAX_READ", 2000)
    path = journal_path(tmp_path, KEY)
    path.parent.mkdir(parents=True)
    path.write_text("".join(to_line(end(number)) + "\n" for number in range(1000)))
    with open_journal(tmp_path, KEY) as journal:
        times = [event.at for event in journal.events]
    assert times[0] == 0
    assert times[-1] == 999
    assert len(times) < 20
    assert f"{path}: too large, its middle is left out" in (tmp_path / "csx-epilog.log").read_text()


def test_the_copy_has_no_admin_comment(tmp_path: Path) -> None:
    (tmp_path / "public").mkdir()
    operation = Operation(
        verb=Verb.UPDATE,
        fields=(("StartTime", "now+2"), ("AdminComment", "secret | csx-restart: x")),
    )
    refusal = f"{operation}: Access denied"
    with open_journal(tmp_path, KEY) as journal:
        journal.append(
            IntendEvent(at=1, submit_time=1, operations=(operation.to_text(),)),
            OutcomeEvent(at=1, submit_time=1, done=(), failed=refusal),
        )
        export(journal, tmp_path / "public", KEY)
    [copy] = (tmp_path / "public").glob("*/*.jsonl")
    assert "secret" not in copy.read_text()
    assert "AdminComment" not in copy.read_text()
    assert read_journal(copy)[0] == [
        IntendEvent(at=1, submit_time=1, operations=("update\tStartTime=now+2",)),
        OutcomeEvent(at=1, submit_time=1, done=(), failed="update StartTime=now+2: Access denied"),
    ]
    assert copy.stat().st_mode & 0o777 == 0o644


def test_a_new_state_directory_has_a_birth(tmp_path: Path) -> None:
    with open_journal(tmp_path / "state", KEY):
        pass
    assert (tmp_path / "state").stat().st_mode & 0o777 == 0o700
    assert int((tmp_path / "state" / "created").read_text()) > 0


def test_a_folder_that_cannot_be_made_is_an_error_with_its_name(tmp_path: Path) -> None:
    (tmp_path / "journal").write_text("a file")
    with pytest.raises(StateError, match="journal"), open_journal(tmp_path, KEY):
        pass


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
