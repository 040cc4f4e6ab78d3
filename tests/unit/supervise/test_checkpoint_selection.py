"""The rule where an attempt starts from, row by row."""

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.fall_back import CheckpointVersion, FallBack, LeftOut
from slurm_restart.core.job_comment import Mode
from slurm_restart.errors import CheckpointError
from slurm_restart.supervise.checkpoint_check import first_complete
from slurm_restart.supervise.checkpoint_selection import Evidence, choose_start
from slurm_restart.supervise.set_aside import set_aside
from slurm_restart.trainer.checkpoint_probe import Probe, Soundness
from slurm_restart.trainer.checkpoints import find
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout


def prober(broken=(), unreadable=(), steps=None):
    """A check that knows the answers by name, and what it was asked."""

    def check(paths):
        results = []
        for path in paths:
            name = path.rpartition("/")[2]
            check.asked.append(name)
            sound = (
                Soundness.BROKEN
                if name in broken
                else Soundness.UNREADABLE
                if name in unreadable
                else Soundness.COMPLETE
            )
            results.append(Probe(path=path, soundness=sound, step=(steps or {}).get(name)))
            if sound is Soundness.COMPLETE:
                break
        return results

    check.asked = []
    return check


def touch(run, *steps):
    for step in steps:
        (run.model / f"checkpoint_{step}.mdl").write_text(str(step))


def marks(run):
    return {one.name: one.mark for one in find(run.plan.checkpoint)}


def name(resume):
    return resume.checkpoint and resume.checkpoint.rpartition("/")[2]


@pytest.mark.parametrize(
    ("initial", "autoload", "older", "expected"),
    [
        (None, True, (), None),
        (None, True, (10, 20), "checkpoint_20.mdl"),
        (None, False, (10, 20), None),
        ("start.mdl", True, (10, 20), "start.mdl"),
        ("start.mdl", False, (), "start.mdl"),
    ],
)
def test_a_first_attempt_starts_as_the_config_says(run, initial, autoload, older, expected):
    touch(run, *older)
    path = None if initial is None else str(run.model / initial)
    run.set(initial_checkpoint=path, autoload_last_checkpoint=autoload)
    resume = choose_start(run.plan, None, prober(steps={"start.mdl": 5}))
    assert name(resume) == expected
    assert resume.resumed is False
    steps = {None: 0, "checkpoint_20.mdl": 20, "start.mdl": 5}
    assert resume.step == steps[expected]
    # A later attempt without a checkpoint of its own starts in the same way.
    assert choose_start(run.plan, marks(run), prober(steps={"start.mdl": 5})) == resume


@pytest.mark.parametrize("autoload", [True, False])
@pytest.mark.parametrize("initial", [None, "/elsewhere/start.mdl"])
def test_a_later_attempt_starts_from_what_the_phase_wrote(run, initial, autoload):
    run.set(initial_checkpoint=initial, autoload_last_checkpoint=autoload)
    touch(run, 500)
    before = marks(run)
    touch(run, 10, 20)
    resume = choose_start(run.plan, before, prober())
    assert (name(resume), resume.step, resume.resumed) == ("checkpoint_20.mdl", 20, True)


def test_an_old_name_that_was_written_anew_is_the_phases(run):
    touch(run, 10)
    before = marks(run)
    (run.model / "checkpoint_10.mdl").write_text("longer")
    assert choose_start(run.plan, before, prober()).resumed is True


def test_the_one_before_a_bad_one_is_used(run):
    touch(run, 10)
    before = marks(run)
    touch(run, 20, 30, 40)
    check = prober(broken={"checkpoint_40.mdl"}, unreadable={"checkpoint_30.mdl"})
    resume = choose_start(run.plan, before, check)
    assert (name(resume), resume.step) == ("checkpoint_20.mdl", 20)
    assert [one.path.rpartition("/")[2] for one in resume.rejected] == [
        "checkpoint_40.mdl",
        "checkpoint_30.mdl",
    ]
    assert "checkpoint_10.mdl" not in check.asked


def test_none_of_the_phase_is_usable(run):
    touch(run, 10)
    before = marks(run)
    touch(run, 20)
    resume = choose_start(run.plan, before, prober(broken={"checkpoint_20.mdl"}))
    assert (name(resume), resume.resumed) == ("checkpoint_10.mdl", False)


def test_the_files_own_step_is_believed_over_its_name(run):
    touch(run, 10)
    resume = choose_start(run.plan, None, prober(steps={"checkpoint_10.mdl": 11}))
    assert resume.step == 11


