"""The ends of processes of srun."""

import os
import subprocess
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack
from pathlib import Path

import pytest

from slurm_restart.supervise import srun_processes
from slurm_restart.supervise.job_processes import Belonging, JobProcesses
from slurm_restart.supervise.srun_processes import SrunEnds, find_sruns

from .conftest import await_

# It is called srun, as a script has the name of its file.
SRUN = "#!/bin/sh\nwhile read -r line; do :; done\n"

Start = Callable[[], subprocess.Popen[bytes]]


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Start]:
    """Start a program below this process that has the name of srun."""
    (tmp_path / "srun").write_text(SRUN)
    (tmp_path / "srun").chmod(0o755)
    processes = JobProcesses(Belonging(job_id=None, node=None, roots=(os.getpid(),)))

    def begin() -> subprocess.Popen[bytes]:
        process = subprocess.Popen([tmp_path / "srun"], stdin=subprocess.PIPE)
        stack.enter_context(process)
        stack.callback(process.kill)
        await_(lambda: process.pid in [srun.pid for srun in find_sruns(processes)], "srun")
        return process

    with ExitStack() as stack:
        yield begin


@pytest.mark.parametrize("is_waited_for", [True, False])
def test_the_end_of_one_is_noticed_once(start: Start, is_waited_for: bool):
    ends = SrunEnds(os.getpid())
    first, _ = start(), start()
    assert [ends.look(now) for now in (0.0, 1.0)] == [False, False]
    first.kill()
    if is_waited_for:
        first.wait()
    else:
        os.waitid(os.P_PID, first.pid, os.WEXITED | os.WNOWAIT)
    assert [ends.look(now) for now in (2.0, 3.0)] == [True, False]


def test_one_that_begins_later_is_found(start: Start):
    ends = SrunEnds(os.getpid())
    assert not ends.look(0.0)
    later = start()
    assert not ends.look(100.0)
    later.kill()
    later.wait()
    assert ends.look(101.0)


def test_looks_take_a_small_share_of_the_time(start: Start, monkeypatch):
    """Where there are many processes, new ones are found later; known ones are watched as well."""
    used = [0.0]
    finds = []

    def find(processes: JobProcesses) -> list:
        finds.append(processes)
        used[0] += 0.05
        return find_sruns(processes)

    monkeypatch.setattr(srun_processes, "find_sruns", find)
    monkeypatch.setattr(time, "thread_time", lambda: used[0])
    one = start()
    ends = SrunEnds(os.getpid())
    assert not any(ends.look(float(now)) for now in range(11))
    assert len(finds) == 3  # at 0, 5 and 10 s
    assert ends.pause == 1.0
    one.kill()
    one.wait()
    assert ends.look(11.0)
