"""The trainer's processes on this node, and what they do."""

import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from slurm_restart.supervise import stack_dump
from slurm_restart.supervise.child_process import run_module
from slurm_restart.supervise.hang_probe import look
from slurm_restart.supervise.hang_report import parse
from slurm_restart.supervise.job_processes import Belonging, JobProcesses

from .conftest import await_

JOB = 900_000_000 + os.getpid()
SLEEP = [sys.executable, "-c", "import time\ndef waits():\n    time.sleep(600)\nwaits()"]
SPIN = [sys.executable, "-c", "while True: pass"]


@pytest.fixture
def start() -> Iterator:
    started = []

    def begin(command: list[str], **env: str) -> subprocess.Popen:
        process = subprocess.Popen(command, env=env, stdin=subprocess.DEVNULL, process_group=0)
        started.append(process)
        return process

    yield begin
    for process in started:
        os.killpg(process.pid, signal.SIGKILL)
        process.wait()


def pids(belonging: Belonging) -> set[int]:
    return {stat.pid for stat in JobProcesses(belonging).find()}


def task(node: str = "csx1", **env: str) -> dict[str, str]:
    return {"SLURM_JOB_ID": str(JOB), "SLURMD_NODENAME": node, "SLURM_STEP_ID": "0", **env}


def state(pid: int) -> str:
    return Path(f"/proc/{pid}/stat").read_text().rpartition(") ")[2][0]


def test_tasks_are_known_by_their_environment(start) -> None:
    here, there = start(SLEEP, **task()), start(SLEEP, **task("csx2"))
    start(SLEEP, SLURM_JOB_ID=str(JOB + 1))
    start(SLEEP, **task(CSX_RESTART_HOST_WATCH="1"))
    on_any = Belonging(job_id=JOB, node=None)
    await_(lambda: pids(on_any) == {here.pid, there.pid}, "both tasks")
    assert pids(Belonging(job_id=JOB, node="csx1")) == {here.pid}
    assert pids(Belonging(job_id=None, node="csx1")) == set()


def test_a_job_of_another_cluster_on_this_machine_is_another_one(start) -> None:
    own, other = (start(SLEEP, **task(SLURM_CLUSTER_NAME=name)) for name in ("own", "other"))
    both = Belonging(job_id=JOB, node="csx1")
    await_(lambda: pids(both) == {own.pid, other.pid}, "both tasks")
    assert pids(Belonging(job_id=JOB, node="csx1", cluster="own")) == {own.pid}


def test_all_below_a_root_belong_and_nothing_else_below_the_outside(start) -> None:
    root = start(["/bin/sh", "-c", "sleep 600 & wait"], **task())
    other = start(SLEEP, **task())
    belonging = Belonging(job_id=JOB, node="csx1", roots=(root.pid,), outside=(os.getpid(),))
    await_(lambda: len(pids(belonging)) == 1, "the process below the root")
    (below,) = pids(belonging)
    assert below not in {root.pid, other.pid}


def test_cpu_time_is_that_of_the_process(start) -> None:
    start(SPIN, **task())
    processes = JobProcesses(Belonging(job_id=JOB, node=None))
    await_(lambda: sum(stat.cpu for stat in processes.find()) > 0.2, "CPU time")


def test_data_that_a_process_writes_is_known(start, tmp_path) -> None:
    write = f"open({str(tmp_path / 'data')!r}, 'wb').write(bytes(1 << 24))\nimport time\n"
    start([sys.executable, "-c", f"{write}time.sleep(600)"], **task())
    processes = JobProcesses(Belonging(job_id=JOB, node=None))
    await_(lambda: processes.transferred(processes.find()) > 1 << 24, "the data")


def test_a_task_is_known_once_it_executes_its_program(start, tmp_path) -> None:
    """Before that it has the environment of slurmstepd; its name may be the same."""
    ready = tmp_path / "go"
    polls = "do sleep 0.1; done"
    runs = f"exec env SLURM_JOB_ID={JOB} /bin/bash -c 'while :; {polls}'"
    wait = f"until test -e {ready}; {polls}; {runs}"
    process = start(["/bin/bash", "-c", wait], PATH=os.environ["PATH"])
    processes = JobProcesses(Belonging(job_id=JOB, node=None))
    assert processes.find() == ()
    ready.touch()
    await_(lambda: process.pid in {stat.pid for stat in processes.find()}, "the task")


def test_what_processes_do_is_told_with_their_stacks(start) -> None:
    stopped = start(SLEEP, **task(SLURM_PROCID="3"))
    spinning = start(SPIN, **task(SLURM_PROCID="4", RANK="9"))
    # The batch script on 26.05, which is no task.
    waiting = start(SLEEP, **task(SLURM_PROCID="0", SLURM_STEP_ID="4294967291"))
    belonging = Belonging(job_id=JOB, node="csx1")
    await_(lambda: len(pids(belonging)) == 3, "the processes")
    # An interpreter that is just starting has no stack yet.
    await_(lambda: all_wait(belonging, stopped.pid, waiting.pid), "the stacks")
    stopped.send_signal(signal.SIGSTOP)
    await_(lambda: state(stopped.pid) == "T", "the stop")
    await_(lambda: state(waiting.pid) == "S", "the end of the stop for the stack")
    found = {process.pid: process for process in look(belonging, "csx1")}
    assert found[stopped.pid].state == "T"
    assert found[stopped.pid].rank == 3
    assert found[spinning.pid].rank == 9
    assert found[waiting.pid].rank is None
    assert found[spinning.pid].cpu_share > 0
    assert "waits" in (found[waiting.pid].stack or "")
    assert "waits" in (found[stopped.pid].stack or "")
    assert found[waiting.pid].threads == "S"
    assert found[waiting.pid].command.startswith(sys.executable)


def all_wait(belonging: Belonging, *among: int) -> bool:
    texts = stack_dump.dump(find(belonging), timeout=60)
    return all("waits" in texts.get(pid, "") for pid in among)


def find(belonging: Belonging) -> tuple:
    return JobProcesses(belonging).find()


def test_without_py_spy_the_states_are_told_all_the_same(start, monkeypatch) -> None:
    process = start(SLEEP, **task())
    monkeypatch.setattr(stack_dump, "PROGRAM", "no-such-program")
    belonging = Belonging(job_id=JOB, node=None)
    await_(lambda: process.pid in pids(belonging), "the task")
    (found,) = look(belonging, "csx1")
    assert found.stack == "no stack: py-spy is not installed"


def test_the_probe_prints_and_writes_what_it_sees(start, tmp_path) -> None:
    process = start(SLEEP, **task())
    await_(lambda: process.pid in pids(Belonging(job_id=JOB, node=None)), "the task")
    arguments = (str(JOB), "", "csx1", "0", "0", str(tmp_path))
    done = run_module("slurm_restart.supervise.hang_probe", arguments, timeout=240)
    assert done.stderr == ""
    assert (tmp_path / "csx1.jsonl").read_text() == done.stdout
    assert [found.pid for found in parse(done.stdout.encode())] == [process.pid]


def test_lines_that_are_no_report_are_left_out() -> None:
    assert parse(b"slurmstepd: error\n{}\n[1]\n\xff\n") == []
