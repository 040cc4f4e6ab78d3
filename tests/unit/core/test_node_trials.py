"""What the ends of a run say about its nodes."""

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.history import replay
from slurm_restart.core.journal_events import EndEvent, ExcludeEvent
from slurm_restart.core.node_trials import (
    MAX_TRIALS,
    SEARCH_EVIDENCE,
    node_trials,
    run_trials,
    suspected_nodes,
)
from tests.unit.core import facts


def failure(*nodes: str, **changes: object) -> EndEvent:
    """A short failure without a cause."""
    return facts.ended(**{"nodes": nodes, "run_time": 5} | changes)


def success(*nodes: str, **changes: object) -> EndEvent:
    """An attempt that made progress."""
    return failure(*nodes, **{"run_time": 3600, "progress": True} | changes)


def outcomes(*ends: EndEvent, **more: object) -> list[tuple[str, bool]]:
    trials = node_trials(ends, **more)  # type: ignore[arg-type]
    return [("".join(sorted(trial.nodes)), trial.failed) for trial in trials]


BEFORE = failure("a", "b")


@pytest.mark.parametrize(
    ("end", "expected"),
    [
        (failure("a"), True),
        (failure("a", category=Category.SOFTWARE_CRASH), True),
        (failure("a", category=Category.NUMERIC_NAN), True),
        (failure("a", category=Category.HANG, run_time=14), True),
        (failure("a", progress=None, run_time=59), True),
        (failure("a", progress=None, run_time=60), False),
        (failure("a", run_time=14), True),
        (failure("a", run_time=60), False),  # much longer than the failure before it
        (failure("a", category=Category.PREEMPTION, run_time=60), False),
        (failure("a", category=Category.TIMEOUT, run_time=14), None),
        (failure("a", category=Category.STORAGE_IO), None),
        (failure("a", category=Category.CODE), None),
        (failure("a", run_time=None), None),
        (success("a", run_time=2), False),
        (failure("a", category=Category.COMPLETED), False),
    ],
)
def test_an_attempt_fails_runs_on_or_says_nothing(end: EndEvent, expected: bool | None) -> None:
    found = outcomes(BEFORE, end)[1:]
    assert found == ([] if expected is None else [("a", expected)])


def test_a_first_failure_may_come_late_if_it_certainly_made_no_progress() -> None:
    assert outcomes(failure("a", run_time=600)) == [("a", True)]
    assert outcomes(failure("a", run_time=600, progress=None)) == []


def test_what_is_short_is_the_sites() -> None:
    assert outcomes(failure("a", progress=None, run_time=100), short_attempt=120) == [("a", True)]


def test_once_all_nodes_are_cleared_the_failures_are_forgotten() -> None:
    first = failure("a", "b", "c")
    partly = success("b", "c")
    assert outcomes(first, partly) == [("abc", True), ("bc", False)]
    assert outcomes(first, success("a", "b", "c")) == []
    assert outcomes(first, partly, success("a")) == []
    assert outcomes(success("a"), first) == [("abc", True)]


def test_suspected_is_what_has_failed_last() -> None:
    trials = node_trials([failure("a", "b"), success("b", "c"), failure("c", "d")])
    assert suspected_nodes(trials) == {"a", "c", "d"}


def test_a_failure_that_a_named_node_explains_says_nothing() -> None:
    assert outcomes(failure("a", "b"), blamed=("b",)) == []
    assert outcomes(failure("a"), blamed=("b",)) == [("a", True)]


def test_old_ends_and_too_many_are_left_out() -> None:
    now = facts.SUBMITTED
    ends = [failure("a", at=now - 101), failure("b", at=now - 100), failure("c", at=now)]
    assert outcomes(*ends, valid_for=100) == [("b", True), ("c", True)]
    assert len(outcomes(*[failure("a")] * 50)) == MAX_TRIALS


@pytest.mark.parametrize(("evidence", "expected"), [("Slurm: DOWN", 0), (SEARCH_EVIDENCE, 1)])
def test_what_the_search_has_found_stays_evidence(evidence: str, expected: int) -> None:
    now = facts.SUBMITTED
    excluded = ExcludeEvent(at=now, node="a", until=now + 9, evidence=evidence, submit_time=now)
    history = replay([failure("a", "b"), excluded])
    assert len(run_trials(history, facts.policy())) == expected
