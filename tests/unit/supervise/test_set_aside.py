"""Checkpoints that attempts pass over: their names become free, and nothing is lost."""

import os
from dataclasses import replace
from pathlib import Path

import pytest

from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.late_checkpoints import save
from slurm_restart.supervise.prepare_attempt import next_start, prepare
from slurm_restart.supervise.set_aside_names import holder_of, mark_of, original_path
from slurm_restart.trainer.attempt_records import (
    AttemptEnd,
    LateCheckpoint,
    Saved,
    to_json,
    to_line,
)
from slurm_restart.trainer.checkpoint_names import to_regex
from slurm_restart.trainer.checkpoint_probe import Probe, Soundness
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout

JOB = JobEnvironment(job_id=7, restarts=0, nodes=("n1",), num_nodes=1)
REASON = "started from it and failed without getting beyond step"


@pytest.fixture
def directories(run):
    """A run whose checkpoints are directories `step-N`."""
    use(run, "step-{step}")
    return run


@pytest.fixture
def files(run):
    """A run whose checkpoints are files `step-N.dat`."""
    use(run, "step-{step}.dat")
    return run


def use(run, pattern, complete=None):
    layout = CheckpointLayout(
        directory=str(run.model),
        pattern=to_regex(pattern),
        format=CheckpointFormat.ANY,
        complete=complete,
    )
    run.set(checkpoint=layout, command="train {checkpoint}")


def write(run, *steps, content="x", name="weights"):
    """Write checkpoints as a program does that renames what it has finished into place."""
    for step in steps:
        new = run.model / ".new"
        if are_files(run):
            new.write_text(content)
        else:
            new.mkdir()
            (new / name).write_text(content)
        os.utime(new, ns=(step, step))
        new.rename(path_of(run, step))


def are_files(run):
    return run.plan.checkpoint.pattern.endswith("dat")


def path_of(run, step):
    return run.model / (f"step-{step}.dat" if are_files(run) else f"step-{step}")


def attempt(run, job=JOB, *, ends="unknown", writes=(), rule="nothing.known", **given):
    """Start an attempt that writes checkpoints and ends; its start record."""
    directory = run.dir.new_attempt()
    prepared = prepare(run.plan, run.dir, directory, job, clock=lambda: 5.0, **given)
    write(run, *writes)
    saved = [Saved(at=6.0, step=step, path=str(path_of(run, step))) for step in writes]
    directory.progress_file.write_text("".join(f"{to_line(one)}\n" for one in saved))
    if ends is not None:
        end = AttemptEnd(
            attempt=directory.number, at=9.0, category=ends, rule=rule, reason="x", exit_code=1
        )
        directory.end_file.write_bytes(to_json(replace(end, progress=bool(writes))))
    return prepared


def origin(prepared):
    return Path(prepared.start.checkpoint or "none").name


def test_what_was_there_before_the_run_is_passed_over_and_keeps_its_name(files):
    write(files, 10, 20)
    assert origin(attempt(files)) == "step-20.dat"
    second = attempt(files)
    assert origin(second) == "step-10.dat"
    [entry] = second.start.left_out
    assert entry.path == str(path_of(files, 20))
    # To write that step again is no progress.
    assert second.start.to_exceed == 20
    assert sorted(path.name for path in files.model.glob("step-*")) == [
        "step-10.dat",
        "step-20.dat",
    ]
    third = attempt(files, writes=(30,))
    assert (origin(third), third.start.left_out) == ("step-20.dat", ())
    assert origin(attempt(files)) == "step-30.dat"


def present(run):
    return sorted(path.name for path in run.model.iterdir() if path.name.startswith("step"))


def test_one_that_an_attempt_failed_from_makes_room_for_its_step(directories):
    attempt(directories, writes=(10, 20))
    assert origin(attempt(directories)) == "step-20"
    third = attempt(directories, ends=None)
    assert origin(third) == "step-10"
    assert present(directories) == ["step-10", "step-20.unusable"]
    [entry] = third.start.left_out
    assert entry.path == str(directories.model / "step-20")
    assert entry.reason == f"attempt 1 {REASON} 20 (unknown); set aside as step-20.unusable"
    # Its step is not progress, and the record says so in each attempt until it is written anew.
    assert third.start.beyond == 20
    assert "step-20" not in third.present
    fourth = attempt(directories, JOB, ends=None)
    assert [each.reason for each in fourth.start.left_out] == [entry.reason]
    assert (origin(fourth), fourth.start.beyond) == ("step-10", 20)
    write(directories, 20, content="new")
    os.utime(directories.model / "step-20", ns=(25, 25))
    fifth = attempt(directories)
    assert (origin(fifth), fifth.start.left_out) == ("step-20", ())
    assert origin(attempt(directories)) == "step-10"
    assert present(directories) == ["step-10", "step-20.unusable", "step-20.unusable-2"]


