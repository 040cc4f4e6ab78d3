"""What the ends of a run say for the search for a faulty node."""

from dataclasses import replace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.history import replay
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.journal_events import EndEvent, ExcludeEvent
from slurm_restart.core.node_search import SEARCH_EVIDENCE, NodeSearch
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.search_history import search_nodes
from tests.unit.core import facts


def failure(*nodes: str, **changes: object) -> EndEvent:
    """A short failure without a cause and without progress."""
    return facts.ended(**{"nodes": nodes or ("a", "b"), "run_time": 5} | changes)


def searched(*events: EndEvent | ExcludeEvent, **policy: object) -> NodeSearch:
    numbered = [
        replace(each, attempt=number) if isinstance(each, EndEvent) else each
        for number, each in enumerate(events)
    ]
    return search_nodes(replay(numbered), facts.policy(**policy))


@pytest.mark.parametrize(
    ("end", "failed"),
    [
        (failure(), True),
        (failure(category=Category.SOFTWARE_CRASH), True),
        (failure(category=Category.NUMERIC_NAN), True),
        (failure(category=Category.HANG, run_time=7200), True),
        (failure(run_time=None), None),
        (failure(progress=None, run_time=59), True),
        (failure(progress=None, run_time=60), False),
        (failure(progress=None, run_time=None), None),
        (failure(category=Category.PREEMPTION, progress=None, run_time=60), False),
        (failure(category=Category.PREEMPTION, run_time=7200), None),
        (failure(category=Category.STORAGE_IO), None),
        (failure(category=Category.CODE), None),
        (failure(category=Category.NODE_SEARCH), None),
        (failure(category=Category.NODE_SEARCH, progress=True), False),
        (failure(progress=True), False),
        (failure(category=Category.COMPLETED), False),
    ],
)
def test_an_attempt_failed_or_ran_on_or_says_nothing(end: EndEvent, failed: bool | None) -> None:
    """Before it, one attempt failed on its nodes and one more."""
    left = {True: {"a", "b"}, False: {"c"}, None: {"a", "b", "c"}}[failed]
    assert searched(failure("a", "b", "c"), end).suspects == left


def test_what_is_short_is_the_sites() -> None:
    end = failure("a", progress=None, run_time=100)
    assert searched(end).failures == 0
    assert searched(end, site=SitePolicy(short_attempt=120)).failures == 1


def test_a_failure_that_a_named_node_explains_says_nothing() -> None:
    now = facts.SUBMITTED
    for evidence, failures in (("Slurm: DOWN", 0), (f"{SEARCH_EVIDENCE}…", 1)):
        named = ExcludeEvent(at=now, node="a", until=now + 9, evidence=evidence, submit_time=now)
        assert searched(failure(), named).failures == failures


def test_what_is_older_than_an_exclusion_says_nothing() -> None:
    now = facts.SUBMITTED
    ends = [failure("a", at=now - 100), failure("b", at=now - 99), failure("b", at=now)]
    assert searched(*ends, exclude_for=100).suspects == {"b"}
    assert searched(*ends, exclude_for=101).over


def test_without_a_search_nothing_is_suspected() -> None:
    assert searched(failure(), failure(), node_search=False) == NodeSearch()


@pytest.mark.parametrize(
    ("in_place", "failures"),
    [
        (InPlaceEnds(restarts=1, failures=1), 2),
        (InPlaceEnds(restarts=1, fall_backs=1), 2),
        (InPlaceEnds(restarts=9, failures=9), 2),
        (InPlaceEnds(restarts=1, progress=True), 1),
    ],
)
def test_a_failure_before_in_the_same_allocation_begins_the_search(
    in_place: InPlaceEnds, failures: int
) -> None:
    """They are reported by the job itself, so that they cannot add up."""
    end = failure(in_place=in_place)
    assert searched(end).failures == failures
    assert searched(end, end).failures == failures + 1


@pytest.mark.parametrize(
    ("changes", "at_once"),
    [({}, True), ({"run_time": 60}, False), ({"category": Category.HANG}, False)],
)
def test_what_comes_at_once(changes: dict[str, object], at_once: bool) -> None:
    assert searched(failure(**changes)).at_once is at_once


def test_a_restart_in_place_after_the_same_nan_counts_even_after_progress() -> None:
    in_place = InPlaceEnds(restarts=1, progress=True, same=1)
    end = facts.ended(Category.NUMERIC_NAN, nodes=("a", "b"), run_time=600, in_place=in_place)
    policy = facts.policy()
    assert search_nodes(replay([end]), policy).failures == 2
    other = replace(end, category=Category.HANG)
    assert search_nodes(replay([other]), policy).failures == 1
