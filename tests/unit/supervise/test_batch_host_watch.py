"""A batch host is watched from another node: the shell there, and the thread that keeps it."""

import os
import signal
import subprocess
import sys
import threading
import time
from contextlib import nullcontext
from dataclasses import replace
from types import SimpleNamespace

import pytest

from slurm_restart.core.job import Job, JobState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.process import Call, Completed, Running
from slurm_restart.supervise import batch_host_watch
from slurm_restart.supervise.batch_host_watch import Heartbeat, HostWatch, start_watch
from slurm_restart.supervise.host_watch_command import AFTER_RECONCILER, SCRIPT, watch_command
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


def start_shell(tmp_path, question, *, pause="0.01", patience="3", soon="0", again="2"):
    """Start the watch of `tmp_path/heartbeat`, which asks by a command of the shell."""
    asks = ("/bin/sh", "-c", question, "ask")
    limits = (str(tmp_path / "heartbeat"), pause, patience, soon, again)
    return subprocess.Popen(["/bin/sh", "-c", SCRIPT, "watch", *limits, *asks])


def test_once_the_heartbeat_stands_still_slurm_is_asked_until_nothing_is_left_to_watch(tmp_path):
    (tmp_path / "heartbeat").write_text("123.456\n")
    asked = tmp_path / "asked"
    shell = start_shell(tmp_path, f"echo $1 >>{asked}; test $(wc -l <{asked}) = 3")
    assert shell.wait(DEADLINE) == 0
    assert asked.read_text() == "123.456\n" * 3


@pytest.mark.parametrize(("soon", "asked_at"), [(0, [2, 6, 10, 14]), (5, [2, 3, 4, 5, 6, 10])])
def test_slurm_is_asked_more_often_at_first(tmp_path, soon, asked_at):
    """Each pause of the watch is a look."""
    sleep = tmp_path / "sleep"
    sleep.write_text(f"#!/bin/sh\necho >>{tmp_path}/looks\n")
    sleep.chmod(0o755)
    (tmp_path / "heartbeat").write_text("1\n")
    asked = tmp_path / "asked"
    question = f"wc -l <{tmp_path}/looks >>{asked}; test $(wc -l <{asked}) = {len(asked_at)}"
    limits = (str(tmp_path / "heartbeat"), "1", "2", str(soon), "4")
    done = subprocess.run(
        ["/bin/sh", "-c", SCRIPT, "watch", *limits, "/bin/sh", "-c", question],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
        timeout=DEADLINE,
        check=False,
    )
    assert done.returncode == 0
    # The first look is the first at all: from the second on the heartbeat stands still.
    assert [int(line) - 1 for line in asked.read_text().split()] == asked_at


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
    limits = (str(tmp_path / "heartbeat"), "1", "2", "0", "1")
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


