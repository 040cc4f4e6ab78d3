"""Checkpoints at a URL: what records and output say, and which of them an attempt uses."""

import json
import shutil
from dataclasses import replace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.job_comment import Mode
from slurm_restart.supervise import remote_checkpoints
from slurm_restart.supervise.attempt_fence import Fences, take_fence
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.late_checkpoints import look_at_fence, written_since
from slurm_restart.supervise.prepare_attempt import next_start, prepare, reached_step
from slurm_restart.supervise.remote_checkpoints import (
    complete_records,
    look_before_fence,
    read_remote,
)
from slurm_restart.trainer.attempt_records import AttemptEnd, Saved, to_json, to_line
from slurm_restart.trainer.run_plan import CheckpointFormat
from slurm_restart.trainer.rundir import RunDir
from slurm_restart.trainer.submission_record import SubmissionRecord

JOB = JobEnvironment(job_id=7, restarts=0, nodes=("csx1",), num_nodes=1)
ROOT = "s3://bucket/run"


def url(step):
    return f"{ROOT}/checkpoint_{step}.mdl"


@pytest.fixture
def remote(run):
    run.set(checkpoint=replace(run.plan.checkpoint, directory=ROOT))
    return run


def begin(run, *, between=lambda: None):
    """Begin an attempt as the preparation does; `between` the fence and its choice."""
    earlier = run.dir.attempts()
    attempt = run.dir.new_attempt()
    said = look_before_fence(run.plan, earlier)
    fence = take_fence(Fences(run.dir), attempt, JOB, restarts=0, saved=said.saved)
    between()
    complete_records(run.plan, attempt, earlier, said)
    at_fence = look_at_fence(run.plan, attempt, earlier)
    return prepare(
        run.plan, run.dir, attempt, JOB, clock=lambda: 5.0, fence=fence, at_fence=at_fence
    )


def record(prepared, *steps):
    """What the supervisor of an attempt records of its output."""
    number = prepared.attempt.number
    with prepared.attempt.progress_file.open("a") as stream:
        for step in steps:
            saved = Saved(at=6.0, step=step, path=url(step), mark=(number, 0))
            stream.write(f"{to_line(saved)}\n")


def say(prepared, *steps):
    """What the program prints; its supervisor does not record it."""
    with prepared.attempt.output.open("a") as stream:
        for step in steps:
            stream.write(f"INFO:   Saved checkpoint {url(step)}\n")


def end(prepared, **values):
    number = prepared.attempt.number
    known = AttemptEnd(attempt=number, at=6.0, category="unknown", rule="r", reason="x")
    prepared.attempt.end_file.write_bytes(to_json(replace(known, **values)))


def started(prepared):
    return prepared.start.checkpoint, prepared.start.from_step, prepared.start.resumed


def test_the_first_attempt_starts_from_scratch_or_from_what_the_config_names(remote):
    assert started(begin(remote)) == (None, 0, False)
    params = (remote.dir.attempt(0).params).read_text()
    assert "autoload_last_checkpoint: false" in params
    remote.set(initial_checkpoint="s3://other/checkpoint_5.mdl")
    assert started(begin(remote)) == ("s3://other/checkpoint_5.mdl", 5, False)


def test_the_newest_of_all_attempts_is_used_by_step_and_attempt(remote):
    first = begin(remote)
    record(first, 10, 30, 20)
    end(first)
    second = begin(remote)
    assert started(second) == (url(30), 30, True)
    assert second.start.mark == (0, 0)
    assert f"ckpt_path: {url(30)}" in second.attempt.params.read_text()
    record(second, 30, 40)
    end(second)
    third = begin(remote)
    assert started(third) == (url(40), 40, True)
    assert third.start.mark == (1, 0)
    assert third.rejected == third.late == ()
    # Nothing was there before the run, and nothing is listed.
    assert first.start.before == {}
    assert len(third.present) == 0


def test_what_a_killed_supervisor_has_not_recorded_is_found_in_the_output(remote):
    first = begin(remote)
    record(first, 10)
    say(first, 10, 20)
    with first.attempt.output.open("a") as stream:
        stream.write(f"Saved checkpoint {url(30)}")  # the line has not ended
    assert reached_step(remote.plan, remote.dir, remote.dir.attempts()) == 20
    assert next_start(remote.plan, remote.dir, remote.dir.attempts()).checkpoint == url(20)
    second = begin(remote)
    assert started(second) == (url(20), 20, True)
    found = first.attempt.saved()
    assert [(saved.step, saved.found_by) for saved in found] == [(10, None), (20, 1)]
    # Once is enough.
    third = begin(remote)
    assert started(third) == (url(20), 20, True)
    assert first.attempt.saved() == found


def test_only_the_end_of_a_long_output_is_read(remote, monkeypatch):
    first = begin(remote)
    say(first, 10)
    first.attempt.output.open("a").write("x" * 100 + "\n")
    monkeypatch.setattr(remote_checkpoints, "MAX_OUTPUT", 90)
    assert started(begin(remote)) == (None, 0, False)


@pytest.mark.parametrize(
    "values",
    [
        {"path": "s3://other/run/checkpoint_90.mdl"},
        {"path": f"{ROOT}/../x/checkpoint_90.mdl"},
        {"path": f"{ROOT}/checkpoint_90.mdl.tmp"},
        {"path": "/data/checkpoint_90.mdl"},
        {"path": f"{ROOT}/checkpoint_90\x1b.mdl"},
        {"path": 90},
    ],
)
def test_records_are_trusted_no_more_than_output(remote, values):
    first = begin(remote)
    record(first, 10)
    bad = {"at": 6.0, "step": 90, "path": "x", "mark": [0, 0]} | values
    with first.attempt.progress_file.open("a") as stream:
        stream.write(f"{json.dumps(bad)}\nnot JSON\n")
    end(first)
    assert started(begin(remote))[:2] == (url(10), 10)


