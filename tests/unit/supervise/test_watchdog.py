"""Whole supervisors with trainers that hang, spin, slow down, or only look as if they did."""

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from slurm_restart.core.watchdog_settings import WatchdogMode, WatchdogSettings

from .launcher_texts import LAUNCHERS

# Short enough for a test, and far longer than a busy machine keeps a step of 50 ms from running.
SETTINGS = {"floor": 4, "start_floor": 60, "compile_floor": 60, "busy_factor": 2, "slow_after": 4}

PRELUDE = """
import os, signal, sys, time

def train(first, last, pause):
    for step in range(first, last):
        print(f"step {step}", flush=True)
        time.sleep(pause)
"""


def trainer(run, body: str, python: str | Path = sys.executable, **settings: object) -> str:
    """Let the watchdog judge quickly; return the command of a trainer with this body."""
    run.set(watchdog=WatchdogSettings(**(SETTINGS | settings)))
    # Looks that have to see a step: in its four seconds a busy machine may not look ten times.
    run.patched["core.hang_rule.LEARNED_STEPS"] = 2
    program = Path(run.plan.work_dir) / "train.py"
    program.write_text(PRELUDE + body)
    # Its py-spy is found beside the interpreter.
    return f"exec {python} {program}"


def without_py_spy(run) -> Path:
    """Return an interpreter whose processes py-spy cannot read, as on many systems."""
    folder = Path(run.plan.work_dir) / "bin"
    folder.mkdir()
    (folder / "python3").symlink_to(Path(sys.executable).resolve())
    (folder / "py-spy").write_text("#!/bin/sh\necho 'Permission denied' >&2\nexit 1\n")
    (folder / "py-spy").chmod(0o755)
    return folder / "python3"


def hang_of(run) -> tuple[dict, str]:
    """The end record of a run that was ended as hung, and its file of stacks."""
    end = run.end_of(0)
    assert (end["category"], end["rule"]) == ("hang", "supervisor.hung")
    assert not list(Path(run.plan.work_dir).glob("core*"))
    return end, (run.dir.attempts()[0].path / "hang/stacks.txt").read_text()


def test_a_trainer_that_stops_is_ended_and_its_stack_is_kept(run):
    body = """
def wait_for_ever():
    os.kill(os.getpid(), signal.SIGSTOP)

train(0, 80, 0.05)
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

train(0, 80, 0.05)
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
train(0, 80, 0.05)
step = 80
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
train(0, 80, 0.05)
print("ModuleNotFoundError: No module named 'nosuchmodule'", file=sys.stderr, flush=True)
signal.pause()
"""
    run.run(trainer(run, body))
    end = run.end_of(0)
    assert end["category"] == "code"
    assert end["stuck"]


def test_a_hang_of_a_job_that_does_not_restart_is_only_told(run, waits):
    run.set(policy=None)
    process = run.start(trainer(run, "train(0, 80, 0.05)\nsignal.pause()\n"))
    waits(lambda: run.dir.log.exists() and "hang: no output" in run.log(), "the report of the hang")
    waits((run.dir.attempts()[0].path / "hang/stacks.txt").exists, "the stacks")
    assert process.poll() is None
    process.send_signal(signal.SIGTERM)
    assert process.wait(240) == 128 + signal.SIGTERM
    assert run.end_of(0)["category"] == "unknown"


def test_the_watchdog_can_be_switched_off(run):
    # Twice the floor: nothing is to happen, so there is no condition to await.
    body = "train(0, 80, 0.05)\ntime.sleep(8)\n"
    done = run.run(trainer(run, body, mode=WatchdogMode.OFF))
    assert done.returncode == 0
    assert "hang: " not in run.log()


def test_the_watchdog_can_be_limited_to_reports(run, waits):
    body = """
train(0, 80, 0.05)
signal.signal(signal.SIGUSR2, lambda *_: sys.exit(0))
signal.pause()
"""
    process = run.start(trainer(run, body, mode=WatchdogMode.REPORT))
    waits(lambda: run.dir.log.exists() and "hang: no output" in run.log(), "the report of the hang")
    # It is passed on.
    process.send_signal(signal.SIGUSR2)
    assert process.wait(240) == 0


def test_a_supervisor_that_was_stopped_calls_no_hang(run, waits):
    body = """
train(0, 80, 0.05)
open("ready", "w").close()
train(80, 340, 0.05)
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


LOCKED = """
import threading

def stuck():
    lock = threading.Lock()
    lock.acquire()
    lock.acquire()

def waits():
    threading.Event().wait()
"""


def test_without_py_spy_the_processes_print_their_stacks_as_they_end(run):
    body = f"""
{LOCKED}
threading.Thread(target=waits, daemon=True).start()
if os.fork() == 0:
    waits()
