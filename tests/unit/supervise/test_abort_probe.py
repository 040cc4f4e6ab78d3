"""SIGABRT to the trainer's processes of one node: who gets it, and that none dumps core."""

import json
import os
import resource
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_restart.core.record_reader import read_object
from slurm_restart.slurm.process import Call, Interactive
from slurm_restart.supervise import abort_probe
from slurm_restart.supervise.abort_probe import Aborted, abort, is_ending, prevent_core
from slurm_restart.supervise.child_process import module_command, run_module
from slurm_restart.supervise.job_processes import Belonging, JobProcesses

from .conftest import DEADLINE, await_

JOB = 800_000_000 + os.getpid()
BODY = """
import os, signal, sys, threading
def stuck():
    lock = threading.Lock()
    lock.acquire()
    print("ready", flush=True)
    lock.acquire()
{extra}
stuck()
"""
HANDLER = {"PYTHONFAULTHANDLER": "1"}


class Started:
    """Processes with the job's id in their environment; their errors go to a file each."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.processes: list[subprocess.Popen[bytes]] = []

    def __call__(self, extra: str = "", **env: str) -> subprocess.Popen[bytes]:
        with (self.folder / f"errors{len(self.processes)}").open("wb") as errors:
            process = subprocess.Popen(
                [sys.executable, "-c", BODY.replace("{extra}", extra)],
                env={"SLURM_JOB_ID": str(JOB), "SLURMD_NODENAME": "csx1", **env},
                cwd=self.folder,
                stdout=subprocess.PIPE,
                stderr=errors,
            )
        self.processes.append(process)
        assert process.stdout is not None
        assert process.stdout.readline() == b"ready\n"
        return process


@pytest.fixture
def start(tmp_path: Path) -> Iterator[Started]:
    started = Started(tmp_path)
    yield started
    for process in started.processes:
        process.kill()
        process.wait()
        assert process.stdout is not None
        process.stdout.close()


@pytest.fixture(autouse=True)
def _patient(monkeypatch: pytest.MonkeyPatch) -> None:
    """A busy machine may take more than a second until a process has printed its stacks."""
    monkeypatch.setattr(abort_probe, "EACH", DEADLINE)


def abort_all(*, without_term: bool = True) -> dict[int, Aborted]:
    stats = JobProcesses(Belonging(job_id=JOB, node="csx1")).find()
    found = abort(stats, "csx1", without_term=without_term, total=DEADLINE)
    return {one.pid: one for one in found}


CORES = "import resource\nresource.setrlimit(resource.RLIMIT_CORE, ({0}, {0}))".format(
    resource.getrlimit(resource.RLIMIT_CORE)[1]
)


def test_a_process_prints_its_stack_and_writes_no_core(start, tmp_path):
    process = start(CORES, **HANDLER)
    (found,) = abort_all().values()
    assert process.wait(240) == -signal.SIGABRT
    assert (found.pid, found.refused) == (process.pid, "")
    assert "in stuck" in found.printed
    (address,) = (
        int(line.split()[2], 16) for line in found.printed.splitlines() if "thread 0x" in line
    )
    assert any(begin <= address < end for begin, end in found.ranges)
    assert {path.name for path in tmp_path.iterdir()} == {"errors0"}


def test_a_stopped_process_prints_its_stack(start):
    process = start(**HANDLER)
    process.send_signal(signal.SIGSTOP)
    await_(lambda: "T" in state(process.pid), "the stop")
    (found,) = abort_all().values()
    assert "in stuck" in found.printed


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


WAITS_FOR_CHILD = """
import subprocess
child = subprocess.Popen(
    [sys.executable, "-c", "print(1, flush=True); import time; time.sleep(600)"],
    stdout=subprocess.PIPE,
)
child.stdout.read(2)
def reads():
    print("ready", flush=True)
    child.stdout.read()
    sys.exit("the child has gone")
