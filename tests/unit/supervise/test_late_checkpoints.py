"""Checkpoints of an attempt that goes on after a later one has begun."""

import signal
import sys
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.core.job_comment import Mode
from slurm_restart.supervise.attempt_fence import Fences, take_fence
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.late_checkpoints import look_at_fence, recorded, written_since
from slurm_restart.supervise.prepare_attempt import prepare
from slurm_restart.trainer.attempt_records import AttemptEnd, Saved, to_json, to_line

JOB = JobEnvironment(job_id=7, restarts=0, nodes=("csx1",), num_nodes=1)


def begin(run, act=lambda: None):
    """Begin an attempt; `act` happens after its fence and before it chooses a checkpoint."""
    earlier = run.dir.attempts()
    attempt = run.dir.new_attempt()
    fence = take_fence(Fences(run.dir), attempt, JOB, restarts=0)
    at_fence = look_at_fence(run.plan, attempt, earlier)
    act()
    return prepare(
        run.plan, run.dir, attempt, JOB, clock=lambda: 5.0, fence=fence, at_fence=at_fence
    )


def end(attempt, **values):
    """Put the end of an attempt on record."""
    known = AttemptEnd(attempt=attempt.number, at=6.0, category="unknown", rule="r", reason="x")
    attempt.end_file.write_bytes(to_json(replace(known, **values)))


def name(prepared):
    path = prepared.start.checkpoint
    return path and path.rpartition("/")[2]


def names(late):
    return [one.path.rpartition("/")[2] for one in late]


@pytest.fixture
def write(run, checkpoint):
    """Write checkpoints of some steps, with the file system's time of now."""
    return lambda *steps: [checkpoint(run.model / f"checkpoint_{s}.mdl", s) for s in steps]


def test_what_came_after_the_fence_is_neither_used_nor_lost(run, write):
    begin(run)
    write(10)
    second = begin(run, lambda: write(20))
    assert (name(second), names(second.late)) == ("checkpoint_10.mdl", ["checkpoint_20.mdl"])
    assert second.late[0].reason == "an earlier attempt wrote it after this one had begun"
    # It is no checkpoint of the second attempt, and not used by the third.
    assert "checkpoint_20.mdl" in second.present
    third = begin(run)
    assert (name(third), names(third.late)) == ("checkpoint_10.mdl", ["checkpoint_20.mdl"])
    assert (run.model / "checkpoint_20.mdl").exists()
    # Once an attempt has written it anew, it is that attempt's.
    write(20)
    assert name(begin(run)) == "checkpoint_20.mdl"


def test_a_checkpoint_that_is_replaced_after_the_fence_is_late(run, write):
    begin(run)
    write(10, 20)
    assert name(begin(run, lambda: write(20))) == "checkpoint_10.mdl"


def test_after_an_end_on_record_nobody_else_writes(run, write):
    first = begin(run)
    end(first.attempt)
    second = begin(run, lambda: write(20))
    assert (name(second), second.late) == ("checkpoint_20.mdl", ())


@pytest.mark.parametrize("ended", [{"backfilled": True}, {"rule": "supervisor.superseded"}])
def test_an_end_that_the_supervisor_did_not_see_proves_nothing(run, write, ended):
    first = begin(run)
    end(first.attempt, **ended)
    assert names(begin(run, lambda: write(20)).late) == ["checkpoint_20.mdl"]


def test_an_old_listing_of_a_network_file_system_makes_nothing_late(run, write):
    """By the clock of the file system, the checkpoint was there before the fence."""
    begin(run)
    (hidden,) = write(10)
    hidden.rename(aside := run.model / "hidden")
    second = begin(run, lambda: aside.rename(hidden))
    assert (name(second), second.late) == ("checkpoint_10.mdl", ())


def test_an_evaluation_looks_at_no_checkpoints(run):
    run.set(mode=Mode.VALIDATE)
    first = run.dir.new_attempt()
    assert look_at_fence(run.plan, first, [first]) is None


def test_a_late_one_is_used_if_the_attempt_has_removed_all_others(run, write):
    """An older one would be better, but nothing is worth less than all the work."""
    first = begin(run)
    (old,) = write(10)
    saved = Saved(at=1.0, step=10, path=str(old), mark=(1, 1))
    first.attempt.progress_file.write_text(f"{to_line(saved)}\n")
    begin(run, lambda: write(20))
    old.unlink()
    third = begin(run, lambda: write(30))
    # Of two of them, the newest; that it is one is said.
    assert name(third) == "checkpoint_30.mdl"
    assert third.late_start.step == 30
    assert third.late == ()
    # The attempt has started from it: that it came late no longer matters.
    fourth = begin(run)
    assert (name(fourth), fourth.late_start) == ("checkpoint_30.mdl", None)


def test_without_any_before_the_fence_the_run_starts_as_at_first(run, write):
    begin(run)
    assert name(begin(run, lambda: write(10))) is None


