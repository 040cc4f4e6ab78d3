"""Where the tasks of a step run, by the job's numbers; what is not known places nobody."""

import pytest

from slurm_restart.core.task_layout import MAX_TASKS, even_counts, parse_task_counts, task_layout

NODES = ("n1", "n2", "n3")


@pytest.mark.parametrize(
    ("text", "counts"),
    [
        ("2(x3),1", (2, 2, 2, 1)),
        ("4", (4,)),
        ("1,2,3", (1, 2, 3)),
        ("", ()),
        ("0", ()),
        ("2(x0)", ()),
        ("2(x3", ()),
        ("2,,1", ()),
        (f"1(x{MAX_TASKS})", (1,) * MAX_TASKS),
        (f"1(x{MAX_TASKS}),1", ()),
    ],
)
def test_counts_are_read_in_the_form_of_slurm(text: str, counts: tuple[int, ...]) -> None:
    assert parse_task_counts(text) == counts


@pytest.mark.parametrize(
    ("counts", "distribution", "layout"),
    [
        ((2, 1, 3), "block", "n1 n1 n2 n3 n3 n3"),
        ((2, 1, 3), "block:cyclic", "n1 n1 n2 n3 n3 n3"),
        ((2, 1, 3), "*:block", "n1 n1 n2 n3 n3 n3"),
        ((2, 1, 3), "cyclic", "n1 n2 n3 n1 n3 n3"),
        ((2, 2, 2), "Cyclic:Block", "n1 n2 n3 n1 n2 n3"),
        ((1, 1, 1), None, "n1 n2 n3"),
    ],
)
def test_tasks_are_placed_by_block_or_in_turn(
    counts: tuple[int, ...], distribution: str | None, layout: str
) -> None:
    assert task_layout(NODES, counts, distribution) == tuple(layout.split())


def test_without_a_distribution_only_what_does_not_depend_on_it_is_placed() -> None:
    assert task_layout(NODES, (2, 2, 2), None) == ("n1", "", "", "", "", "n3")


@pytest.mark.parametrize(
    ("counts", "distribution"),
    [((2, 2), "block"), ((), "block"), ((2, 2, 2), "plane"), ((2, 2, 2), "arbitrary")],
)
def test_what_is_not_known_places_nobody(counts: tuple[int, ...], distribution: str) -> None:
    assert task_layout(NODES, counts, distribution) == ()


def test_more_tasks_than_are_kept_place_nobody() -> None:
    assert task_layout(("n1",), (MAX_TASKS + 1,), "block") == ()


@pytest.mark.parametrize(
    ("tasks", "per_node", "nodes", "counts"),
    [
        (3, 0, 3, (1, 1, 1)),
        (3, 1, 3, (1, 1, 1)),
        (6, 2, 3, (2, 2, 2)),
        # Slurm may place four on one node and one on each other.
        (6, 0, 3, ()),
        (5, 2, 3, ()),
        (0, 0, 0, ()),
        (MAX_TASKS + 1, 0, MAX_TASKS + 1, ()),
    ],
)
def test_totals_tell_the_tasks_of_each_node_where_only_one_answer_is_possible(
    tasks: int, per_node: int, nodes: int, counts: tuple[int, ...]
) -> None:
    assert even_counts(tasks, per_node, nodes) == counts
