"""Which sizes are compiled ahead, and which a restart gets of those that are left."""

import pytest

from slurm_restart.core.compile_sizes import (
    MAX_LISTED,
    CompileOutcome,
    format_sizes,
    largest_compilable,
    parse_sizes,
    sizes_left,
    smallest_compilable,
)


@pytest.mark.parametrize(
    ("nodes", "least", "done", "expected"),
    [
        (8, 1, (), (7, 6)),
        (8, 7, (), (7,)),
        (8, 8, (), ()),
        (2, 1, (), (1,)),
        (1, 1, (), ()),
        (8, 1, (7,), (6,)),
        (8, 1, (7, 6), ()),
        (7, 1, (7, 6), (5,)),
    ],
)
def test_the_next_two_sizes_down_to_the_minimum(
    nodes: int, least: int, done: tuple[int, ...], expected: tuple[int, ...]
) -> None:
    assert sizes_left(nodes, least, done) == expected


def test_only_a_failure_of_another_kind_is_tried_again() -> None:
    assert [one for one in CompileOutcome if not one.is_final] == [CompileOutcome.FAILED]


@pytest.mark.parametrize(
    ("most", "least", "refused", "expected"),
    [(3, 1, (), 3), (3, 1, (3,), 2), (3, 1, (3, 2), 1), (3, 2, (3, 2), None), (1, 2, (), None)],
)
def test_a_restart_gets_the_largest_size_that_may_compile(
    most: int, least: int, refused: tuple[int, ...], expected: int | None
) -> None:
    assert largest_compilable(most, least, refused) == expected


def test_the_smallest_size_is_the_full_one_if_no_other_compiles() -> None:
    assert smallest_compilable(1, 4, ()) == 1
    assert smallest_compilable(1, 4, (1, 2)) == 3
    assert smallest_compilable(2, 4, (2, 3)) == 4


def test_sizes_in_the_comment_record() -> None:
    assert format_sizes(()) is None
    assert format_sizes({2, 3}) == "3,2"
    assert parse_sizes("3,2") == {2, 3}
    assert parse_sizes(format_sizes(range(1, 100))) == set(range(100 - MAX_LISTED, 100))
    for text in (None, "", "3,", "x", "1,2,3,4,5", "-1", "1234567"):
        assert parse_sizes(text) == frozenset()