def test_the_one_before_is_used_after_a_failure_twice_at_most(remote):
    first = begin(remote)
    record(first, 10, 20, 30)
    end(first)
    for expected in (30, 20, 10, 30):
        attempt = begin(remote)
        assert started(attempt) == (url(expected), expected, True)
        end(attempt, category=Category.UNKNOWN.value, progress=False, exit_code=1)
    assert attempt.start.left_out == ()


def test_one_that_is_saved_anew_is_another_one(remote):
    first = begin(remote)
    record(first, 10, 20)
    end(first)
    second = begin(remote)
    end(second, progress=False, exit_code=1)
    third = begin(remote)
    assert started(third) == (url(10), 10, True)
    assert [entry.path for entry in third.start.left_out] == [url(20)]
    assert third.start.beyond == 20
    assert third.set_aside.notes == {}
    record(third, 20)
    end(third, progress=False, exit_code=137)
    assert started(begin(remote)) == (url(20), 20, True)


def test_what_a_left_over_attempt_says_after_the_fence_is_not_used(remote):
    first = begin(remote)
    record(first, 10)

    def meanwhile():
        record(first, 20)
        say(first, 10, 20, 25)

    second = begin(remote, between=meanwhile)
    assert started(second) == (url(10), 10, True)
    reason = "attempt 0 saved it after attempt 1 had begun"
    assert [(late.step, late.reason) for late in second.late] == [(20, reason), (25, reason)]
    assert [late.step for late in second.attempt.late()] == [20, 25]
    # It goes on; its supervisor finds the fence.
    record(first, 30)
    found = written_since(remote.plan, remote.dir, first.attempt)
    assert [(late.step, late.reason) for late in found] == [(20, reason), (30, reason)]
    record(second, 15)
    end(second)
    assert next_start(remote.plan, remote.dir, remote.dir.attempts()).checkpoint == url(15)
    third = begin(remote)
    assert started(third) == (url(15), 15, True)
    assert {late.step for late in third.late} == {20, 30}
    # What a later attempt has saved itself is its own, whatever was there.
    record(third, 20)
    end(third)
    assert started(begin(remote)) == (url(20), 20, True)


def test_what_was_said_before_the_fence_is_used_though_it_was_not_recorded(remote):
    first = begin(remote)
    say(first, 10, 20)
    second = begin(remote, between=lambda: record(first, 10, 20, 30))
    assert started(second) == (url(20), 20, True)
    assert {late.step for late in second.late} == {30}


def test_an_attempt_that_had_not_started_its_program_at_the_fence_saves_late(remote):
    waiting = remote.dir.new_attempt()
    second = begin(remote)
    line = to_line(Saved(at=6.0, step=50, path=url(50), mark=(0, 0)))
    waiting.progress_file.write_text(f"{line}\n")
    end(second)
    assert started(begin(remote))[0] is None


def test_only_the_newest_are_kept(remote, monkeypatch):
    monkeypatch.setattr(remote_checkpoints, "MAX_FOUND", 3)
    first = begin(remote)
    record(first, *range(10))
    found = read_remote(remote.plan, remote.dir, remote.dir.attempts()).present
    assert [checkpoint.step for checkpoint in found] == [9, 8, 7]


def test_a_later_phase_goes_on_from_what_the_one_before_has_saved(remote):
    first = begin(remote)
    record(first, 10, 30)
    end(first)
    folder = remote.model / "20261125_000001_restartable"
    folder.mkdir()
    (folder / "params.yaml").write_text(remote.dir.params.read_text())
    record_of = SubmissionRecord(
        directory="/", script="x", arguments=(), phases=(str(remote.dir.path), str(folder))
    )
    later = replace(remote.plan, phase=1, phases=2)

    def go():
        attempt = RunDir(folder).new_attempt()
        return prepare(later, RunDir(folder), attempt, JOB, clock=lambda: 5.0)

    assert started(go()) == (None, 0, False)  # the record is not there
    shutil.rmtree(folder / "attempts")
    record_of.save(folder)
    assert started(go()) == (url(30), 30, False)
    second = go()
    assert started(second) == (url(30), 30, False)
    assert second.start.first_step == 30
    record(second, 20)
    end(second)
    assert started(go()) == (url(20), 20, True)
    shutil.rmtree(folder / "attempts")
    later = replace(later, autoload_last_checkpoint=False)
    assert started(go()) == (None, 0, False)


def test_an_evaluation_and_formats_that_are_opened_read_nothing(remote):
    remote.set(mode=Mode.VALIDATE, initial_checkpoint="s3://b/x.mdl")
    assert begin(remote).start.checkpoint == "s3://b/x.mdl"
    for form in CheckpointFormat:
        checkpoint = replace(remote.plan.checkpoint, format=form)
        remote.set(mode=Mode.FIT, checkpoint=checkpoint, initial_checkpoint=None)
        assert begin(remote).start.checkpoint is None


def test_a_local_run_is_asked_nothing(run):
    attempt = begin(run)
    assert attempt.fence.saved == {}
    assert read_remote(run.plan, run.dir, run.dir.attempts()).present == ()
