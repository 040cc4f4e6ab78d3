import os
import signal
import subprocess
import sys

import pytest

from slurm_restart.supervise import processes

HANDLES = "import signal; signal.signal(15, lambda *_: None)"
# Ends with the number of TERM signals as its exit code once USR1 has come.
COUNTS = """
import signal, sys
terms = []
signal.signal(signal.SIGTERM, lambda *_: terms.append(1))
signal.signal(signal.SIGUSR1, lambda *_: sys.exit(len(terms)))
"""
# Waits for TERM as srun does; ends with the number of signals that have come when it gets INT.
AS_SRUN = """
import ctypes, signal, sys
ctypes.CDLL(None).prctl(15, b"srun", 0, 0, 0)
signal.pthread_sigmask(signal.SIG_BLOCK, [signal.SIGTERM])
signal.signal(signal.SIGINT, lambda *_: sys.exit(len(signal.sigpending())))
"""
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


def test_a_group_that_has_had_the_signal_gets_it_again_only_where_nothing_handles_it(start):
    """A process without a handler was forked after the signal was sent to its group."""
    handling = start(COUNTS, group=0)
    without_handler = start(group=handling.pid)
    other = start(HANDLES.replace("None", "exit(3)"), group=0)
    left_out = start(group=0)
    processes.signal_descendants(
        os.getpid(),
        signal.SIGTERM,
        already_signalled=(handling.pid, signal.SIGTERM),
        excluded_group=left_out.pid,
    )
    assert without_handler.wait(DEADLINE) == -signal.SIGTERM
    assert other.wait(DEADLINE) == 3
    assert left_out.poll() is None
    handling.send_signal(signal.SIGUSR1)
    assert handling.wait(DEADLINE) == 0


def test_a_handler_of_another_signal_does_not_spare_a_process(start):
    """It had USR2, which it does not handle, and is only not dead yet."""
    process = start(HANDLES.replace("None", "exit(3)"), group=0)
    processes.signal_descendants(
        os.getpid(), signal.SIGTERM, already_signalled=(process.pid, signal.SIGUSR2)
    )
    assert process.wait(DEADLINE) == 3


def test_srun_is_left_to_end_with_its_tasks(start):
    """On TERM it would kill them."""
    srun = start(AS_SRUN, group=0)
    shell = start(group=srun.pid)
    assert processes.find_srun(srun.pid) == [srun.pid]
    processes.signal_group(srun.pid, signal.SIGTERM, without_srun=True)
    assert shell.wait(DEADLINE) == -signal.SIGTERM
    had = srun.pid, signal.SIGTERM
    processes.signal_descendants(os.getpid(), signal.SIGTERM, already_signalled=had)
    srun.send_signal(signal.SIGINT)
    assert srun.wait(DEADLINE) == 0


def test_what_is_gone_is_rejected():
    processes.signal_group(2**22 + 1, signal.SIGTERM)