def test_a_file_is_set_aside_too(files):
    """A program that takes the newest by itself would load it again and again."""
    attempt(files, writes=(10, 20))
    assert origin(attempt(files)) == "step-20.dat"
    third = attempt(files, ends=None)
    assert origin(third) == "step-10.dat"
    assert third.start.left_out[0].reason.endswith("set aside as step-20.dat.unusable")
    assert present(files) == ["step-10.dat", "step-20.dat.unusable"]
    fourth = attempt(files, ends=None)
    assert (origin(fourth), fourth.start.beyond) == ("step-10.dat", 20)
    write(files, 20, content="new")
    assert origin(attempt(files)) == "step-20.dat"
    assert (files.model / "step-20.dat.unusable").read_text() == "x"


def test_a_file_is_renamed_back_once_going_back_has_not_helped(files):
    attempt(files, writes=(10, 20, 30))
    started = [origin(attempt(files)) for _ in range(4)]
    assert started == [f"step-{step}.dat" for step in (30, 20, 10, 30)]
    assert present(files) == ["step-10.dat", "step-20.dat.unusable", "step-30.dat"]


def test_a_file_without_its_mark_of_completion_is_set_aside(files):
    use(files, "step-{step}.dat", "{path}.done")
    attempt(files)
    write(files, 10, 20)
    (files.model / "step-10.dat.done").touch()
    assert origin(attempt(files)) == "step-10.dat"
    assert present(files) == ["step-10.dat", "step-10.dat.done", "step-20.dat.unusable"]


def test_what_the_config_names_keeps_its_name(files):
    write(files, 10)
    link = files.model / "initial"
    link.symlink_to("step-20.dat")
    attempt(files, writes=(20,))
    files.set(initial_checkpoint=str(link))
    assert origin(attempt(files)) == "step-20.dat"
    third = attempt(files)
    assert third.start.left_out[0].reason.endswith("not set aside, as the config names it")
    assert present(files) == ["step-10.dat", "step-20.dat"]
    assert third.set_aside.links == ()


def test_the_newest_is_renamed_back_once_going_back_has_not_helped(directories):
    attempt(directories, writes=(10, 20, 30))
    assert [origin(attempt(directories)) for _ in range(3)] == ["step-30", "step-20", "step-10"]
    assert present(directories) == ["step-10", "step-20.unusable", "step-30.unusable"]
    # A query changes nothing.
    found = next_start(directories.plan, directories.dir, directories.dir.attempts())
    assert (found.checkpoint, found.step) == (str(directories.model / "step-30.unusable"), 30)
    last = attempt(directories)
    assert (origin(last), last.start.from_step, last.start.left_out) == ("step-30", 30, ())
    assert present(directories) == ["step-10", "step-20.unusable", "step-30"]
    assert "step-30" in last.present


def test_one_that_cannot_be_renamed_back_is_used_under_its_new_name(directories):
    attempt(directories, writes=(10, 20, 30))
    for _ in range(3):
        attempt(directories)
    (directories.model / "step-30").symlink_to("nowhere")
    last = attempt(directories)
    assert (origin(last), last.start.from_step) == ("step-30.unusable", 30)
    # It is still the same one.
    (directories.model / "step-30").unlink()
    assert origin(attempt(directories, ends=None)) == "step-30"


def test_the_only_one_makes_room_for_a_start_from_scratch(directories):
    attempt(directories, writes=(10,))
    assert origin(attempt(directories)) == "step-10"
    assert origin(attempt(directories)) == "none"
    assert present(directories) == ["step-10.unusable"]


def test_a_directory_that_was_never_completed_makes_room_too(directories):
    use(directories, "step-{step}", "{path}/DONE")
    attempt(directories)
    write(directories, 10, name="DONE")
    write(directories, 20)
    second = attempt(directories)
    assert origin(second) == "step-10"
    assert second.set_aside.notes == {
        str(directories.model / "step-20"): "set aside as step-20.unusable"
    }
    assert present(directories) == ["step-10", "step-20.unusable"]


def test_nothing_is_renamed_while_no_earlier_one_is_complete(directories):
    """The setting may be wrong that says when one is."""
    use(directories, "step-{step}", "{path}/DONE")
    attempt(directories, writes=(10, 20))
    assert origin(attempt(directories)) == "none"
    assert present(directories) == ["step-10", "step-20"]


@pytest.mark.parametrize(
    ("nodes", "kept"), [(("n1",), False), (("n1", "n2"), False), (("n2",), True)]
)
def test_what_a_program_on_a_lost_node_may_read_keeps_its_name(directories, nodes, kept):
    attempt(directories, writes=(10, 20))
    attempt(directories, ends=None)  # its supervisor was lost: its program may go on there
    attempt(directories)
    job = replace(JOB, nodes=nodes)
    last = attempt(directories, job)
    assert origin(last) == "step-10"
    note = "not set aside, as the program of attempt 1 may still use it"
    assert (note in last.start.left_out[0].reason) is kept
    assert ("step-20" in present(directories)) is kept


