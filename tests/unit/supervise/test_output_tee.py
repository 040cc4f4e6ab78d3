import errno
import os
from contextlib import nullcontext

import pytest

from slurm_restart.supervise import file_sink, output_sink
from slurm_restart.supervise.file_sink import FileSink
from slurm_restart.supervise.output_pipe import OutputPipe
from slurm_restart.supervise.output_sink import Sink
from slurm_restart.supervise.output_tee import ErrorOutput, OutputTee


class Scanner:
    def __init__(self):
        self.data = b""

    def feed(self, chunk):
        self.data += chunk

    def findings(self):
        return ()


@pytest.fixture
def warnings():
    return []


def copy(data, sinks, scanner, warnings):
    """Copy this output of a trainer; return the thread after its end."""
    reading, writing = os.pipe()
    thread = OutputTee(OutputPipe(reading), tuple(sinks), scanner, warnings.append)
    thread.start()
    for start in range(0, len(data), 1000):
        os.write(writing, data[start : start + 1000])
    os.close(writing)
    thread.join(240)
    assert not thread.is_alive()
    return thread


def opened(path, flags=os.O_WRONLY | os.O_CREAT):
    return os.open(path, flags, 0o644)


def test_all_output_is_written_to_all_sinks(tmp_path, warnings):
    data = os.urandom(300_000)
    sinks = [Sink(name, opened(tmp_path / name), warnings.append) for name in ("a", "b")]
    scanner = Scanner()
    copy(data, sinks, scanner, warnings)
    assert (tmp_path / "a").read_bytes() == (tmp_path / "b").read_bytes() == scanner.data == data
    assert warnings == []


def test_a_sink_that_fails_leaves_the_others_complete(tmp_path, warnings):
    reader, gone = os.pipe()
    os.close(reader)
    full = os.open("/dev/full", os.O_WRONLY)
    never = Sink("never", None, warnings.append)
    sinks = [Sink("gone", gone, warnings.append), Sink("full", full, warnings.append), never]
    data = b"x" * 100_000
    good = Sink("good", opened(tmp_path / "good"), warnings.append)
    copy(data, [*sinks, good], Scanner(), warnings)
    assert (tmp_path / "good").read_bytes() == data
    assert sorted(warnings) == [
        "full: cannot be written: No space left on device",
        "gone: cannot be written: Broken pipe",
    ]


def test_lost_output_is_counted_once_the_sink_is_writable_again(tmp_path, warnings, monkeypatch):
    monkeypatch.setattr(output_sink, "_RETRY", 0.0)
    sink = Sink("log", opened(tmp_path / "log"), warnings.append)
    real = os.write
    sink.write(b"one\n")
    monkeypatch.setattr(os, "write", full)
    sink.write(b"two\n")
    sink.write(b"three\n")
    monkeypatch.setattr(os, "write", real)
    sink.write(b"four\n")
    assert (tmp_path / "log").read_text() == "one\n\n[csx-restart: 10 bytes of output lost]\nfour\n"
    assert warnings == [
        "log: cannot be written: No space left on device",
        "log: writable again, 10 bytes were lost",
    ]


def full(*_):
    raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))


def test_a_scanner_that_fails_is_left_out(tmp_path, warnings):
    class Bad(Scanner):
        def feed(self, _chunk):
            raise ValueError("odd")

    data = b"x" * 200_000
    copy(data, [Sink("log", opened(tmp_path / "log"), warnings.append)], Bad(), warnings)
    assert (tmp_path / "log").read_bytes() == data
    assert warnings == ["the output is not scanned any more: ValueError: odd"]


def test_the_cluster_jobs_that_the_output_names(warnings):
    text = (
        "2025 INFO:   Compile job id: wsjob-abc-1, remote log path: /n\n" + "." * 65_480 + "\n"
        "2025 INFO:   Execute job id: wsjob-def-2, remote log path: /n\n"
        "2025 INFO:   Execute job id: wsjob-def-2, remote log path: /n\n"
        "2025 INFO:   Execute job id: wsjob-ghi-3\nwsjob-other\n"
    )
    thread = copy(text.encode(), [], Scanner(), warnings)
    assert thread.job_ids == {"compile": ["wsjob-abc-1"], "execute": ["wsjob-def-2", "wsjob-ghi-3"]}


def watched(_path):
    return nullcontext()


def test_a_file_that_hangs_holds_up_nobody_and_what_is_lost_is_counted(
    tmp_path, warnings, monkeypatch
):
    """A named pipe without a reader hangs when it is opened."""
    monkeypatch.setattr(file_sink, "MAX_QUEUED", 10)
    path = tmp_path / "output.log"
    os.mkfifo(path)
    sink = FileSink(str(path), warnings.append, watched)
    sink.start()
    for data in (b"12345", b"67890", b"lost!", b"lost!"):
        sink.write(data)
    reader = os.open(path, os.O_RDONLY)
    read = b""
    while len(read) < 10:
        read += os.read(reader, 100)
    monkeypatch.setattr(file_sink, "MAX_QUEUED", 1000)
    sink.write(b"end\n")
    sink.finish()
    while data := os.read(reader, 100):
        read += data
    assert read == b"1234567890\n[csx-restart: 10 bytes of output lost]\nend\n"
    assert warnings == []
    os.close(reader)


def test_a_file_that_cannot_be_opened_is_reported_once(tmp_path, warnings):
    sink = FileSink(str(tmp_path / "missing" / "x"), warnings.append, watched)
    sink.start()
    sink.write(b"a")
    sink.write(b"b")
    sink.finish()
    assert warnings == [f"{tmp_path}/missing/x: cannot be written: No such file or directory"]


def test_standard_error_that_is_apart_has_its_own_log(tmp_path, warnings):
    names = ("output", "both", "errors")
    output, both, errors = (Sink(n, opened(tmp_path / n), warnings.append) for n in names)
    reading, writing = os.pipe()
    errors_reading, errors_writing = os.pipe()
    scanner = Scanner()
    apart = ErrorOutput(OutputPipe(errors_reading), errors)
    thread = OutputTee(OutputPipe(reading), (output, both), scanner, warnings.append, errors=apart)
    thread.start()
    os.write(errors_writing, b"half a ")
    os.write(writing, b"out\n")
    os.close(writing)
    os.write(errors_writing, b"line\nlast")
    os.close(errors_writing)
    thread.join(240)
    assert not thread.is_alive()
    assert (tmp_path / "output").read_bytes() == b"out\n"
    assert (tmp_path / "errors").read_bytes() == b"half a line\nlast"
    together = (tmp_path / "both").read_bytes()
    assert sorted(together.splitlines()) == [b"half a line", b"last", b"out"]
    assert scanner.data == together
    assert warnings == []
