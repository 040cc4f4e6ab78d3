"""What is read from the trainer's pipe, and since when it must have been written."""

import math
import os
import subprocess
import threading
import time
from collections.abc import Iterator

import pytest

from slurm_restart.supervise import output_pipe
from slurm_restart.supervise.output_pipe import CHUNK, OutputPipe

from .conftest import DEADLINE, await_


@pytest.fixture
def ends(monkeypatch: pytest.MonkeyPatch) -> Iterator[tuple[int, int]]:
    monkeypatch.setattr(output_pipe, "WATCHED", DEADLINE)
    reading, writing = os.pipe()
    yield reading, writing
    os.close(reading)
    os.close(writing)


def now() -> float:
    return time.clock_gettime(time.CLOCK_BOOTTIME)


def test_what_is_read_was_written_after_the_pipe_was_seen_empty(ends: tuple[int, int]) -> None:
    reading, writing = ends
    pipe, read = OutputPipe(reading), list[bytes]()
    thread = threading.Thread(target=lambda: read.append(pipe.read()))
    thread.start()
    began = now()
    await_(lambda: pipe.empty_at > began, "a look at the pipe")
    os.write(writing, b"line\n")
    after = now()
    thread.join(DEADLINE)
    assert read == [b"line\n"]
    assert began < pipe.empty_at < after


def test_what_is_there_at_once_may_be_of_any_age(ends: tuple[int, int]) -> None:
    reading, writing = ends
    pipe = OutputPipe(reading)
    os.write(writing, b"x" * (CHUNK - 1))
    assert len(pipe.read()) == CHUNK - 1
    os.write(writing, b"line\n")
    assert pipe.read() == b"line\n"
    assert pipe.empty_at == -math.inf


def test_after_a_while_it_is_not_looked_at_any_more(
    ends: tuple[int, int], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(output_pipe, "WATCHED", 0.0)
    reading, writing = ends
    pipe, read = OutputPipe(reading), list[bytes]()
    thread = threading.Thread(target=lambda: read.append(pipe.read()))
    thread.start()
    os.write(writing, b"line\n")
    thread.join(DEADLINE)
    assert (read, pipe.empty_at) == ([b"line\n"], -math.inf)


def test_whose_standard_error_goes_into_it(ends: tuple[int, int]) -> None:
    reading, writing = ends
    pipe = OutputPipe(reading)
    for stream, expected in ((writing, True), (subprocess.DEVNULL, False)):
        process = subprocess.Popen(["sleep", "600"], stderr=stream)
        try:
            assert pipe.writes_to(process.pid) is expected
        finally:
            process.kill()
            process.wait()
        assert not pipe.writes_to(process.pid)
