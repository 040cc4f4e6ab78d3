"""File systems that do not answer: the supervisor reports them, and ends when it is told to."""

import os
import signal
from contextlib import contextmanager, suppress
from pathlib import Path

import pytest

from contrib.testing.hanging_files import hanging
from slurm_restart.supervise import stall_monitor
from slurm_restart.supervise.stall_monitor import StallMonitor

from .conftest import DEADLINE

NO_ANSWER = "the file system has not answered for"

WATCH = """
import os, sys, threading
watched, log = {watched!r}, os.open({log!r}, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o644)
def note(what, path):
    if isinstance(path, str | os.PathLike) and os.fspath(path).startswith(watched):
        os.write(log, f"{{threading.current_thread().name}} {{what}} {{path}}\\n".encode())
def audit(event, args):
    if event.startswith(("open", "os.")):
        for argument in args:
            note(event, argument)
sys.addaudithook(audit)
def watch(name):
    real = getattr(os, name)
    def wrapper(path, *args, **kwargs):
        note(name, path)
        return real(path, *args, **kwargs)
    setattr(os, name, wrapper)
for name in ("stat", "lstat", "access", "readlink"):
    watch(name)
"""
"""Notes each access to files below a directory with the thread that it is made in."""


def test_the_main_thread_touches_no_file_of_the_user(run, tmp_path, checkpoint):
    log = tmp_path.parent / f"{tmp_path.name}.log"
    home = tmp_path / "home"
    (home / "slurm_restart" / "rules.d").mkdir(parents=True)
    (run.dir.path / "rules").mkdir()
    (tmp_path / "bin").mkdir()
    checkpoint(run.model / "checkpoint_10.mdl", 10)
    run.setup = WATCH.format(watched=str(tmp_path), log=str(log))
    environment = {"XDG_CONFIG_HOME": str(home), "SLURM_JOB_ID": "7", "HOME": str(tmp_path)}
    path = f"{tmp_path}/bin:{os.environ['PATH']}"
    run.patched["supervise.ending.FINAL_UPDATE_TIMEOUT"] = 2
    done = run.run("echo out; exit 3", PATH=path, **environment)
    assert done.returncode == 3
    accesses = log.read_text().splitlines()
    threads = {line.split(" ")[0] for line in accesses}
    assert {"preparation", "rules", "recorder", "output-file", "checkpoint-monitor"} <= threads
    assert "comment-writer" in threads  # looks for scontrol in PATH
    assert [line for line in accesses if line.startswith("MainThread ")] == []


@contextmanager
def stalled(directory):
    """Let accesses below a directory hang; the test is skipped where that is not possible."""
    try:
        context = hanging(directory)
        context.__enter__()
    except OSError as error:
        pytest.skip(f"no file system can be mounted here: {error}")
    try:
        yield
    finally:
        context.__exit__(None, None, None)


@pytest.fixture
def messages(run, waits):
    """Await a text in Slurm's log."""

    def wait_for(process, text):
        log = process.stderr.fileno()
        os.set_blocking(log, False)
        seen = b""

        def there():
            nonlocal seen
            with suppress(BlockingIOError):
                seen += os.read(log, 1 << 16)
            return text.encode() in seen or process.poll() is not None

        waits(there, text)
        assert text in seen.decode()

    run.patched["supervise.stall_monitor.LIMIT"] = 0.5
    run.patched["supervise.stall_monitor.INTERVAL"] = 0.1
    return wait_for


def end(process):
    """Tell the supervisor to end, as scancel does; return its exit code."""
    process.send_signal(signal.SIGTERM)
    return process.wait(DEADLINE)


def test_a_message_comes_within_ten_seconds():
    assert stall_monitor.LIMIT + stall_monitor.INTERVAL < 9


def test_the_run_directory_hangs_before_the_preparation(run, messages):
    with stalled(run.dir.path):
        process = run.start(run.plan.command)
        messages(process, f"{run.dir.plan}: {NO_ANSWER}")
        assert end(process) == 128 + signal.SIGTERM


def test_the_checkpoints_hang_during_the_preparation(run, messages, tmp_path):
    directory = tmp_path / "checkpoints"
    directory.mkdir()
    run.set(checkpoint=run.plan.checkpoint.__class__(directory=str(directory), pattern=PATTERN))
    with stalled(directory):
        process = run.start("echo never")
        messages(process, f"or {directory}: {NO_ANSWER}")
        assert end(process) == 128 + signal.SIGTERM
    assert run.end_of(0)["reason"] == "the program was not started: the job was told to end"


PATTERN = r"checkpoint_(?P<step>\d+)\.mdl"


def test_the_users_rules_hang_and_the_packages_own_are_used(run, messages, tmp_path):
    home = tmp_path / "home"
    home.mkdir()
    run.patched["supervise.await_preparation.RULES_TIMEOUT"] = 0.5
    with stalled(home):
        command = "python3 -c 'import nosuchmodule' 2>&1; echo ready; exit 1"
        process = run.start(command, XDG_CONFIG_HOME=str(home))
        messages(process, "only the package's own rules are used")
        assert process.wait(DEADLINE) == 1
    assert run.end_of(0)["category"] == "code"


def test_the_run_directory_hangs_while_the_trainer_runs(run, messages):
    """The trainer goes on, and its output is in Slurm's log."""
    run.patched["supervise.checkpoint_monitor.INTERVAL"] = 0.1
    process = run.start_ready(
        "echo ready; while [ ! -e go ]; do sleep 0.1; done; echo still here; exec sleep 300"
    )
    with stalled(run.model):
        messages(process, NO_ANSWER)
        (Path(run.plan.work_dir) / "go").touch()
        os.set_blocking(process.stdout.fileno(), True)
        assert process.stdout.readline() == "ready\n"
        assert process.stdout.readline() == "still here\n"
        assert end(process) == 128 + signal.SIGTERM


def test_the_run_directory_hangs_at_the_end(run, messages, waits):
    """The end cannot be recorded; a signal shortens the waits for it."""
    command = "echo ready; while [ ! -e go ]; do sleep 0.1; done; touch gone; exit 6"
    process = run.start_ready(command)
    with stalled(run.dir.path):
        (Path(run.plan.work_dir) / "go").touch()
        waits((Path(run.plan.work_dir) / "gone").exists, "the trainer's end")
        messages(process, NO_ANSWER)
        assert end(process) == 6


def test_an_access_is_reported_once_and_when_it_has_ended(monkeypatch):
    monkeypatch.setattr(stall_monitor, "LIMIT", 0)
    messages = []
    monitor = StallMonitor(messages.append)
    with monitor.access("/a"):
        monitor.report()
        monitor.report()
    monitor.report()
    assert messages == [
        "/a: the file system has not answered for 0 s",
        "/a: the file system answered after 0 s",
    ]


def test_an_access_that_is_quick_is_not_reported():
    messages = []
    monitor = StallMonitor(messages.append)
    with monitor.access("/a"):
        monitor.report()
    assert messages == []
