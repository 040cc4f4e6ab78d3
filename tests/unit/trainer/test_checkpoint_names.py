import re

import pytest

from slurm_restart.trainer.checkpoint_names import (
    is_unfinished,
    split_directory,
    split_path,
    to_regex,
)


@pytest.mark.parametrize(
    ("pattern", "name", "groups"),
    [
        ("step-{step}.pt", "step-12.pt", {"step": "12"}),
        ("step-{step}.pt", "step-12xpt", None),
        ("step-{step:06d}.pt", "step-000012.pt", {"step": "000012"}),
        ("epoch=*-step={step}.ckpt", "epoch=3-step=12.ckpt", {"step": "12"}),
        ("epoch={epoch}-step={step}.ckpt", "epoch=3-step=12.ckpt", {"epoch": "3", "step": "12"}),
        ("model_{epoch}.pt", "model_7.pt", {"step": "7"}),
        ("model_{epoch:02d}-*.h5", "model_07-0.25.h5", {"step": "07"}),
        # The number is whole where a `*` stands before it.
        ("*{step}.pt", "model-100.pt", {"step": "100"}),
        ("*{step}.pt", "100.pt", {"step": "100"}),
        ("s{step}*", "s12-ema", {"step": "12"}),
        ("s?{step}", "s-12", {"step": "12"}),
        ("a+b{step}", "a+b1", {"step": "1"}),
        ("a+b{step}", "aab1", None),
        ("{{step}}-{step}", "{12}-3", None),
    ],
)
def test_a_pattern_as_a_regular_expression(pattern, name, groups):
    try:
        match = re.fullmatch(to_regex(pattern), name)
    except ValueError:
        match = None
    assert (match and match.groupdict()) == groups


@pytest.mark.parametrize(
    "pattern",
    ["", "c.pt", "{step}-{step}", "{epoch}{epoch}{step}", "{step}-{loss:.2f}", "/{step}", "{step}/",
     "a//{step}", "../{step}", "a/./{step}"],
)  # fmt: skip
def test_a_pattern_that_cannot_be_used(pattern):
    with pytest.raises(ValueError, match=r"\{step\}|names"):
        to_regex(pattern)


@pytest.mark.parametrize(
    ("text", "directory", "pattern"),
    [
        ("ckpt/step-{step}.pt", "ckpt", "step-{step}.pt"),
        ("step-{step}.pt", ".", "step-{step}.pt"),
        ("/scratch/run 1/step-{step}.pt", "/scratch/run 1", "step-{step}.pt"),
        ("/step-{step}.pt", "/", "step-{step}.pt"),
        ("ckpt/step-{step}/model.pt", "ckpt", "step-{step}/model.pt"),
        ("out/version_*/checkpoints/{epoch}.ckpt", "out", "version_*/checkpoints/{epoch}.ckpt"),
        ("ckpt", "ckpt", None),
        ("lightning_logs/version_*/checkpoints", "lightning_logs/version_*/checkpoints", None),
    ],
)
def test_a_path_is_split(text, directory, pattern):
    assert split_path(text) == (directory, pattern)


@pytest.mark.parametrize(
    ("text", "fixed", "rest"),
    [("a/b", "a/b", ""), ("a/v_*/c", "a", "v_*/c"), ("/v?", "/", "v?"), ("*/c", "", "*/c")],
)
def test_a_directory_is_split(text, fixed, rest):
    assert split_directory(text) == (fixed, rest)


@pytest.mark.parametrize(
    ("name", "pattern", "unfinished"),
    [
        ("step-5.tmp", "step-{step}*", True),
        ("step-5.pt.partial", "step-{step}*", True),
        ("step-5.pt.part", "step-{step}*", True),
        ("step-5.pt~", "step-{step}*", True),
        ("step-5.unusable", "step-{step}*", True),
        ("step-5.unusable-2", "step-{step}*", True),
        ("tmp-checkpoint-5", "*{step}", True),
        ("5.orbax-checkpoint-tmp-17", "{step}*", True),
        (".step-5", "*{step}", True),
        ("part-5", "*{step}", False),
        ("Temp_5", "*{step}", False),
        ("template-5", "*{step}", False),
        # A pattern that asks for the word means it.
        ("tmp-5.pt", "tmp-{step}.pt", False),
        (".step-5", ".step-{step}", False),
        ("tmp-5.tmp", "tmp-{step}*", False),
    ],
)
def test_names_of_what_is_not_finished(name, pattern, unfinished):
    regex = to_regex(pattern)
    assert re.fullmatch(regex, name)
    assert is_unfinished(name, regex) is unfinished
