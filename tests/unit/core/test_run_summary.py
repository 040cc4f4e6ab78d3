"""What the journal of a run amounts to in lists of runs and nodes."""

from dataclasses import replace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.job import JobState, NodeState
from slurm_restart.core.journal_events import (
    Action,
    EndEvent,
    ExcludeEvent,
    FinalEvent,
    NoteEvent,
    ReadmitEvent,
    StartedEvent,
)
from slurm_restart.core.node_summary import summarize_nodes
from slurm_restart.core.run_summary import RUNNING, summarize

END = EndEvent(
    at=100,
    submit_time=50,
    restarts=0,
    requeued=False,
    category=Category.HARDWARE_NODE,
    rule="state.node_fail",
    action=Action.REQUEUE,
    reason="after progress",
    attempt=0,
    progress=False,
    step=30,
    nodes=("a", "b"),
    start_at=130,
)
STARTED = StartedEvent(at=140, restarts=1, submit_time=110, nodes=("b", "c"))
DONE = replace(END, at=200, restarts=1, attempt=1, category=Category.COMPLETED, start_at=None)
DONE = replace(DONE, action=Action.LEAVE, reason="completed", step=90, nodes=("b", "c"))
FINAL = FinalEvent(at=210, restarts=1, submit_time=110, state="COMPLETED")
EXCLUDED = ExcludeEvent(at=101, node="a", until=1000, evidence="DOWN", submit_time=50)


def ends(summary):
    return {(each.node, each.category): each.count for each in summary.node_ends}


def test_a_journal_without_events_is_no_run():
    assert summarize([]) is None


def test_a_run_that_waits():
    summary = summarize([END, EXCLUDED])
    assert (summary.attempts, summary.restarts, summary.failures) == (1, 1, 1)
    assert (summary.restart_at, summary.state, summary.step) == (130, None, 30)
    assert summary.category == "hardware.node"
    assert ends(summary) == {("a", "hardware.node"): 1, ("b", "hardware.node"): 1}


def test_a_run_that_runs_again():
    summary = summarize([END, EXCLUDED, STARTED])
    assert summary.restart_at is None
    assert summary.nodes == ("b", "c")
    assert ends(summary)["c", RUNNING] == 1


def test_a_run_that_is_over():
    summary = summarize([END, EXCLUDED, STARTED, DONE, FINAL])
    assert summary.state is JobState.COMPLETED
    assert (summary.began, summary.changed, summary.attempts) == (100, 210, 2)
    assert ends(summary) == {
        ("a", "hardware.node"): 1,
        ("b", "hardware.node"): 1,
        ("b", "completed"): 1,
        ("c", "completed"): 1,
    }


def test_a_final_state_is_that_after_the_last_end_alone():
    assert summarize([END, replace(FINAL, at=105), STARTED, DONE]).state is None
    assert summarize([DONE, replace(FINAL, state="NEW_IN_SLURM_30")]).state is None


@pytest.mark.parametrize(
    ("events", "now", "in_force", "why"),
    [
        ([EXCLUDED], 999, True, None),
        ([EXCLUDED], 1000, False, None),
        ([EXCLUDED, ReadmitEvent(at=300, node="a", why="cleared")], 301, False, "cleared"),
        ([EXCLUDED, ReadmitEvent(at=300, node="other", why="cleared")], 301, True, None),
    ],
)
def test_exclusions(events, now, in_force, why):
    [exclusion] = summarize(events).exclusions
    assert exclusion.in_force(now) is in_force
    assert exclusion.why_over == why


def test_a_renewed_exclusion_is_a_second_one():
    first, second = summarize([EXCLUDED, replace(EXCLUDED, at=500, until=2000)]).exclusions
    assert (first.over_at, second.over_at) == (500, None)


def test_nodes_over_runs():
    one = summarize([END, EXCLUDED, STARTED])
    two = summarize([replace(END, at=150), NoteEvent(at=151, text="-")])
    summaries = summarize_nodes(
        [*one.node_ends, *two.node_ends],
        [(7, exclusion) for exclusion in one.exclusions],
        [NodeState(name="a", state="DOWN", flags=frozenset({"DRAIN"}), reason="dead")],
        now=500,
    )
    a, b, c = summaries
    assert (a.node, a.attempts, a.failed, a.last_at) == ("a", 2, 2, 150)
    assert (a.state, a.slurm_reason, a.times_excluded) == ("DOWN+DRAIN", "dead", 1)
    assert [(run.job_id, run.until) for run in a.excluded_by] == [(7, 1000)]
    assert [item.text for item in a.evidence] == ["DOWN"]
    assert (b.node, b.ends) == ("b", {"hardware.node": 2, RUNNING: 1})
    assert (c.node, c.attempts, c.failed, c.state) == ("c", 1, 0, None)