@pytest.mark.parametrize(
    ("own", "theirs", "late"),
    [
        ("", "", True),
        ("saved checkpoint_20.mdl", "", True),
        ("saved /x/checkpoint_20.mdl.", "saved checkpoint_20.mdl", True),
        ("", "saved '/x/checkpoint_20.mdl'.", False),
        ("", "saved checkpoint_200.mdl", True),
    ],
)
def test_what_came_while_two_programs_ran(run, write, own, theirs, late):
    first = begin(run)
    write(10)
    second = begin(run)
    write(20)
    first.attempt.output.write_text(own)
    second.attempt.output.write_text(theirs)
    found = written_since(run.plan, run.dir, first.attempt)
    assert names(found) == ["checkpoint_20.mdl"] * late
    if late:
        certain = "checkpoint_20" in own and not theirs
        assert ("wrote it after attempt 1" in found[0].reason) is certain


def test_times_of_two_file_systems_are_not_compared(run, write, monkeypatch):
    first = begin(run)
    begin(run)
    write(20)
    monkeypatch.setattr("slurm_restart.supervise.late_checkpoints._fence_time", lambda *_: None)
    assert written_since(run.plan, run.dir, first.attempt) is None
    # What is there at the fence, and what is not, can be told all the same.
    assert names(begin(run, lambda: write(30)).late) == ["checkpoint_30.mdl"]


def test_without_a_later_fence_nothing_is_late(run, write):
    first = begin(run)
    write(10)
    assert written_since(run.plan, run.dir, first.attempt) == []


TRAINER = """
import os, sys, time
sys.path.insert(0, {tests!r})
from pathlib import Path
from conftest import write_checkpoint
attempt, model = sys.argv[1], Path({model!r})
print("ready", flush=True)
while True:
    for request in sorted(model.glob(f"please-{{attempt}}-*")):
        step = request.name.rpartition("-")[2]
        if step == "end":
            sys.exit(1)
        # The first attempt's program says nothing of what it writes.
        if attempt != "0":
            print(f"saved checkpoint_{{step}}.mdl", flush=True)
        write_checkpoint(model / f"checkpoint_{{step}}.mdl", int(step))
        request.unlink()
    time.sleep(0.01)
"""
LATE = """
from pathlib import Path
import time
from slurm_restart.supervise import preparation_thread
sweep = preparation_thread.sweep_nodes
def sweep_nodes(run_dir, attempt, *others):
    request = Path({model!r}) / "please-0-20"
    if attempt.number == 1:
        request.touch()
        while request.exists():
            time.sleep(0.01)
preparation_thread.sweep_nodes = sweep_nodes
"""


def test_two_supervisors_of_one_run(run, waits, tmp_path):
    """The first one is stopped, its program is not: it writes before, and beside, the second's."""
    run.patched["supervise.supersede_monitor.INTERVAL"] = 0.1
    here = str(Path(__file__).parent)
    script = tmp_path / "trainer.py"
    script.write_text(TRAINER.format(tests=here, model=str(run.model)))
    run.setup = LATE.format(model=str(run.model))
    command = f"exec '{sys.executable}' '{script}' {{attempt}}"

    def please(attempt, *steps):
        requests = [run.model / f"please-{attempt}-{step}" for step in steps]
        for request in requests:
            request.touch()
            waits(lambda request=request: not request.exists(), f"{request}")

    first = run.start_ready(command)
    please(0, 10)
    saved = run.dir.path / "attempts/0/progress.jsonl"
    waits(saved.exists, "the first supervisor sees the checkpoint")
    first.send_signal(signal.SIGSTOP)
    second = run.start(command)
    output = run.dir.path / "attempts/1/output.log"
    waits(lambda: output.exists() and "ready" in output.read_text(), "the second attempt")
    assert run.start_of(1)["from_step"] == 10
    please(1, 30)
    please(0, 40)
    first.send_signal(signal.SIGCONT)
    assert first.wait(240) == 128 + signal.SIGKILL
    assert run.end_of(0)["rule"] == "supervisor.superseded"
    assert second.poll() is None
    late = recorded(run.dir.attempts())
    assert sorted(names(late.values())) == ["checkpoint_20.mdl", "checkpoint_40.mdl"]
    log = run.log()
    assert "checkpoint_20.mdl is not used: an earlier attempt wrote it" in log
    assert "checkpoint_40.mdl will not be used: written while both attempt 0 and 1 ran" in log
    (run.model / "please-1-end").touch()
    assert second.wait(240) == 1
    assert run.summary()["runs"][0]["late_checkpoints"] == [f"{run.model}/checkpoint_40.mdl"]
    assert run.summary()["runs"][1]["late_checkpoints"] == [f"{run.model}/checkpoint_20.mdl"]
    # The third attempt starts from what the second one wrote; nothing is gone.
    run.run("exit 1")
    assert run.start_of(2)["from_step"] == 30
    assert len(list(run.model.glob("checkpoint_*.mdl"))) == 4
