"""Errors inside the checkpoint that an attempt started from."""

import pytest

from slurm_restart.core.attribute_log import ExitFacts, attribute_log
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.checkpoint_in_text import names_broken_part, names_taken_name
from slurm_restart.core.fall_back import speaks_against_checkpoint
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
        # Not read: words that the program does not understand.
        ("train.py: error: unrecognized arguments: run/ckpt/step-10/model.pt", False),
        ("train.py: error: argument cmd: invalid choice: 'ckpt/step-10' (choose from 'a')", False),
        ("Error: Got unexpected extra argument (ckpt/step-10)", False),
        ("ERROR: Could not consume arg: ckpt/step-10", False),
        ("ValueError: arguments are not used by the HfArgumentParser: ['ckpt/step-10']", False),
        ("error: argument --resume: invalid load value: 'ckpt/step-10'", True),
        ("ckpt/step-10/config.json: unknown option 'fp9'", True),
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


@pytest.mark.parametrize(
    ("text", "named"),
    [
        # All nodes ask the same service: what is not there is lost.
        ("FileNotFoundError: s3://b/run/step-10 does not exist", True),
        ("FileNotFoundError: No such file or directory: 'step-10'", True),
        ("PermissionError: Permission denied: s3://b/run/step-10", False),
        ("FileNotFoundError: s3://b/run/step-100 does not exist", False),
    ],
)
def test_one_at_a_url_that_is_not_there_is_lost(text: str, named: bool) -> None:
    assert names_broken_part(text, "s3://b/run/step-10") is named


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


def test_the_rest_of_a_path_that_was_not_quoted_does_not_break_it() -> None:
    text = "train.py: error: unrecognized arguments: run/ckpt/step-10"
    facts = ExitFacts(exit_code=2, checkpoint="/data/my run/ckpt/step-10")
    found = attribute_log(facts, [finding(Category.CONFIG, text)])
    assert (found.category, found.rule) == (Category.CONFIG, "some.rule")


@pytest.mark.parametrize(
    ("text", "taken"),
    [
        ("OSError: [Errno 39] Directory not empty: 'ckpt/.tmp-88' -> 'ckpt/step-20'", True),
        ("FileExistsError: [Errno 17] File exists: '/data/run/ckpt/step-20'", True),
        ("mv: cannot move 'new' to 'ckpt/step-20': Directory not empty", True),
        ("ValueError: Destination ckpt/step-20/ already exists.", True),
        # Even its own one: what it holds does not matter for that.
        ("FileExistsError: [Errno 17] File exists: 'step-10'", True),
        ("FileExistsError: [Errno 17] File exists: 'logs/1'", False),
        ("FileExistsError: [Errno 17] File exists: 'ckpt/my-step-20'", False),
        ("FileExistsError: [Errno 17] File exists: 'ckpt/step-20.pt'", False),
        ("ValueError: cannot load step-20", False),
    ],
)
def test_a_name_of_a_checkpoint_that_is_taken(text: str, taken: bool) -> None:
    assert names_taken_name(text, CHECKPOINT) is taken
    found = attribute_log(
        ExitFacts(exit_code=1, checkpoint=CHECKPOINT), [finding(Category.CODE, text)]
    )
    assert (found.rule == "checkpoint.name_taken") is taken
    assert speaks_against_checkpoint(found.category, found.rule, 1) is not taken
    assert found.category.recoverable or not taken


def test_without_a_number_in_its_name_none_is_recognised() -> None:
    assert not names_taken_name("FileExistsError: File exists: 'last'", "/data/last")
