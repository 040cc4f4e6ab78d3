import os

import pytest

from slurm_restart.trainer.checkpoints import complete_by_name, find, step_of
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout

MDL = r"checkpoint_(?P<step>\d+)(?P<stamp>_\d{8}_\d{6})?\.mdl"


def rule(path, **values) -> CheckpointLayout:
    return CheckpointLayout(**{"directory": str(path), "pattern": MDL} | values)


def test_the_newest_comes_first_by_step_and_then_by_stamp(tmp_path):
    names = [
        "checkpoint_200.mdl",
        "checkpoint_1000.mdl",
        "checkpoint_200_20261122_072652.mdl",
        "checkpoint_200_20261121_072652.mdl",
        "checkpoint_0.mdl",
    ]
    for name in names:
        (tmp_path / name).touch()
    assert [item.name for item in find(rule(tmp_path))] == [
        "checkpoint_1000.mdl",
        "checkpoint_200_20261122_072652.mdl",
        "checkpoint_200_20261121_072652.mdl",
        "checkpoint_200.mdl",
        "checkpoint_0.mdl",
    ]


@pytest.mark.parametrize(
    "name",
    [
        "checkpoint_200.mdl.0123abcd.tmp",
        "checkpoint_200.mdl.unusable",
        "xcheckpoint_200.mdl",
        "checkpoint_.mdl",
        "checkpoint_-1.mdl",
        f"checkpoint_{'9' * 40}.mdl",
        "checkpoint_9999999999999.mdl",
    ],
)
def test_other_names_are_no_checkpoints(tmp_path, name):
    (tmp_path / name).touch()
    assert find(rule(tmp_path)) == ()


def test_a_dangling_link_and_a_missing_directory_give_no_checkpoint(tmp_path):
    (tmp_path / "checkpoint_1.mdl").symlink_to("nowhere")
    assert find(rule(tmp_path)) == ()
    assert find(rule(tmp_path / "absent")) == ()


def test_a_directory_that_cannot_be_read_is_an_error(tmp_path):
    (tmp_path / "file").touch()
    with pytest.raises(NotADirectoryError):
        find(rule(tmp_path / "file"))


def test_a_rewritten_file_has_another_mark(tmp_path):
    path = tmp_path / "checkpoint_1.mdl"
    path.write_text("a")
    (before,) = find(rule(tmp_path))
    os.utime(path, ns=(1, 1))
    (after,) = find(rule(tmp_path))
    assert before.mark != after.mark
    assert after.mark == (1, 1)


def test_the_step_of_a_path(tmp_path):
    assert step_of(rule(tmp_path), "/elsewhere/checkpoint_7.mdl") == 7
    assert step_of(rule(tmp_path), "/elsewhere/last.mdl") is None


@pytest.mark.parametrize(
    ("complete", "made", "expected"),
    [
        (None, None, True),
        ("{path}.done", None, False),
        ("{path}.done", "step-5.done", True),
        ("{path}/DONE", "step-5/DONE", True),
    ],
)
def test_completeness_by_name(tmp_path, complete, made, expected):
    files = rule(
        tmp_path,
        pattern=r"step-(?P<step>\d+)",
        format=CheckpointFormat.FILES,
        complete=complete,
    )
    (tmp_path / "step-5").mkdir()
    if made:
        (tmp_path / made).touch()
    (found,) = find(files)
    assert found.step == 5
    assert complete_by_name(files, found.path) is expected