def test_a_superseded_attempt_renames_nothing(directories):
    attempt(directories, writes=(10, 20))
    attempt(directories)
    late = directories.dir.new_attempt()
    directories.dir.new_attempt()
    prepare(directories.plan, directories.dir, late, JOB, clock=lambda: 5.0)
    assert present(directories) == ["step-10", "step-20"]


def test_what_cannot_be_renamed_is_reported(directories, monkeypatch):
    attempt(directories, writes=(10, 20))
    attempt(directories)

    def refuse(*_):
        raise PermissionError(13, "Permission denied")

    with monkeypatch.context() as patched:
        patched.setattr(Path, "rename", refuse)
        third = attempt(directories, ends=None)
    assert origin(third) == "step-10"
    assert third.start.left_out[0].reason.endswith("it cannot be set aside: Permission denied")


def test_a_name_that_is_taken_is_no_evidence_against_what_was_loaded(directories):
    attempt(directories, writes=(10, 20, 30))
    attempt(directories)
    assert origin(attempt(directories, rule="checkpoint.name_taken")) == "step-20"
    assert origin(attempt(directories)) == "step-20"
    assert origin(attempt(directories)) == "step-10"


def unreadable(run, *steps):
    """A check that cannot read these checkpoints."""
    names = {str(run.model / f"step-{step}") for step in steps}

    def check(paths):
        for path in paths:
            sound = Soundness.UNREADABLE if path in names else Soundness.COMPLETE
            yield Probe(path=path, soundness=sound, reason="Input/output error")

    return check


def test_an_unreadable_one_makes_room_once_its_name_was_in_the_way(directories):
    layout = directories.plan.checkpoint
    directories.set(checkpoint=replace(layout, format=CheckpointFormat.AUTO))
    check = unreadable(directories, 20)
    attempt(directories, writes=(10, 20), probe=check)
    second = attempt(directories, rule="checkpoint.name_taken", probe=check)
    assert (origin(second), second.set_aside.notes) == ("step-10", {})
    assert present(directories) == ["step-10", "step-20"]
    third = attempt(directories, probe=check)
    assert origin(third) == "step-10"
    assert third.set_aside.notes == {
        str(directories.model / "step-20"): "set aside as step-20.unusable"
    }
    assert present(directories) == ["step-10", "step-20.unusable"]


def test_a_late_one_makes_room_once_its_name_was_in_the_way(directories):
    first = attempt(directories, writes=(10,), rule="supervisor.superseded")
    write(directories, 20)
    path = str(directories.model / "step-20")
    late = LateCheckpoint(at=7.0, path=path, mark=mark_of(path), step=20, reason="late")
    save(first.attempt, [late])
    second = attempt(directories, rule="checkpoint.name_taken")
    assert (origin(second), second.set_aside.notes, second.late) == ("step-10", {}, (late,))
    third = attempt(directories)
    assert (origin(third), third.late) == ("step-10", (late,))
    assert third.set_aside.notes == {path: "set aside as step-20.unusable"}
    assert present(directories) == ["step-10", "step-20.unusable"]


def test_of_a_file_in_a_directory_the_directory_makes_room(directories):
    use(directories, "step-{step}/model.pt")
    attempt(directories)
    write(directories, 10, 20, name="model.pt")
    assert attempt(directories).start.from_step == 20
    third = attempt(directories)
    assert third.start.checkpoint == str(directories.model / "step-10/model.pt")
    assert present(directories) == ["step-10", "step-20.unusable"]
    assert attempt(directories).start.checkpoint is not None


@pytest.mark.parametrize(
    ("pattern", "name", "held"),
    [
        ("step-{step}", "step-1", "step-1"),
        ("step-{step}/model.pt", "step-1/model.pt", "step-1"),
        ("run-*/step-{step}/a/b.pt", "run-1/step-1/a/b.pt", "run-1/step-1"),
        ("run/{step}.pt", "run/1.pt", "run/1.pt"),
        ("step-{step}/*.pt", "step-1/x.pt", "step-1/x.pt"),
    ],
)
def test_what_is_renamed_holds_one_checkpoint_only(pattern, name, held):
    layout = CheckpointLayout(directory="/d", pattern=to_regex(pattern))
    assert holder_of(layout, f"/d/{name}") == Path(f"/d/{held}")


@pytest.mark.parametrize(
    ("pattern", "path", "original"),
    [
        ("s{step}", "/d.unusable/s1.unusable", "/d.unusable/s1"),
        ("s{step}", "/d.unusable/s1.unusable-12", "/d.unusable/s1"),
        ("s{step}/m.pt", "/d.unusable/s1.unusable/m.pt", "/d.unusable/s1/m.pt"),
        ("s{step}", "/d.unusable/s1", "/d.unusable/s1"),
        ("s{step}.unusable", "/d.unusable/s1.unusable", "/d.unusable/s1.unusable"),
    ],
)
def test_the_name_before(pattern, path, original):
    layout = CheckpointLayout(directory="/d.unusable", pattern=to_regex(pattern))
    assert original_path(layout, path) == original
