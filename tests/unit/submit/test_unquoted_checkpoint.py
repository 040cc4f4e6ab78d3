"""A path with a blank in it becomes several arguments where a shell script does not quote it."""

import pytest

from slurm_restart.submit.batch_script import parse_script, wrapped_script
from slurm_restart.submit.unquoted_checkpoint import unquoted_checkpoint
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout


def layout(directory: str, format_: CheckpointFormat = CheckpointFormat.TORCH) -> CheckpointLayout:
    return CheckpointLayout(directory=directory, pattern=r"step-(?P<step>\d+)", format=format_)


BLANK = layout("/data/my run/ckpt")


@pytest.mark.parametrize(
    ("text", "is_cut"),
    [
        ("srun train.py --resume $CSX_RESTART_CHECKPOINT", True),
        ("srun train.py --resume=${CSX_RESTART_CHECKPOINT}", True),
        ('srun "train.py" --resume $CSX_RESTART_CHECKPOINT', True),
        ("if [ -n $CSX_RESTART_CHECKPOINT ]; then", True),
        ('srun train.py --resume "$CSX_RESTART_CHECKPOINT"', False),
        ('srun train.py "--resume=$CSX_RESTART_CHECKPOINT"', False),
        ('srun train.py ${CSX_RESTART_CHECKPOINT:+--resume "$CSX_RESTART_CHECKPOINT"}', False),
        ("CKPT=$CSX_RESTART_CHECKPOINT", False),
        ("export CKPT=${CSX_RESTART_CHECKPOINT}", False),
        ("if [[ -n $CSX_RESTART_CHECKPOINT ]]; then", False),
        ("  # not with $CSX_RESTART_CHECKPOINT", False),
        ("echo $CSX_RESTART_CHECKPOINTS", False),
    ],
)
def test_a_use_without_quotes(text: str, *, is_cut: bool) -> None:
    found = list(unquoted_checkpoint(wrapped_script(text), BLANK))
    assert len(found) == is_cut
    assert all(each.startswith("--wrap: $") for each in found)
    assert not list(unquoted_checkpoint(wrapped_script(text), layout("/data/run/ckpt")))
    assert not list(
        unquoted_checkpoint(wrapped_script(text), layout("/a b", CheckpointFormat.NONE))
    )


def test_only_the_first_is_told_and_only_of_a_shell_script() -> None:
    lines = b"python train.py --resume $CSX_RESTART_CHECKPOINT\n" * 2
    [found] = unquoted_checkpoint(parse_script(b"#!/bin/bash\n" + lines, "job.sh"), BLANK)
    assert found == (
        "job.sh:2: $CSX_RESTART_CHECKPOINT is not in double quotes, and there is a blank in "
        "'/data/my run/ckpt': a restart gets several arguments"
    )
    script = parse_script(b"#!/usr/bin/python3\n" + lines, "job.py")
    assert not list(unquoted_checkpoint(script, BLANK))
