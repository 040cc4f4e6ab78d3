"""Processes of earlier attempts: which are ended, and which are somebody else's."""

import os
import signal
import subprocess
import sys
from contextlib import suppress

import pytest

from slurm_restart.supervise import orphans, processes
from slurm_restart.supervise.orphans import AttemptMark, end_orphans

from .conftest import DEADLINE

RUN_DIR = f"/m/run-{os.getpid()}"
"""Tests in other processes run at the same time."""
MARK = {"CSX_RESTART_RUN_DIR": RUN_DIR, "CSX_RESTART_ATTEMPT": "2", "SLURM_JOB_ID": "7"}
OURS = AttemptMark(run_dir=RUN_DIR, attempt=3, job_id=7)


@pytest.fixture
def start():
    """Start a process that sleeps, with this environment."""
    started = []

    def start(command="exec sleep 300", **env):
        process = subprocess.Popen(
            ["/bin/sh", "-c", command],
            env={"PATH": os.environ["PATH"], **env},
            start_new_session=True,
            stdout=subprocess.PIPE,
            text=True,
        )
        started.append(process)
        return process

    yield start
    for process in started:
        with suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.communicate(timeout=DEADLINE)


@pytest.mark.parametrize(
    "changes",
    [
        {},
        {"CSX_RESTART_ATTEMPT": "0"},
        # A trainer may have removed what it does not know.
        {"SLURM_JOB_ID": None},
    ],
)
def test_a_process_of_an_earlier_attempt_is_killed(start, changes):
    env = {name: value for name, value in (MARK | changes).items() if value is not None}
    process = start("trap '' TERM; echo up; sleep 300; sleep 300", **env)
    assert process.stdout.readline() == "up\n"
    assert end_orphans(OURS) >= 1
    assert process.wait(DEADLINE) == -signal.SIGKILL


@pytest.mark.parametrize(
    "changes",
    [
        {"CSX_RESTART_ATTEMPT": "3"},
        {"CSX_RESTART_ATTEMPT": "4"},
        {"CSX_RESTART_ATTEMPT": "-1"},
        {"CSX_RESTART_ATTEMPT": ""},
        {"CSX_RESTART_RUN_DIR": f"{RUN_DIR}2"},
        {"CSX_RESTART_RUN_DIR": f"{RUN_DIR}/"},
        # A job that the trainer submitted has inherited the rest.
        {"SLURM_JOB_ID": "8"},
        {"CSX_RESTART_RUN_DIR": None},
        {"CSX_RESTART_ATTEMPT": None},
    ],
)
def test_a_process_of_anything_else_is_left(start, changes):
    env = {name: value for name, value in (MARK | changes).items() if value is not None}
    process = start("echo up; exec sleep 300", **env)
    assert process.stdout.readline() == "up\n"
    assert end_orphans(OURS) == 0
    assert process.poll() is None


def test_what_is_below_such_a_process_goes_too_unless_it_is_another_run(start):
    """A child with an emptied environment is the attempt's; a run in the run is not."""
    sleeps = "sh -c 'echo $$; exec sleep 300'"
    process = start(f"env -i {sleeps} & env CSX_RESTART_RUN_DIR=/m/other {sleeps} & wait", **MARK)
    pids = {int(process.stdout.readline()) for _ in range(2)}
    environments = orphans._environments(pids)
    other = [pid for pid in pids if environments[pid].get(b"CSX_RESTART_RUN_DIR")]
    assert end_orphans(OURS) == 2
    process.wait(DEADLINE)
    (pid,) = other
    os.kill(pid, 0)
    (gone,) = pids - set(other)
    assert orphans._is_zombie(gone)
    os.kill(pid, signal.SIGKILL)


def test_a_process_that_just_executes_another_program_is_found(start, monkeypatch):
    """Linux shows no environment while it replaces the program."""
    process = start("echo up; exec sleep 300", **MARK)
    assert process.stdout.readline() == "up\n"
    seen = []

    def environment(pid, read=processes.environment):
        if pid != process.pid:
            return read(pid)
        seen.append(pid)
        return {} if len(seen) == 1 else read(pid)

    monkeypatch.setattr(processes, "environment", environment)
    assert end_orphans(OURS) == 1
    assert process.wait(DEADLINE) == -signal.SIGKILL


@pytest.mark.skipif(os.geteuid() != 0, reason="needs a process of another user")
def test_a_process_of_another_user_is_left(start):
    process = start("exec setpriv --reuid=7 sh -c 'echo up; exec sleep 300'", **MARK)
    assert process.stdout.readline() == "up\n"
    # Root could kill it; it is not root's.
    assert end_orphans(OURS) == 0
    assert process.poll() is None


def test_the_command_for_other_nodes_prints_only_what_it_found(start, monkeypatch, capsys):
    monkeypatch.setattr(sys, "argv", ["-c", RUN_DIR, "3", "7"])
    monkeypatch.setenv("SLURMD_NODENAME", "csx3")
    orphans.main()
    assert capsys.readouterr().out == ""
    process = start("exec sleep 300", **MARK)
    orphans.main()
    assert capsys.readouterr().out == "csx3 1\n"
    assert process.wait(DEADLINE) == -signal.SIGKILL
