import pytest

from slurm_restart.trainer.checkpoint_layout import GivenCheckpoint, checkpoint_layout
from slurm_restart.trainer.near_names import describe_absence, near_names
from slurm_restart.trainer.run_plan import CheckpointFormat


@pytest.fixture
def layout(tmp_path):
    def make(pattern=None, directory="ck", **given):
        given = GivenCheckpoint(directory=directory, pattern=pattern, **given)
        return checkpoint_layout(given, tmp_path, tmp_path)

    return make


def touch(path, *names):
    for name in names:
        (path / name).parent.mkdir(parents=True, exist_ok=True)
        (path / name).touch()


def test_the_nearest_names_are_told(tmp_path, layout):
    touch(
        tmp_path / "ck", "step_10.pt", "step_200.pt", "log.txt", "events.1.x", "last.pt", "a", "b"
    )
    text = describe_absence(layout("step-{step}.pt"))
    assert text == (
        f"nothing in {tmp_path}/ck matches 'step-{{step}}.pt' (auto); "
        "the nearest names are step_200.pt, last.pt, events.1.x"
    )


def test_an_empty_and_an_absent_directory(tmp_path, layout):
    text = describe_absence(layout(format=CheckpointFormat.HF))
    assert text == f"{tmp_path}/ck does not exist; expected in it: 'checkpoint-{{step}}' (hf)"
    (tmp_path / "ck").mkdir()
    assert describe_absence(layout("{step}")).endswith("'{step}' (auto); it is empty")


def test_several_levels_are_told_at_the_deepest_that_is_there(tmp_path, layout):
    touch(tmp_path / "ck", "version_2/checkpoints/x-1.ckpt", "version_10/checkpoints/y-1.ckpt")
    found = layout(format=CheckpointFormat.LIGHTNING, directory="ck/version_*/checkpoints")
    assert f"{tmp_path}/ck/version_10/checkpoints matches" in describe_absence(found)
    assert "the nearest names are y-1.ckpt" in describe_absence(found)
    found = layout(format=CheckpointFormat.LIGHTNING, directory="ck/run_*/checkpoints")
    assert "the nearest names are version_10" in describe_absence(found)


@pytest.mark.parametrize(
    ("name", "near"),
    [
        ("step_10.pt", True),
        ("model10.pt", True),
        ("step-10", True),
        ("step-last.pt", False),
        ("job-10.out", False),
        ("20261125_000000_restartable", False),
        ("step-10.pt.tmp", False),
        ("step-10.pt.unusable", False),
    ],
)
def test_names_that_look_like_checkpoints_of_another_pattern(tmp_path, layout, name, near):
    touch(tmp_path / "ck", name)
    assert near_names(layout("step-{step}.pt")) == (f"{tmp_path}/ck", (name,) if near else ())
    assert near_names(layout("step-{step}.pt", directory="absent"))[1] == ()


def test_control_characters_are_escaped(tmp_path, layout):
    touch(tmp_path / "ck", "step\x1b[1m1.pt")
    assert "\x1b" not in describe_absence(layout("step-{step}.pt"))
