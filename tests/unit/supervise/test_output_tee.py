import errno
import os

import pytest

from slurm_restart.supervise import output_tee
from slurm_restart.supervise.output_tee import OutputTee, Sink


class Scanner:
    def __init__(self):
        self.data = b""

    def feed(self, chunk):
        self.data += chunk

    def findings(self):
        return ()


@pytest.fixture
def told():
    return []


def copy(data, sinks, scanner, told):
    """What a trainer that prints all this leaves behind."""
    reading, writing = os.pipe()
    thread = OutputTee(reading, tuple(sinks), scanner, told.append)
    thread.start()
    for start in range(0, len(data), 1000):
        os.write(writing, data[start : start + 1000])
    os.close(writing)
    thread.join(240)
    assert not thread.is_alive()
    return thread


def opened(path, flags=os.O_WRONLY | os.O_CREAT):
    return os.open(path, flags, 0o644)


def test_everything_goes_everywhere(tmp_path, told):
    data = os.urandom(300_000)
    sinks = [Sink(name, opened(tmp_path / name), told.append) for name in ("a", "b")]
    scanner = Scanner()
    copy(data, sinks, scanner, told)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == scanner.data == data
    assert told == []


def test_a_place_that_fails_costs_the_others_nothing(tmp_path, told):
    reader, gone = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    never = Sink("never", None, told.append)
    sinks = [Sink("gone", gone, told.append), Sink("full", full, told.append), never]
    data = b"x" * 100_000
    good = Sink("good", opened(tmp_path / "good"), told.append)
    copy(data, [*sinks, good], Scanner(), told)
    assert (tmp_path / "good").read_bytes() == data
    assert sorted(told) == [
        "full: cannot be written: No space left on device",
        "gone: cannot be written: Broken pipe",
    ]


def test_what_was_lost_is_told_where_it_can_be_written_again(tmp_path, told, monkeypatch):
    monkeypatch.setattr(output_tee, "_RETRY", 0.0)
    sink = Sink("log", opened(tmp_path / "log"), told.append)
    real = os.write
    sink.write(b"one\n")
    monkeypatch.setattr(os, "write", full)
    sink.write(b"two\n")
    sink.write(b"three\n")
    monkeypatch.setattr(os, "write", real)
    sink.write(b"four\n")
    assert (tmp_path / "log").read_text() == "one\n\n[csx-restart: 10 bytes of output lost]\nfour\n"
    assert told == [
        "log: cannot be written: No space left on device",
        "log: writable again, 10 bytes were lost",
    ]


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_scanner_that_fails_is_left_out(tmp_path, told):
    class Bad(Scanner):
        def feed(self, _chunk):
            raise ValueError("odd")

    data = b"x" * 200_000
    copy(data, [Sink("log", opened(tmp_path / "log"), told.append)], Bad(), told)
    assert (tmp_path / "log").read_bytes() == data
    assert told == ["the output is not scanned any more: ValueError: odd"]


def test_the_cluster_jobs_that_the_output_names(told):
    text = (
        "2025 INFO:   Compile job id: wsjob-abc-1, remote log path: /n\n" + "." * 65_480 + "\n"
        "2025 INFO:   Execute job id: wsjob-def-2, remote log path: /n\n"
        "2025 INFO:   Execute job id: wsjob-def-2, remote log path: /n\n"
        "2025 INFO:   Execute job id: wsjob-ghi-3\nwsjob-other\n"
    )
    thread = copy(text.encode(), [], Scanner(), told)
    assert thread.job_ids == {"compile": ["wsjob-abc-1"], "execute": ["wsjob-def-2", "wsjob-ghi-3"]}
