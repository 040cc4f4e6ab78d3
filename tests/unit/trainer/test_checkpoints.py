import os

import pytest

from slurm_restart.trainer import checkpoints
from slurm_restart.trainer.checkpoint_forms import FORMS
from slurm_restart.trainer.checkpoint_names import to_regex
from slurm_restart.trainer.checkpoints import (
    complete_by_name,
    directory_state,
    find,
    iterate,
    name_of,
    step_of,
)
from slurm_restart.trainer.known_checkpoints import KnownCheckpoints
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
        format=CheckpointFormat.ANY,
        complete=complete,
    )
    (tmp_path / "step-5").mkdir()
    if made:
        (tmp_path / made).touch()
    (found,) = find(files)
    assert found.step == 5
    assert complete_by_name(files, found.path) is expected


def make(path, *names):
    for name in names:
        target = path / name
        if name.endswith("/"):
            target.mkdir(parents=True)
        else:
            target.parent.mkdir(parents=True, exist_ok=True)
            target.touch()


def names(layout):
    return [one.name for one in find(layout)]


def test_checkpoints_in_several_directories(tmp_path):
    make(
        tmp_path,
        "version_0/checkpoints/epoch=0-step=10.ckpt",
        "version_1/checkpoints/epoch=1-step=20.ckpt",
        "version_1/checkpoints/epoch=0-step=15.ckpt",
        "version_1/hparams.yaml",
        "version_x",
        "other/checkpoints/epoch=7-step=99.ckpt",
    )
    form = FORMS[CheckpointFormat.LIGHTNING]
    layout = rule(
        tmp_path,
        pattern=rf"version_.*/checkpoints/{form.pattern}",
        format=CheckpointFormat.LIGHTNING,
    )
    assert names(layout) == [
        "version_1/checkpoints/epoch=1-step=20.ckpt",
        "version_1/checkpoints/epoch=0-step=15.ckpt",
        "version_0/checkpoints/epoch=0-step=10.ckpt",
    ]
    newest = find(layout)[0]
    assert newest.path == str(tmp_path / newest.name)
    assert name_of(layout, newest.path) == newest.name
    assert step_of(layout, newest.path) == 20
    assert step_of(layout, "epoch=1-step=20.ckpt") is None
    before = directory_state(layout)
    assert directory_state(layout) == before
    os.utime(tmp_path / "version_1/checkpoints", ns=(1, 1))
    assert directory_state(layout) != before


def test_the_step_may_be_in_the_name_of_a_directory(tmp_path):
    make(tmp_path, "step-10/model.pt", "step-20/model.pt", "step-30/")
    layout = rule(tmp_path, pattern=to_regex("step-{step}/model.pt"), format=CheckpointFormat.TORCH)
    assert names(layout) == ["step-20/model.pt", "step-10/model.pt"]


def test_the_epoch_sorts_before_the_step(tmp_path):
    make(tmp_path, "e1-s900", "e2-s50", "e2-s100")
    layout = rule(tmp_path, pattern=to_regex("e{epoch}-s{step}"), format=CheckpointFormat.ANY)
    assert [(one.epoch, one.step) for one in find(layout)] == [(2, 100), (2, 50), (1, 900)]


def test_of_the_same_step_the_one_written_last_is_the_newest(tmp_path):
    for age, name in enumerate(("5-c", "5-a", "5-b")):
        make(tmp_path, name)
        os.utime(tmp_path / name, ns=(0, 100 - age))
    layout = rule(tmp_path, pattern=to_regex("{step}-*"), format=CheckpointFormat.ANY)
    assert names(layout) == ["5-c", "5-a", "5-b"]


@pytest.mark.parametrize(
    ("form", "expected"),
    [
        (CheckpointFormat.TORCH, {"5-file", "5-link"}),
        (CheckpointFormat.HF, {"5-folder"}),
        (CheckpointFormat.ANY, {"5-file", "5-link", "5-folder"}),
        (CheckpointFormat.AUTO, {"5-file", "5-link", "5-folder"}),
    ],
)
def test_only_files_or_only_directories_are_checkpoints_of_a_form(tmp_path, form, expected):
    make(tmp_path, "5-file", "5-folder/", "5-file.tmp", "5-file.unusable", "5-folder.unusable-2/")
    (tmp_path / "5-link").symlink_to("5-file")
    (tmp_path / "5-dangling").symlink_to("absent")
    os.mkfifo(tmp_path / "5-pipe")
    assert set(names(rule(tmp_path, pattern=to_regex("{step}-*"), format=form))) == expected


def test_of_very_many_the_newest_known_and_the_newest_others_are_found(tmp_path, monkeypatch):
    monkeypatch.setattr(checkpoints, "MAX_FOUND", 2)
    make(tmp_path, *(f"checkpoint_{step}.mdl" for step in range(6)))
    layout = rule(tmp_path)
    known = KnownCheckpoints.of(one for one in iterate(layout) if one.step >= 3)
    assert [one.step for one in find(layout, known)] == [5, 4, 2, 1]
    assert [one.step for one in find(layout)] == [5, 4]
    left = iterate(layout, skip=lambda name: name != "checkpoint_3.mdl")
    assert [one.name for one in left] == ["checkpoint_3.mdl"]
