"""The restart policy, row by row; the expected rows are written by hand."""

import pytest

from slurm_restart.core.category import SLURM_ONLY, Category, Nodes, Restart

# restart, counts if no progress, excluded nodes: the design's table, by hand.
NO = (Restart.NO, False, Nodes.NONE)
NAMED = (Restart.YES, True, Nodes.NAMED)
CULPRIT = (Restart.YES, True, Nodes.CULPRIT)
UNBLAMED = (Restart.YES, True, Nodes.NONE)
NEVER_COUNTS = (Restart.YES, False, Nodes.NONE)
ROWS = {
    "completed": NO,
    "cancelled": NO,
    "deadline": NO,
    "usage_limit": NO,
    "reservation_ended": NO,
    "held": NO,
    "held_by_slurm": NO,
    "unlisted": NO,
    "compile": NO,
    "config": NO,
    "code": NO,
    "auth": NO,
    "storage.full": NO,
    "memory.device_oom": NO,
    "hardware.accelerator": NAMED,
    "hardware.node": NAMED,
    "network.fabric": CULPRIT,
    "network.rendezvous": CULPRIT,
    "storage.io": CULPRIT,
    "dependency.service": CULPRIT,
    "software.crash": CULPRIT,
    "unknown": CULPRIT,
    "hang": CULPRIT,
    "data.corrupt": (Restart.UNTIL_REPEATED, True, Nodes.CULPRIT),
    "numeric.nan": (Restart.UNTIL_REPEATED, True, Nodes.CULPRIT),
    "oom_host": (Restart.ONCE_PER_STEP, True, Nodes.NONE),
    "checkpoint.corrupt": UNBLAMED,
    "timeout": UNBLAMED,
    "preemption": NEVER_COUNTS,
    "requeued": NEVER_COUNTS,
    "prolog_failed": NAMED,
    "health_check": (Restart.YES, False, Nodes.NAMED),
    "node_drained": NEVER_COUNTS,
    "node_search": UNBLAMED,
}


def test_every_category_has_a_row() -> None:
    assert {category.value for category in Category} == set(ROWS)


@pytest.mark.parametrize("category", Category, ids=lambda one: one.value)
def test_the_row_of_a_category(category: Category) -> None:
    assert (category.restart, category.counts, category.nodes) == ROWS[category.value]
    assert category.meaning
    assert category.recoverable is (category.restart is not Restart.NO)


def test_no_uncounted_category_is_accepted_from_a_self_report_alone() -> None:
    escaping = {name for name, row in ROWS.items() if row[0] is not Restart.NO and not row[1]}
    # These two need facts of Slurm beside the report: see test_attribute_end.
    assert escaping - {"health_check", "node_drained"} <= {
        category.value for category in SLURM_ONLY
    }


def test_what_ends_many_jobs_at_the_same_time() -> None:
    outside = {category.value for category in Category if category.is_outside}
    assert outside == {"storage.io", "dependency.service"}