train(0, 80, 0.05)
stuck()
"""
    run.patched["supervise.stop_request.DEFAULT_KILL_WAIT"] = 240.0
    done = run.run(trainer(run, body, without_py_spy(run)))
    assert done.returncode == 128 + signal.SIGTERM
    end, stacks = hang_of(run)
    assert end["signal"] == signal.SIGABRT
    # Forked processes have the same addresses; the parent is the first.
    parent, child = stacks.split("\nprocess ")[1:]
    assert "in stuck" in parent
    assert "in waits" in parent
    assert "in waits" in child
    assert "in stuck" not in child
    assert "no stack" not in stacks
    assert any(
        "waiting in futex" in line and ", in stuck (train.py:" in line for line in end["stuck"]
    )
    assert ", in stuck (train.py:" in run.log()
    run.assert_nothing_left()


def test_a_hung_program_that_saves_on_term_gets_to_save(run):
    body = f"""
{LOCKED}
def save(*_):
    time.sleep(1)
    open("saved", "w").close()
    sys.exit(0)

signal.signal(signal.SIGTERM, save)
train(0, 80, 0.05)
stuck()
"""
    done = run.run(trainer(run, body, without_py_spy(run)))
    assert done.returncode == 128 + signal.SIGTERM
    assert (Path(run.plan.work_dir) / "saved").exists()
    _, stacks = hang_of(run)
    assert "no stack: py-spy: Permission denied" in stacks
    assert "Fatal Python error" not in done.stdout


def test_a_hung_program_that_does_not_end_on_term_prints_its_stacks_before_kill(run):
    body = f"""
{LOCKED}
signal.signal(signal.SIGTERM, lambda *_: print("Bypassing SIGTERM", flush=True))
train(0, 80, 0.05)
stuck()
"""
    run.patched["supervise.stop_request.DEFAULT_KILL_WAIT"] = 16.0
    done = run.run(trainer(run, body, without_py_spy(run)))
    assert done.returncode == 128 + signal.SIGTERM
    _, stacks = hang_of(run)
    assert "in stuck" in stacks
    assert done.stdout.index("Bypassing SIGTERM") < done.stdout.index("Fatal Python error")


def test_a_stopped_program_prints_its_stacks(run):
    body = """
def stops():
    os.kill(os.getpid(), signal.SIGSTOP)

train(0, 80, 0.05)
stops()
"""
    run.run(trainer(run, body, without_py_spy(run)))
    end, stacks = hang_of(run)
    assert "stopped by a signal (T), in stops (train.py:" in end["stuck"][0]
    assert "in stops" in stacks


def test_a_script_whose_command_hangs_does_not_go_on_to_the_next(run):
    command = trainer(run, f"{LOCKED}\ntrain(0, 80, 0.05)\nstuck()\n", without_py_spy(run))
    done = run.run(f"{command.removeprefix('exec ')}; touch next")
    assert done.returncode == 128 + signal.SIGTERM
    assert "in stuck" in hang_of(run)[1]
    assert not (Path(run.plan.work_dir) / "next").exists()


@pytest.mark.parametrize("by", ["setting", "user"])
def test_processes_without_a_handler_get_no_sigabrt(run, by):
    settings = {"faulthandler": False} if by == "setting" else {}
    command = trainer(run, "train(0, 80, 0.05)\nsignal.pause()\n", without_py_spy(run), **settings)
    done = run.run(command, **({"PYTHONFAULTHANDLER": ""} if by == "user" else {}))
    assert run.end_of(0)["signal"] == signal.SIGTERM
    assert "Fatal Python error" not in done.stdout


def test_an_error_before_the_hang_is_its_cause_also_where_stacks_are_printed(run):
    body = f"""
{LOCKED}
train(0, 80, 0.05)
print("ModuleNotFoundError: No module named 'nosuchmodule'", file=sys.stderr, flush=True)
stuck()
"""
    run.run(trainer(run, body, without_py_spy(run)))
    end = run.end_of(0)
    assert end["category"] == "code"
    assert any("in stuck" in line for line in end["stuck"])


@pytest.mark.parametrize("launcher", sorted(LAUNCHERS))
def test_what_a_launcher_prints_about_sigabrt_is_not_the_cause(run, launcher):
    text, code = LAUNCHERS[launcher]
    python = trainer(run, f"{LOCKED}\ntrain(0, 80, 0.05)\nstuck()\n", without_py_spy(run))
    folder = Path(run.plan.work_dir)
    (folder / "text").write_text(text)
    # It has printed all before it ends.
    lines = ["trap '' TERM", python.removeprefix("exec "), "cat text", f"exit {code}"]
    (folder / "launcher.sh").write_text("\n".join(lines))
    done = run.run(f"exec bash {folder}/launcher.sh")
    assert text in done.stdout
    assert "Fatal Python error: Aborted" in done.stdout
    end, stacks = hang_of(run)
    assert end["root_cause"] is None
    assert "in stuck" in stacks
    assert done.returncode == (128 + signal.SIGTERM if code > 128 else code)