@pytest.mark.parametrize("mode", [Mode.VALIDATE, Mode.VALIDATE_ALL])
def test_an_evaluation_starts_as_its_config_says(run, mode):
    run.set(mode=mode)
    touch(run, 10)
    check = prober()
    resume = choose_start(run.plan, {}, check)
    assert (resume.checkpoint, resume.step, resume.resumed) == (None, None, False)
    assert check.asked == []


def test_a_broken_checkpoint_of_the_config_is_an_error_and_an_absent_one_is_the_trainers(run):
    run.set(initial_checkpoint="/elsewhere/start.mdl")
    with pytest.raises(CheckpointError, match="ckpt_path of the config cannot be used"):
        choose_start(run.plan, None, prober(broken={"start.mdl"}))
    resume = choose_start(run.plan, None, prober(unreadable={"start.mdl"}))
    assert (resume.checkpoint, resume.step) == ("/elsewhere/start.mdl", None)


def test_checkpoints_of_another_trainer_go_by_their_names(run):
    rule = CheckpointLayout(
        directory=str(run.model),
        pattern=r"step-(?P<step>\d+)",
        format=CheckpointFormat.ANY,
        complete="{path}/DONE",
    )
    run.set(checkpoint=rule)
    for step in (10, 20, 30):
        (run.model / f"step-{step}").mkdir()
    for step in (10, 20):
        (run.model / f"step-{step}" / "DONE").touch()
    check = prober()
    resume = choose_start(run.plan, {}, check)
    assert (name(resume), resume.step, resume.resumed) == ("step-20", 20, True)
    assert check.asked == []
    run.set(initial_checkpoint="/elsewhere/any.npz", autoload_last_checkpoint=False)
    assert choose_start(run.plan, None, check).step is None


def test_only_what_is_certainly_broken_and_the_phases_is_set_aside(run):
    touch(run, 10)
    before = marks(run)
    touch(run, 20, 30)
    (run.model / "checkpoint_30.mdl.unusable").write_text("earlier")
    (run.model / "checkpoint_40.mdl.0123abcd.tmp").touch()
    check = prober(
        broken={"checkpoint_30.mdl", "checkpoint_10.mdl"}, unreadable={"checkpoint_20.mdl"}
    )
    resume = choose_start(run.plan, before, check)
    assert resume.checkpoint is None
    assert len(resume.rejected) == 3
    path = str(run.model / "checkpoint_30.mdl")
    notes = set_aside(run.plan.checkpoint, resume, before).notes
    assert notes == {path: "set aside as checkpoint_30.mdl.unusable-2"}
    assert (run.model / "checkpoint_30.mdl.unusable-2").read_text() == "30"
    assert (run.model / "checkpoint_30.mdl.unusable").read_text() == "earlier"
    for left in ("checkpoint_10.mdl", "checkpoint_20.mdl", "checkpoint_40.mdl.0123abcd.tmp"):
        assert (run.model / left).exists()
    # In a first attempt nothing is the phase's own.
    assert set_aside(run.plan.checkpoint, resume, None).notes == {}


def test_a_check_that_dies_costs_no_other_checkpoint(run, checkpoint, monkeypatch):
    """HDF5 may crash on a damaged file."""
    good = str(checkpoint(run.model / "checkpoint_10.mdl", 10))
    bad = str(checkpoint(run.model / "checkpoint_20.mdl", 20))
    monkeypatch.setattr("slurm_restart.supervise.checkpoint_check._MODULE", "tests_crash")
    crash = run.model / "tests_crash.py"
    crash.write_text(
        "import os, sys\n"
        "from slurm_restart.trainer import checkpoint_probe\n"
        "real = checkpoint_probe.probe\n"
        "checkpoint_probe.probe = (\n"
        "    lambda p, f: os.abort() if p.endswith('_20.mdl') else real(p, f))\n"
        "main = checkpoint_probe.main\n"
    )
    monkeypatch.setattr(
        "slurm_restart.supervise.child_process._CODE", CRASH.format(folder=run.model)
    )
    died, sound = first_complete([bad, good])
    assert died.soundness is Soundness.UNREADABLE
    assert died.reason.startswith("the check died: exit code -6")
    assert (sound.path, sound.step) == (good, 10)


CRASH = """
import sys
sys.path.append(sys.argv.pop(1))
sys.path.append("{folder}")
sys.argv.pop(1)
from {{module}} import main
main()
"""


