"""Whole supervisors with trainers that hang, spin, slow down, or only look as if they did."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_restart.core.watchdog_settings import WatchdogMode, WatchdogSettings

# Short enough for a test, and far longer than a busy machine keeps a step of 50 ms from running.
SETTINGS = {"floor": 4, "start_floor": 60, "compile_floor": 60, "busy_factor": 2, "slow_after": 4}

PRELUDE = """
import os, signal, sys, time

def train(first, last, pause):
    for step in range(first, last):
        print(f"step {step}", flush=True)
        time.sleep(pause)
"""


def trainer(run, body: str, **settings: object) -> str:
    """Let the watchdog judge quickly; return the command of a trainer with this body."""
    run.set(watchdog=WatchdogSettings(**(SETTINGS | settings)))
    program = Path(run.plan.work_dir) / "train.py"
    program.write_text(PRELUDE + body)
    # Its py-spy is found beside the interpreter.
    return f"exec {sys.executable} {program}"


def test_a_trainer_that_stops_is_ended_and_its_stack_is_kept(run):
    body = """
def wait_for_ever():
    os.kill(os.getpid(), signal.SIGSTOP)

train(0, 40, 0.05)
wait_for_ever()
"""
    done = run.run(trainer(run, body))
    assert done.returncode == 128 + signal.SIGTERM
    end = run.end_of(0)
    assert (end["category"], end["rule"]) == ("hang", "supervisor.hung")
    assert end["confidence"] == "likely"
    assert end["blamed_nodes"] == []
    assert "the run hung: no output, no step, no checkpoint and no CPU time for" in end["reason"]
    assert "stopped by a signal (T)" in end["stuck"][0]
    stacks = (run.dir.attempts()[0].path / "hang/stacks.txt").read_text()
    assert "wait_for_ever" in stacks
    assert "hang: process" in run.log()
    assert "expected decision: requeue (hang: restart 1/2 without progress)" in run.log()
    run.assert_nothing_left()


def test_a_trainer_that_computes_without_progress_and_ignores_term_is_ended(run):
    body = """
signal.signal(signal.SIGTERM, signal.SIG_IGN)

def spin():
    while True:
        pass

train(0, 40, 0.05)
spin()
"""
    run.patched["supervise.stop_request.DEFAULT_KILL_WAIT"] = 2.0
    done = run.run(trainer(run, body, steps=r"step (\d+)"))
    assert done.returncode == 128 + signal.SIGKILL
    end = run.end_of(0)
    assert end["category"] == "hang"
    assert "output or CPU time, but no new step and no checkpoint for" in end["reason"]
    assert "spin" in (run.dir.attempts()[0].path / "hang/stacks.txt").read_text()
    run.assert_nothing_left()


def test_a_trainer_that_becomes_ten_times_slower_is_told_and_goes_on(run):
    body = f"""
train(0, 60, 0.05)
step = 60
while "slowdown: " not in open({str(run.dir.log)!r}).read():
    step += 1
    train(step, step + 1, 1.0)
"""
    done = run.run(trainer(run, body, floor=60))
    assert done.returncode == 0
    assert "slowdown: a step takes" in run.log()
    assert "hang: " not in run.log()
    assert any("slowdown: a step takes" in text for text in run.dir.attempts()[0].warnings())


def test_an_error_before_the_hang_is_its_cause(run):
    body = """
train(0, 40, 0.05)
print("ModuleNotFoundError: No module named 'nosuchmodule'", file=sys.stderr, flush=True)
signal.pause()
"""
    run.run(trainer(run, body))
    end = run.end_of(0)
    assert end["category"] == "code"
    assert end["stuck"]


def test_a_hang_of_a_job_that_does_not_restart_is_only_told(run, waits):
    run.set(policy=None)
    process = run.start(trainer(run, "train(0, 40, 0.05)\nsignal.pause()\n"))
    waits(lambda: run.dir.log.exists() and "hang: no output" in run.log(), "the report of the hang")
    waits((run.dir.attempts()[0].path / "hang/stacks.txt").exists, "the stacks")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(240) == 128 + signal.SIGTERM
    assert run.end_of(0)["category"] == "unknown"


@pytest.mark.parametrize("mode", [WatchdogMode.OFF, WatchdogMode.REPORT])
def test_the_watchdog_can_be_switched_off(run, mode):
    body = "train(0, 40, 0.05)\ntime.sleep(8)\n"
    done = run.run(trainer(run, body, mode=mode))
    assert done.returncode == 0
    assert ("hang: no output" in run.log()) is (mode is WatchdogMode.REPORT)


def test_a_supervisor_that_was_stopped_calls_no_hang(run, waits):
    body = """
train(0, 40, 0.05)
open("ready", "w").close()
train(40, 300, 0.05)
"""
    process = run.start(trainer(run, body, floor=6))
    waits((Path(run.plan.work_dir) / "ready").exists, "the trainer")
    os.kill(process.pid, signal.SIGSTOP)
    # Longer than twice the floor; the trainer fills the pipe, or ends meanwhile.
    with pytest.raises(subprocess.TimeoutExpired):
        process.wait(9)
    os.kill(process.pid, signal.SIGCONT)
    assert process.wait(240) == 0
    assert "hang: " not in run.log()
