import pytest

from slurm_restart.supervise.absence_warning import WRITE_TIME, AbsenceWarning
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout


class Clock:
    def __init__(self):
        self.now = 0.0

    def __call__(self):
        return self.now


@pytest.fixture
def made(tmp_path):
    """A warning that is due after 90 s, its clock, and what it has said."""

    def make(form=CheckpointFormat.AUTO):
        layout = CheckpointLayout(
            directory=str(tmp_path),
            pattern=r"s(?P<step>\d+)",
            written="s{step}",
            format=form,
            warn_after=90,
        )
        said, clock = [], Clock()
        return AbsenceWarning(layout, said.append, clock), clock, said

    return make


def test_it_warns_once_and_in_time(made, tmp_path):
    warning, clock, said = made()
    (tmp_path / "step9").touch()
    for now in (0, 89, 90, 91, 1000):
        clock.now = now
        warning.look({})
        assert len(said) == (now >= 90)
    expected = f"nothing in {tmp_path} matches 's{{step}}' (auto); the nearest names are step9"
    assert said == [f"no checkpoint seen for 1.5 min: {expected}"]


def test_what_is_incomplete_is_told_with_the_reason(made):
    warning, clock, said = made()
    clock.now = 90
    warning.look({"s10": "the file is empty", "s9": "x"})
    assert said == ["no checkpoint seen for 1.5 min: 2 incomplete, such as s9: x"]


def test_it_does_not_warn_once_a_checkpoint_was_seen_or_if_none_is_known(made):
    for form, stopped in ((CheckpointFormat.AUTO, True), (CheckpointFormat.NONE, False)):
        warning, clock, said = made(form)
        if stopped:
            warning.stop()
        clock.now = 1000
        warning.look({})
        assert said == []


@pytest.fixture
def by_steps(tmp_path):
    """A warning with a checkpoint every 10 steps; returns what it says at a step and a time."""
    layout = CheckpointLayout(
        directory=str(tmp_path), pattern=r"s(?P<step>\d+)", written="s{step}", warn_after=1800
    )
    said, clock, reached = [], Clock(), [None]
    warning = AbsenceWarning(layout, said.append, clock, interval=10, step=lambda: reached[0])

    def look(now, step, incomplete=None):
        clock.now, reached[0] = now, step
        warning.look(incomplete or {})
        return [text.partition(":")[0] for text in said]

    return look


AT_STEP_125 = ["no checkpoint seen by step 125, with one to be written every 10 steps"]


def test_the_steps_tell_it_sooner_and_leave_time_for_a_write(by_steps):
    assert by_steps(0, None) == []
    assert by_steps(1, 100) == []  # the first seen: where the attempt started
    assert by_steps(50, 119) == []
    assert by_steps(100, 120) == []
    assert by_steps(99 + WRITE_TIME, 124) == []
    assert by_steps(100 + WRITE_TIME, 125) == AT_STEP_125
    assert by_steps(1800, 1000) == AT_STEP_125


def test_a_single_incomplete_checkpoint_may_still_be_written(by_steps):
    by_steps(0, 100)
    by_steps(1, 120)
    assert by_steps(500, 124, {"s110": "the file is empty"}) == []
    two = {"s110": "the file is empty", "s120": "the file is empty"}
    assert by_steps(501, 125, two) == AT_STEP_125


def test_without_steps_or_an_interval_only_the_time_tells_it(by_steps, made):
    assert by_steps(1799, None) == []
    assert by_steps(1800, None) == ["no checkpoint seen for 30 min"]
    warning, clock, said = made()
    clock.now = 89
    warning.look({})
    assert said == []
