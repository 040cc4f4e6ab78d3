from pathlib import Path

import pytest

from slurm_restart.trainer.checkpoint_layout import (
    DefaultNames,
    GivenCheckpoint,
    check_directory,
    checkpoint_layout,
)
from slurm_restart.trainer.run_plan import CheckpointFormat

NAMES = DefaultNames(regex=r"mine_(?P<step>\d+)", written="mine_{step}")


def layout(names=None, **given):
    return checkpoint_layout(GivenCheckpoint(**given), Path("/job"), Path("/model"), names)


def test_a_pattern_alone_is_of_the_form_that_is_found():
    found = layout(directory="ck", pattern="step-{step}.pt", complete="{path}.done")
    assert (found.directory, found.format) == ("/job/ck", CheckpointFormat.AUTO)
    assert (found.pattern, found.written) == (r"step\-(?P<step>\d+)\.pt", "step-{step}.pt")
    assert found.complete == "{path}.done"


def test_a_format_brings_names_and_perhaps_directories():
    assert layout(format=CheckpointFormat.HF).directory == "/model"
    assert layout(format=CheckpointFormat.HF, names=NAMES).pattern == r"checkpoint-(?P<step>\d+)"
    found = layout(format=CheckpointFormat.LIGHTNING)
    assert found.directory == "/job/lightning_logs"
    assert found.pattern.startswith(r"version_.*/checkpoints/(?:")
    assert found.written == "version_*/checkpoints/epoch={epoch}-step={step}.ckpt"
    assert layout(format=CheckpointFormat.LIGHTNING, directory="/ck").directory == "/ck"


@pytest.mark.parametrize("form", [None, *CheckpointFormat])
def test_names_where_the_format_has_none(form):
    own = {CheckpointFormat.MDL, CheckpointFormat.AUTO, CheckpointFormat.ANY, None}
    if form is CheckpointFormat.NONE:
        return
    assert (layout(names=NAMES, format=form).pattern == NAMES.regex) is (form in own)
    if form in own - {CheckpointFormat.MDL}:
        with pytest.raises(ValueError, match="has no own names"):
            layout(format=form)


def test_stars_in_the_directory_become_levels_of_the_pattern():
    found = layout(directory="/out/*/v_?", pattern="{step}/model.pt")
    assert found.directory == "/out"
    assert found.pattern == r".*/v_./(?P<step>\d+)/model\.pt"
    assert found.written == "*/v_?/{step}/model.pt"
    assert layout(directory="run-*", pattern="{step}").directory == "/job"


@pytest.mark.parametrize("text", ["a/*/../b", "a/{step}"])
def test_a_directory_that_cannot_be_used(text):
    with pytest.raises(ValueError, match=r"names separated|at most once"):
        check_directory(text)
    check_directory("../a/v_*/b")