@pytest.mark.parametrize(
    ("number", "soon", "beat", "asked"),
    [
        (signal.SIGTERM, "60", "12.5", "ending\n"),
        (signal.SIGUSR2, "60", "12.5", None),  # by the supervisor
        (signal.SIGTERM, "60", None, None),  # it has ended by itself
        (signal.SIGTERM, "0", "12.5", None),
    ],
)
def test_slurm_is_asked_once_more_if_it_ends_the_job_and_the_heartbeat_is_left(
    tmp_path, number, soon, beat, asked
):
    if beat is not None:
        (tmp_path / "heartbeat").write_text(f"{beat}\n")
    # The first pause ends once the watch has been told to end.
    sleep = tmp_path / "sleep"
    sleep.write_text(f"#!/bin/sh\ntouch {tmp_path}/a; until test -e {tmp_path}/b; do :; done\n")
    sleep.chmod(0o755)
    limits = (str(tmp_path / "heartbeat"), "1", "3", soon, "2")
    # Slurm may send TERM more than once.
    question = f"kill -TERM $PPID; kill -TERM $$; echo $2 >{tmp_path}/asked"
    asks = ("/bin/sh", "-c", question, "ask")
    shell = subprocess.Popen(
        ["/bin/sh", "-c", SCRIPT, "watch", *limits, *asks],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    while not (tmp_path / "a").exists():
        pass
    shell.send_signal(number)
    (tmp_path / "b").touch()
    assert shell.wait(DEADLINE) == 0
    said = tmp_path / "asked"
    assert (said.read_text() if said.exists() else None) == asked


@pytest.mark.parametrize(
    ("number", "asked"), [(signal.SIGTERM, "ending\n"), (signal.SIGUSR2, None)]
)
def test_its_pause_may_get_the_signal_of_slurm_before_the_watch_does(tmp_path, number, asked):
    """Slurm signals the processes of a step one after the other."""
    (tmp_path / "heartbeat").write_text("12.5\n")
    sleep = tmp_path / "sleep"
    sleep.write_text(f"#!/bin/sh\nkill -{number:d} $$\n")
    sleep.chmod(0o755)
    limits = (str(tmp_path / "heartbeat"), "1", "3", "60", "2")
    asks = ("/bin/sh", "-c", f"echo $2 >{tmp_path}/asked", "ask")
    shell = subprocess.Popen(
        ["/bin/sh", "-c", SCRIPT, "watch", *limits, *asks],
        env=os.environ | {"PATH": f"{tmp_path}:{os.environ['PATH']}"},
    )
    assert shell.wait(DEADLINE) == 0
    said = tmp_path / "asked"
    assert (said.read_text() if said.exists() else None) == asked


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
    command = watch_command(run.dir, JOB, AFTER_RECONCILER)
    assert command[:2] == ["env", "CSX_RESTART_HOST_WATCH=1"]
    assert command[6:11] == [str(run.dir.heartbeat), "10", "3", "0", "3"]
    assert command[11] == sys.executable
    assert command[-6:] == [str(run.dir.path), "7", "1", "csx1", "csx1,csx2,csx3", "180"]
    # It can be imported there, and says that the watch goes on, as this is no cluster.
    done = subprocess.run([*command[11:], ""], timeout=DEADLINE, check=False, capture_output=True)
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


def test_the_first_heartbeat_comes_at_once(tmp_path):
    path = tmp_path / "heartbeat"
    heartbeat = Heartbeat(path, pytest.fail, nullcontext)
    heartbeat.start()
    until = time.monotonic() + DEADLINE
    while not path.exists():
        assert time.monotonic() < until
    assert heartbeat.finish(DEADLINE)


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


def plan(*, itself=True, watched=True):
    return SimpleNamespace(requeues_itself=itself, needs_host_watch=watched)


@pytest.mark.parametrize(
    ("itself", "paces"),
    [
        # The second one is for the case that the first one's node is lost too.
        (True, {"csx3": ("60", "0"), "csx2": ("0", "20")}),
        # The reconciler looks as well, and comes first.
        (False, {"csx3": ("0", "180")}),
    ],
)
def test_who_watches_depends_on_who_requeues_the_job(run, itself, paces):
    slurm, started, found = FakeSlurm(), threading.Semaphore(0), {}
    start = slurm.start_on_node

    def start_on_node(job_id, node, name, command):
        found[node] = (command[9], command[-1])
        running = start(job_id, node, name, command)
        started.release()
        return running

    slurm.start_on_node = start_on_node
    watch = start_watch(
        plan(itself=itself),
        run.dir,
        JOB,
        slurm=lambda: slurm,
        warn=pytest.fail,
        access=lambda _path: nullcontext(),
    )
    for _ in paces:
        assert started.acquire(timeout=DEADLINE)
    watch.stop()
    assert found == paces
    assert not any(each.is_alive() for each in watch.watches)


def test_one_other_node_carries_one_watch():
    job = replace(JOB, nodes=("csx1", "csx2"), spares=())
    watch = HostWatch(job, ["watch"], FakeSlurm, pytest.fail, place=1)
    watch.start()
    watch.join(DEADLINE)
    assert not watch.is_alive()


@pytest.mark.parametrize(
    ("plan", "changes"),
    [
        (plan(watched=False), {}),
        (plan(), {"job_id": None}),
        (plan(), {"node_name": None}),
        (plan(), {"held": ("csx1",)}),
    ],
)
def test_where_it_is_not_needed_there_is_no_watch(run, plan, changes):
    job = JobEnvironment(**{name: getattr(JOB, name) for name in JOB.__annotations__} | changes)
    nothing = {"slurm": pytest.fail, "warn": pytest.fail, "access": pytest.fail}
    assert start_watch(plan, run.dir, job, **nothing) is None