# --- checkpoints that attempts fail from ---------------------------------------------------------


def left_out(run, *steps, only_one=False, can_go_back=True):
    """The evidence against the checkpoints of those steps, as they are now."""
    found = {checkpoint.step: checkpoint for checkpoint in find(run.plan.checkpoint)}
    entries = tuple(
        LeftOut(
            checkpoint=CheckpointVersion(path=found[step].path, mark=found[step].mark),
            step=step,
            attempt=1,
            category=Category.UNKNOWN,
        )
        for step in steps
    )
    fall_back = FallBack(left_out=entries, can_go_back=can_go_back)
    return Evidence(fall_back=fall_back, only_one=only_one)


@pytest.mark.parametrize(
    ("steps", "expected", "earlier"),
    [
        ((), "checkpoint_30.mdl", True),
        ((30,), "checkpoint_20.mdl", True),
        ((30, 20), "checkpoint_10.mdl", False),
        ((20,), "checkpoint_30.mdl", True),
        # All of them: the newest may be all that is left of days of work.
        ((30, 20, 10), "checkpoint_30.mdl", True),
    ],
)
def test_a_checkpoint_that_attempts_fail_from_is_left_out(run, steps, expected, earlier):
    touch(run, 10, 20, 30)
    start = choose_start(run.plan, {}, prober(), left_out(run, *steps))
    assert (name(start), start.resumed, start.earlier) == (expected, True, earlier)
    assert start.mark == marks(run)[expected]
    expected_out = steps if len(steps) < 3 else ()
    assert [entry.step for entry in start.left_out] == list(expected_out)
    assert sorted(marks(run)) == [f"checkpoint_{n}0.mdl" for n in (1, 2, 3)]


@pytest.mark.parametrize(
    ("steps", "phase", "expected"),
    [
        ((), 0, "checkpoint_30.mdl"),
        ((30,), 0, "checkpoint_20.mdl"),
        ((30, 20), 0, "checkpoint_10.mdl"),
        ((30, 20, 10), 0, "checkpoint_30.mdl"),
        # The others are not the end of the phase before.
        ((30,), 1, "checkpoint_30.mdl"),
    ],
)
def test_so_is_one_that_was_there_before_the_run_but_it_is_no_reason_for_a_restart(
    run, steps, phase, expected
):
    touch(run, 10, 20, 30)
    run.set(phase=phase, phases=phase + 1)
    start = choose_start(run.plan, marks(run), prober(), left_out(run, *steps))
    assert (name(start), start.resumed, start.earlier) == (expected, False, False)
    assert start.mark == (marks(run)[expected] if phase == 0 else None)
    expected_out = steps if len(steps) < 3 and phase == 0 else ()
    assert [entry.step for entry in start.left_out] == list(expected_out)


def test_there_is_nothing_to_go_back_to_once_that_was_done_often_enough(run):
    touch(run, 10, 20, 30)
    assert not choose_start(run.plan, {}, prober(), left_out(run, 30, can_go_back=False)).earlier


def test_the_only_checkpoint_ever_written_is_left_out_for_a_start_from_the_beginning(run):
    touch(run, 10)
    first = choose_start(run.plan, {}, prober(), left_out(run, only_one=True))
    assert (name(first), first.earlier) == ("checkpoint_10.mdl", True)
    start = choose_start(run.plan, {}, prober(), left_out(run, 10, only_one=True))
    assert (start.checkpoint, start.resumed, start.step) == (None, False, 0)
    assert [entry.step for entry in start.left_out] == [10]
    # The others may have been removed: then it is all that there is.
    kept = choose_start(run.plan, {}, prober(), left_out(run, 10))
    assert (name(kept), kept.earlier, kept.left_out) == ("checkpoint_10.mdl", False, ())


def test_one_that_was_written_anew_is_used(run):
    touch(run, 10, 20)
    evidence = left_out(run, 20)
    (run.model / "checkpoint_20.mdl").write_text("other content")
    start = choose_start(run.plan, {}, prober(), evidence)
    assert (name(start), start.left_out) == ("checkpoint_20.mdl", ())


def test_an_earlier_one_that_is_broken_is_no_way_back(run):
    touch(run, 10, 20)
    start = choose_start(run.plan, {}, prober(broken=["checkpoint_10.mdl"]), left_out(run, 20))
    assert (name(start), start.left_out) == ("checkpoint_20.mdl", ())
