"""The shell part of the hook takes those jobs for managed that the record's reader does."""

import re
import subprocess
from dataclasses import replace
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from slurm_restart.core.job_comment import (
    JSON_PREFIX,
    PREFIX,
    CommentRecord,
    format_comment,
    is_managed,
)

RECORD = CommentRecord(run="0123456789abcdef", max_restarts=1, num_nodes=1, min_nodes=1)
SCRIPT = Path(__file__).parents[3] / "contrib" / "csx-epilog"


def taken(comment: str) -> bool:
    """Whether the script goes on for a job with this Comment."""
    found = re.search(
        r"^case \$SLURM_JOB_COMMENT in\n.*?^esac$", SCRIPT.read_text(), re.MULTILINE | re.DOTALL
    )
    assert found is not None, "the script compares SLURM_JOB_COMMENT in one case statement"
    done = subprocess.run(
        ["/bin/sh", "-c", f"{found[0]}\nexit 9"], env={"SLURM_JOB_COMMENT": comment}, check=False
    )
    assert done.returncode in (0, 9)
    return done.returncode == 9


@pytest.mark.parametrize("own", ["", "mine", "{}", '{"a":1}', '{"a": "b c"}', "{", "a\nb"])
def test_every_comment_with_a_record_is_taken(own: str) -> None:
    assert taken(format_comment(RECORD, own))


@pytest.mark.parametrize("own", ["", "mine", '{"a":1}'])
def test_a_job_that_requeues_itself_is_left_alone(own: str) -> None:
    comment = format_comment(replace(RECORD, self_requeue=True), own)
    assert is_managed(comment)
    assert not taken(comment)
    # What the user wrote does not count.
    assert taken(format_comment(RECORD, f"self=1; {own}"))


@pytest.mark.parametrize(
    "comment",
    ["", "mine", "csx-restart/1", "csx-restart/2 x", " csx-restart/1 x", "*", "{", '{"a":1}'],
)
def test_other_comments_are_not(comment: str) -> None:
    assert not taken(comment)
    assert not is_managed(comment)


TEXT = st.text(st.characters(exclude_characters="\0", exclude_categories=["Cs"]), max_size=8)


@settings(max_examples=30)
@given(comment=st.tuples(st.sampled_from(["", PREFIX, JSON_PREFIX, PREFIX[:-1]]), TEXT))
def test_script_and_reader_agree(comment: tuple[str, str]) -> None:
    text = "".join(comment)
    assert taken(text) is is_managed(text)
