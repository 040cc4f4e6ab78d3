"""A batch host is watched from another node: the shell there, and the thread that keeps it."""

import os
import signal
import subprocess
import sys
import threading
from contextlib import nullcontext
from types import SimpleNamespace

import pytest

from slurm_restart.core.job import Job, JobState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.process import Call, Completed, Running
from slurm_restart.supervise import batch_host_watch
from slurm_restart.supervise.batch_host_watch import (
    SCRIPT,
    Heartbeat,
    HostWatch,
    start_watch,
    watch_command,
)
from slurm_restart.supervise.job_environment import JobEnvironment
from tests.unit.supervise.conftest import DEADLINE

JOB = JobEnvironment(
    job_id=7,
    restarts=1,
    nodes=("csx1", "csx2"),
    num_nodes=2,
    node_name="csx1",
    held=("csx1", "csx2", "csx3"),
    spares=("csx3",),
)


# --- the shell -----------------------------------------------------------------------------------


def start_shell(tmp_path, question, *, pause="0.01", patience="3", again="2"):
    """Start the watch of `tmp_path/heartbeat`, which asks by a command of the shell."""
    asks = ("/bin/sh", "-c", question, "ask")
    limits = (str(tmp_path / "heartbeat"), pause, patience, again)
    return subprocess.Popen(["/bin/sh", "-c", SCRIPT, "watch", *limits, *asks])


def test_once_the_heartbeat_stands_still_slurm_is_asked_until_nothing_is_left_to_watch(tmp_path):
    (tmp_path / "heartbeat").write_text("123.456\n")
    asked = tmp_path / "asked"
    shell = start_shell(tmp_path, f"echo $1 >>{asked}; test $(wc -l <{asked}) = 3")
    assert shell.wait(DEADLINE) == 0
    assert asked.read_text() == "123.456\n" * 3


def test_without_a_heartbeat_from_the_beginning_slurm_is_asked(tmp_path):
    shell = start_shell(tmp_path, f"echo :$1: >{tmp_path}/asked")
    assert shell.wait(DEADLINE) == 0
    assert (tmp_path / "asked").read_text() == "::\n"