reads()
"""


def test_a_process_that_waits_for_its_child_prints_its_own_stack(start, tmp_path):
    parent = start(WAITS_FOR_CHILD, **HANDLER)
    found = abort_all()
    assert len(found) == 2
    assert {one.refused for one in found.values()} == {""}
    assert parent.wait() == -signal.SIGABRT
    errors = (tmp_path / "errors0").read_text()
    assert "in reads" in errors
    assert "the child has gone" not in errors


def test_a_process_without_a_handler_is_left_alone(start):
    process = start()
    (found,) = abort_all().values()
    assert found.refused == "it has no handler for SIGABRT any more"
    assert process.poll() is None


@pytest.mark.parametrize("without_term", [True, False])
def test_what_may_save_on_term_is_left_out_at_first(start, without_term):
    process = start("signal.signal(signal.SIGTERM, lambda *_: None)", **HANDLER)
    (found,) = abort_all(without_term=without_term).values()
    if without_term:
        assert found.refused == "it has a handler for TERM"
        assert process.poll() is None
    else:
        assert process.wait(240) == -signal.SIGABRT


def test_where_a_core_dump_cannot_be_prevented_there_is_no_signal(start, monkeypatch):
    process = start(**HANDLER)
    monkeypatch.setattr(abort_probe, "prevent_core", lambda _: "a core dump cannot be prevented")
    (found,) = abort_all().values()
    assert found.refused == "a core dump cannot be prevented"
    assert process.poll() is None


@pytest.mark.parametrize(
    ("pattern", "hard", "soft"),
    [
        ("core", 4096, 0),
        ("/var/cores/%e", 0, 0),
        # 1 keeps the kernel from piping it, 0 does not.
        ("|/lib/systemd/systemd-coredump %P", 4096, 1),
        ("|/lib/systemd/systemd-coredump %P", 0, None),
        ("@/run/coredump.socket", 4096, None),
    ],
)
def test_the_limit_that_prevents_a_core_dump(start, tmp_path, pattern, hard, soft):
    limit = f"import resource\nresource.setrlimit(resource.RLIMIT_CORE, ({hard}, {hard}))"
    process = start(limit)
    path = tmp_path / "core_pattern"
    path.write_text(pattern)
    reason = prevent_core(process.pid, path)
    if soft is None:
        assert reason == "a core dump cannot be prevented"
    else:
        assert reason is None
        assert resource.prlimit(process.pid, resource.RLIMIT_CORE) == (soft, hard)


def test_a_pattern_that_cannot_be_read_prevents_nothing(start, tmp_path):
    assert "cannot be prevented: " in (prevent_core(start().pid, tmp_path / "none") or "")


def test_an_ended_process_is_known_to_have_ended(start):
    process = start()
    assert not is_ending(process.pid)
    process.kill()
    await_(lambda: is_ending(process.pid), "the end")
    process.wait()
    assert is_ending(process.pid)


def test_the_probe_signals_those_alone_that_it_is_given(start):
    given, other = start(**HANDLER), start(**HANDLER)
    targets = f"csx0=1 csx1={given.pid} csx2={other.pid}"
    arguments = (str(JOB), "", "csx1", "0", "0", "without-term", "240", "0.01", targets)
    done = run_module("slurm_restart.supervise.abort_probe", arguments, timeout=240)
    assert done.stderr == ""
    stopped, line = done.stdout.splitlines()
    assert stopped == "stopped csx1"
    found, _ = read_object(Aborted, json.loads(line))
    assert found.pid == given.pid
    assert given.wait(240) == -signal.SIGABRT
    assert other.poll() is None


def start_probe(process: subprocess.Popen[bytes], patience: float) -> Interactive:
    arguments = (str(JOB), "", "csx1", "0", "0", "all", str(patience), "0", f"csx1={process.pid}")
    command = module_command("slurm_restart.supervise.abort_probe", arguments)
    return Interactive(Call(command), timeout=240)


def test_nothing_gets_the_signal_before_the_input_ends(start):
    process = start(**HANDLER)
    probe = start_probe(process, 240)
    lines = probe.lines()
    assert next(lines) == "stopped csx1"
    await_(lambda: state(process.pid) == "T", "the stop")
    assert process.poll() is None
    probe.end_input()
    assert "in stuck" in read_object(Aborted, json.loads(next(lines)))[0].printed
    assert list(lines) == []
    assert process.wait(240) == -signal.SIGABRT


def test_an_end_of_the_input_is_not_waited_for_for_ever(start):
    process = start(**HANDLER)
    stopped, line = start_probe(process, 0.01).lines()
    assert stopped == "stopped csx1"
    assert read_object(Aborted, json.loads(line))[0].refused == ""
    assert process.wait(240) == -signal.SIGABRT


def test_if_the_probe_fails_no_process_is_left_stopped(start):
    process = start(**HANDLER)

    def fail() -> None:
        await_(lambda: state(process.pid) == "T", "the stop")
        raise BrokenPipeError

    stats = JobProcesses(Belonging(job_id=JOB, node="csx1")).find()
    with pytest.raises(BrokenPipeError):
        list(abort(stats, "csx1", without_term=True, await_turn=fail))
    await_(lambda: state(process.pid) == "S", "the process to go on")
