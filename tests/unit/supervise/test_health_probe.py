"""The check of one node: what it answers, and that it always answers."""

import json
import os
import select
import subprocess
import sys
from types import SimpleNamespace

import pytest

from slurm_restart.core.node_answers import NodeAnswer
from slurm_restart.supervise import health_probe
from slurm_restart.supervise.health_probe import examine
from slurm_restart.supervise.health_problem import UnhealthyError
from slurm_restart.supervise.health_request import MAX_TEXT, ProbeRequest, one_line
from slurm_restart.supervise.node_health import read_answers

from .conftest import await_

PATIENT = 300


def ask(command=None, checks=(), timeout=PATIENT, **values):
    return examine(ProbeRequest(command=command, checks=checks, timeout=timeout, **values))


def test_a_healthy_node():
    assert ask("echo fine") == NodeAnswer(failure=None)


@pytest.mark.parametrize(
    ("command", "failure", "code"),
    [
        ("echo a; echo 'no /data' >&2; exit 3", "no /data (exit code 3)", 3),
        ("exit 1", "no output (exit code 1)", 1),
        ("echo no /data; sleep 600 & exit 3", "no /data (exit code 3)", 3),
        (
            "head -c 300000 /dev/zero | tr '\\0' '\\n'; echo no /data; exit 3",
            "no /data (exit code 3)",
            3,
        ),
        ("exec >&- 2>&-; sleep 0.1; exit 3", "no output (exit code 3)", 3),
        ("kill -9 $$", "no output (signal 9)", -9),
        ("printf 'x\\033[2Jy\\n'; exit 1", "x\\x1b[2Jy (exit code 1)", 1),
    ],
)
def test_a_command_that_fails(command, failure, code):
    assert ask(command) == NodeAnswer(failure=f"command: {failure}", check="command", code=code)


def test_a_command_that_is_not_there():
    answer = ask("/nonexistent/check")
    assert (answer.code, answer.check) == (127, "command")
    assert "not found" in (answer.failure or "")


def test_a_job_directory_that_is_not_there(tmp_path):
    answer = ask("true", work_dir=f"{tmp_path}/gone")
    assert answer.failure == f"command: {tmp_path}/gone: No such file or directory"


def test_a_command_that_does_not_end_is_killed_with_all_that_it_started(tmp_path, monkeypatch):
    pids = tmp_path / "pids"

    def select_until_it_runs(*lists):
        """Let the deadline pass once the command runs and has told it."""
        ready = select.select(*lists[:3], 0.01)
        while not (ready[0] or (pids.exists() and pids.read_text().endswith("\n"))):
            ready = select.select(*lists[:3], 0.01)
        return ready

    monkeypatch.setattr(health_probe, "select", SimpleNamespace(select=select_until_it_runs))
    answer = ask(f"sleep 600 & echo $! $$ >{pids}; wait", timeout=2)
    assert answer == NodeAnswer(failure="command: no end within 2 s", check="deadline")
    for pid in pids.read_text().split():
        # A killed process needs CPU time to end.
        await_(lambda pid=pid: has_ended(pid), f"the end of process {pid}")


def has_ended(pid):
    status = subprocess.run(["ps", "-o", "stat=", "-p", pid], capture_output=True, check=False)
    return status.stdout.strip()[:1] in (b"", b"Z")


def test_a_process_that_a_command_leaves_behind_delays_nothing():
    assert ask("sleep 600 & exit 0") == NodeAnswer(failure=None)


def test_a_check_that_fails_ends_the_examination(monkeypatch):
    def fails(_):
        raise UnhealthyError("no more")

    monkeypatch.setitem(health_probe.READY_CHECKS, "disk", fails)
    monkeypatch.setitem(health_probe.READY_CHECKS, "memory", lambda context: f"{context.share}")
    answer = ask("exit 1", ("memory=7", "disk", "gpu"))
    assert answer == NodeAnswer(failure="disk: no more", check="disk", notes=("memory: 7",))


def test_a_check_that_is_broken_itself_says_nothing(monkeypatch):
    monkeypatch.setitem(health_probe.READY_CHECKS, "cpu", lambda _: 1 / 0)
    answer = ask(None, ("cpu",))
    assert answer.failure is None
    assert answer.notes == ("cpu: not checked: ZeroDivisionError('division by zero')",)


def test_the_answer_is_one_line_that_can_be_read_back():
    request = {"checks": [], "command": "exit 4", "timeout": PATIENT, "work_dir": "/"}
    code = "from slurm_restart.supervise.health_probe import main; main()"
    done = subprocess.run(
        [sys.executable, "-c", code, json.dumps(request)],
        env=os.environ | {"SLURMD_NODENAME": "csx3"},
        capture_output=True,
        text=True,
        check=True,
    )
    answers = read_answers(f"noise\n[1]\n{done.stdout}{{}}\n")
    failure = "command: no output (exit code 4)"
    assert answers == {"csx3": NodeAnswer(failure=failure, check="command", code=4)}


def test_a_text_is_its_last_line_printable_and_cut():
    assert one_line("a\n b\x07 \n\n") == "b\\x07"
    assert one_line("") == "no output"
    assert len(one_line("x" * 1000)) == MAX_TEXT