def test_as_long_as_the_heart_beats_slurm_is_not_asked(tmp_path):
    """The pauses of the watch are what changes the heartbeat: in each second of the first 20."""
    sleep = tmp_path / "sleep"
    sleep.write_text(
        f"#!/bin/sh\ncd {tmp_path}; read n <count; echo $((n + 1)) >count\n"
        "test $n -ge 20 || echo $((n / 2)) >heartbeat\n"
    )
    sleep.chmod(0o755)
    (tmp_path / "count").write_text("0\n")
    limits = (str(tmp_path / "heartbeat"), "1", "2", "1")
    done = subprocess.run(
        [
            "/bin/sh",
            "-c",
            SCRIPT,
            "watch",
            *limits,
            "/bin/sh",
            "-c",
            f"cp {tmp_path}/count {tmp_path}/at",
        ],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0
    assert (tmp_path / "at").read_text() == "21\n"


@pytest.mark.parametrize("number", [signal.SIGUSR2, signal.SIGTERM])
def test_a_watch_that_is_ended_exits_with_0(tmp_path, number):
    """The exit codes of all steps are in the job's DerivedExitCode."""
    shell = start_shell(tmp_path, f"echo >{tmp_path}/asked; sleep 0.01; false", patience="1")
    while not (tmp_path / "asked").exists():
        pass
    shell.send_signal(number)
    assert shell.wait(DEADLINE) == 0


@pytest.mark.parametrize("number", [signal.SIGHUP, signal.SIGUSR1, signal.SIGALRM, signal.SIGINT])
def test_signals_for_the_program_end_no_watch(tmp_path, number):
    (tmp_path / "heartbeat").write_text("1\n")
    shell = start_shell(
        tmp_path, f"kill -{number:d} $PPID; echo >>{tmp_path}/a; test -e {tmp_path}/b"
    )
    while not (tmp_path / "a").exists():
        pass
    (tmp_path / "b").touch()
    assert shell.wait(DEADLINE) == 0


def test_the_end_of_the_job_ends_the_watch_once_a_question_has_ended(tmp_path):
    shell = start_shell(tmp_path, f"kill -TERM $PPID; echo >>{tmp_path}/asked; false")
    assert shell.wait(DEADLINE) == 0
    assert (tmp_path / "asked").read_text() == "\n"


def test_the_command_asks_with_all_that_names_the_job(run):
    command = watch_command(run.dir, JOB)
    assert command[:2] == ["env", "CSX_RESTART_HOST_WATCH=1"]
    assert command[6:10] == [str(run.dir.heartbeat), "10", "3", "3"]
    assert command[10] == sys.executable
    assert command[-5:] == [str(run.dir.path), "7", "1", "csx1", "csx1,csx2,csx3"]
    # It can be imported there, and says that the watch goes on, as this is no cluster.
    done = subprocess.run([*command[10:], ""], timeout=DEADLINE, check=False, capture_output=True)
    assert (done.returncode, done.stderr) == (1, b"")


# --- the threads ---------------------------------------------------------------------------------


def test_the_heartbeat_changes_and_leaves_nothing(tmp_path, monkeypatch):
    monkeypatch.setattr(batch_host_watch, "INTERVAL", 0.001)
    path = tmp_path / "heartbeat"
    heartbeat = Heartbeat(path, pytest.fail, nullcontext)
    heartbeat.start()
    seen = set()
    while len(seen) < 3:
        if path.exists() and (text := path.read_text()):
            seen.add(text)
    assert {len(text) for text in seen} == {15}
    assert heartbeat.finish(DEADLINE)
    assert not path.exists()


class FakeSlurm:
    """Starts `sleep` in place of srun; a node that is lost refuses it."""

    def __init__(self, lost=()):
        self.started, self.lost = [], lost
        self.is_started = threading.Event()

    def start_on_node(self, _job_id, node, _name, _command):
        self.started.append(node)
        if node in self.lost:
            raise SlurmError("srun: error: Node failure")
        self.is_started.set()
        return Running(Call(["sleep", "600"]))

    def job(self, job_id):
        nodes = tuple(name for name in JOB.held if name not in self.lost)
        return Job(job_id=job_id, uid=1, state=JobState.RUNNING, nodes=nodes)


def test_the_watch_is_on_a_spare_and_ends_with_its_step():
    slurm = FakeSlurm()
    watch = HostWatch(JOB, ["watch"], lambda: slurm, pytest.fail)
    watch.start()
    assert slurm.is_started.wait(DEADLINE)
    assert watch.stop(DEADLINE)
    assert slurm.started == ["csx3"]


def test_a_watch_that_has_ended_is_started_on_a_node_that_is_left(monkeypatch):
    monkeypatch.setattr(batch_host_watch, "RETRY", 0.001)
    slurm, said = FakeSlurm(lost=("csx3",)), []
    watch = HostWatch(JOB, ["watch"], lambda: slurm, said.append)
    watch.start()
    assert slurm.is_started.wait(DEADLINE)
    assert watch.stop(DEADLINE)
    assert slurm.started == ["csx3", "csx2"]
    assert said == ["the watch of the batch host is started anew: csx3: srun: error: Node failure"]


def test_where_only_the_batch_host_is_left_nothing_watches_it(monkeypatch):
    monkeypatch.setattr(batch_host_watch, "RETRY", 0.001)
    slurm = FakeSlurm(lost=("csx2", "csx3"))
    watch = HostWatch(JOB, ["watch"], lambda: slurm, lambda _: None)
    watch.start()
    watch.join(DEADLINE)
    assert not watch.is_alive()
    assert slurm.started == ["csx3"]


def test_what_has_ended_before_the_stop_is_no_error():
    running = Running(Call(["true"]))
    assert running.wait() == Completed(0, "", "")
    running.signal(signal.SIGTERM)


def plan(*, itself=True, keeps=True):
    return SimpleNamespace(requeues_itself=itself, keeps_allocation=keeps)


@pytest.mark.parametrize(
    ("plan", "changes"),
    [
        (plan(itself=False), {}),
        (plan(keeps=False), {}),
        (plan(), {"job_id": None}),
        (plan(), {"node_name": None}),
        (plan(), {"held": ("csx1",)}),
    ],
)
def test_where_it_is_not_needed_there_is_no_watch(run, plan, changes):
    job = JobEnvironment(**{name: getattr(JOB, name) for name in JOB.__annotations__} | changes)
    nothing = {"slurm": pytest.fail, "warn": pytest.fail, "access": pytest.fail}
    assert start_watch(plan, run.dir, job, **nothing) is None
