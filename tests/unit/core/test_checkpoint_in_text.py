"""Errors inside the checkpoint that an attempt started from."""

import pytest

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.checkpoint_in_text import names_broken_part
from slurm_restart.core.finding import Finding, Role

CHECKPOINT = "/data/run/ckpt/step-10"


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("FileNotFoundError: No such file or directory: '/data/run/ckpt/step-10/opt.bin'", True),
        ("OSError: ckpt/step-10/model.safetensors is not a valid file", True),
        ("ValueError: cannot load step-10: wrong magic number", True),
        ("OSError: Unable to open file (name = '/data/run/ckpt/step-10', errno = 0)", True),
        ("KeyError in /data/run/ckpt/step-10/: optimizer", True),
        # All of it is missing, or forbidden: a matter of the node.
        ("FileNotFoundError: No such file or directory: '/data/run/ckpt/step-10'", False),
        ("PermissionError: Permission denied: '/data/run/ckpt/step-10/opt.bin'", False),
        # Others.
        ("ValueError: cannot load /data/run/ckpt/step-100", False),
        ("ValueError: cannot load /data/run/ckpt/step-10.pt", False),
        ("ValueError: cannot load /data/run/ckpt/my-step-10", False),
        ("ValueError: wrong magic number", False),
    ],
)
def test_the_checkpoint_is_recognised(text: str, named: bool) -> None:
    assert names_broken_part(text, CHECKPOINT) is named
    assert names_broken_part(text, f"{CHECKPOINT}/") is named


def finding(category: Category, text: str) -> Finding:
    return Finding(
        line=5,
        text=text,
        rule="some.rule",
        category=category,
        role=Role.ROOT,
        confidence=Confidence.CERTAIN,
    )


@pytest.mark.parametrize(
    ("category", "checkpoint", "expected"),
    [
        (Category.CONFIG, CHECKPOINT, Category.CHECKPOINT_CORRUPT),
        (Category.CODE, CHECKPOINT, Category.CHECKPOINT_CORRUPT),
        (Category.CONFIG, None, Category.CONFIG),
        (Category.CONFIG, "/data/run/ckpt/step-20", Category.CONFIG),
        (Category.STORAGE_FULL, CHECKPOINT, Category.STORAGE_FULL),
        (Category.STORAGE_IO, CHECKPOINT, Category.STORAGE_IO),
    ],
)
def test_an_error_inside_it_is_the_checkpoints(
    category: Category, checkpoint: str | None, expected: Category
) -> None:
    facts = ExitFacts(exit_code=1, checkpoint=checkpoint)
    found = attribute_log(facts, [finding(category, "Error: step-10/opt.bin: bad")])
    assert found.category is expected
    assert (found.rule == "checkpoint.named") is (expected is Category.CHECKPOINT_CORRUPT)
