"""Settings of a run: each value is read, refused with what was expected, or written."""

from dataclasses import replace

import pytest

from slurm_restart.cli.run_settings import apply, parse_assignments
from slurm_restart.errors import UsageError
from tests.unit.core import facts

RECORD = facts.comment_record(num_nodes=4, min_nodes=2)


class Plan:
    """What is read of a plan."""

    csx_per_node = 2
    min_nodes = 2


@pytest.mark.parametrize(
    ("text", "changes"),
    [
        ("max_num_restarts=0", {"max_restarts": 0}),
        ("max-restarts=7", {"max_restarts": 7}),
        ("min_nodes=4", {"min_nodes": 4}),
        ("min_num_csx=5", {"min_nodes": 3}),
        ("stop_on_repeat=0", {"stop_on_repeat": 0}),
        ("shrink_after=1h", {"shrink_after": 3600}),
        ("give_up_after=default", {"give_up_after": None}),
        ("exclude_for=1-0", {"exclude_for": 86400}),
    ],
)
def test_a_value_reaches_the_record(text, changes):
    record = replace(RECORD, give_up_after=5)
    assert apply(parse_assignments([text]), record, Plan()) == replace(record, **changes)


@pytest.mark.parametrize(
    ("texts", "expected"),
    [
        (["max_num_restarts"], "expected NAME=VALUE with one of the names max_num_restarts"),
        (["max_num_restart=1"], "expected NAME=VALUE with one of the names"),
        (["max_num_restarts=-1"], "expected a whole number from 0 to 10000, got '-1'"),
        (["max_num_restarts=10001"], "expected a whole number from 0 to 10000, got '10001'"),
        (["max_num_restarts=²"], "expected a whole number"),
        (["max_num_restarts=default"], "expected a whole number from 0 to 10000, got 'default'"),
        (["shrink_after=soon"], "expected a time such as 10min, 24h or 1-12:00:00, or default"),
        (["min_nodes=0"], "expected a whole number from 1"),
        (["min_nodes=5"], "expected at most the 4 nodes of the run, got 5"),
        (["min_num_csx=9"], "expected at most the 8 CSX systems of the run, got 9"),
        (["min_nodes=2", "min_num_csx=2"], "min_nodes sets the same"),
    ],
)
def test_a_wrong_value_is_refused_with_what_was_expected(texts, expected):
    with pytest.raises(UsageError, match=expected.replace("(", "\\(")):
        apply(parse_assignments(texts), RECORD, Plan())


def test_a_job_of_one_size_is_not_made_smaller():
    fixed = replace(RECORD, min_nodes=4)
    with pytest.raises(UsageError, match="submitted with one size"):
        apply(parse_assignments(["min_nodes=2"]), fixed, None)
    # Its plan shows that it could be smaller: the number was raised since.
    assert apply(parse_assignments(["min_nodes=2"]), fixed, Plan()).min_nodes == 2
    with pytest.raises(UsageError, match="set min_nodes"):
        apply(parse_assignments(["min_num_csx=2"]), RECORD, None)
