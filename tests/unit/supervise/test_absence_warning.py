import pytest

from slurm_restart.supervise.absence_warning import AbsenceWarning
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
