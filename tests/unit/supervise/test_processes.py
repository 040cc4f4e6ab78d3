import os
import signal
import subprocess
import sys

import pytest

from slurm_restart.supervise import processes

HANDLES = "import signal; signal.signal(15, lambda *_: None)"
DEADLINE = 240
READY = "print('ready', flush=True); import time; time.sleep(300)"


@pytest.fixture
def start():
    started = []

    def begin(*lines, group=None):
        process = subprocess.Popen(
            [sys.executable, "-I", "-c", "\n".join((*lines, READY))],
            stdout=subprocess.PIPE,
            text=True,
            process_group=group,
        )
        started.append(process)
        assert process.stdout.readline() == "ready\n"
        return process

    yield begin
    for process in started:
        process.kill()
        process.communicate()


def test_descendants_are_found_by_their_parents_whatever_they_are_called(start):
    name = "import ctypes; ctypes.CDLL(None).prctl(15, b'a) R 1 1 ', 0, 0, 0)"
    child = start(name)
    assert child.pid in processes.descendants(os.getpid())
    assert child.pid not in processes.descendants(child.pid)
    child.kill()
    os.waitid(os.P_PID, child.pid, os.WEXITED | os.WNOWAIT)
    assert child.pid not in processes.descendants(os.getpid())


def test_a_group_that_was_told_is_told_again_only_where_it_cannot_have_heard(start):
    first = start(HANDLES, group=0)
    unheard = start(group=first.pid)
    other = start(HANDLES.replace("None", "exit(3)"), group=0)
    left_out = start(group=0)
    processes.signal_descendants(
        os.getpid(), signal.SIGTERM, already_signalled=first.pid, excluded_group=left_out.pid
    )
    assert unheard.wait(DEADLINE) == -signal.SIGTERM
    assert other.wait(DEADLINE) == 3
    assert first.poll() is None
    assert left_out.poll() is None


def test_what_is_gone_is_rejected():
    processes.signal_group(2**22 + 1, signal.SIGTERM)
