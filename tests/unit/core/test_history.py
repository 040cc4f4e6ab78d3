"""The history of a run: a replay of its journal, whether in one part or several."""

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.category import Category
from slurm_restart.core.exclusions import EXPIRED
from slurm_restart.core.history import History, Intended, Streak, replay, streak
from slurm_restart.core.journal_events import (
    CLEARED,
    Action,
    AppliedEvent,
    EndEvent,
    Event,
    ExcludeEvent,
    FinalEvent,
    IntendEvent,
    NoteEvent,
    OutcomeEvent,
    ReadmitEvent,
    StaleRunningEvent,
    StartedEvent,
)
from tests.unit.core import facts


@pytest.mark.parametrize(
    ("action", "acts", "restarts"),
    [
        (Action.REQUEUE, True, True),
        (Action.ADJUST, True, True),
        (Action.RELEASE, True, True),
        (Action.CANCEL, True, False),
        (Action.LEAVE, False, False),
    ],
)
def test_what_an_action_means(action: Action, acts: bool, restarts: bool) -> None:
    assert (action.acts, action.restarts) == (acts, restarts)


INDEXED = replay(
    [
        facts.ended(attempt=0, submit_time=10),
        facts.ended(attempt=None, submit_time=10, restarts=2, requeued=True),
        facts.ended(attempt=None, submit_time=20, restarts=2),
    ]
)


@pytest.mark.parametrize(("index", "submit_time"), [(0, 10), (1, 10), (2, 20), (3, None)])
def test_an_end_is_found_by_slurms_restart_count(index: int, submit_time: int | None) -> None:
    end = INDEXED.end_of(index)
    assert (None if end is None else end.submit_time) == submit_time
    assert len(INDEXED.ends) == 3


def test_a_second_decision_about_an_end_replaces_the_first() -> None:
    history = replay([facts.ended(), facts.ended(attempt=1), facts.ended(action=Action.LEAVE)])
    assert [(end.attempt, end.action) for end in history.ends] == [
        (1, Action.REQUEUE),
        (0, Action.LEAVE),
    ]


def test_only_what_counts_is_counted_against_the_cap() -> None:
    categories = [
        Category.UNKNOWN,
        Category.PREEMPTION,
        Category.REQUEUED,
        Category.PROLOG_FAILED,
        Category.TIMEOUT,
    ]
    history = replay(facts.ended(one, attempt=n) for n, one in enumerate(categories))
    last = replay([facts.ended(Category.UNKNOWN, attempt=9, action=Action.LEAVE)], history)
    assert (last.total_restarts(), last.uncounted_restarts()) == (3, 2)


def excluded(node: str, at: int, until: int) -> ExcludeEvent:
    return ExcludeEvent(at=at, node=node, until=until, evidence="e", submit_time=1)


def test_exclusions_begin_run_out_are_renewed_and_end() -> None:
    history = replay([excluded("a", 1, 10), excluded("b", 2, 20), excluded("a", 3, 30)])
    assert [one.node for one in history.excluded(9)] == ["b", "a"]  # the oldest first
    assert [one.node for one in history.excluded(20)] == ["a"]
    after = replay([ReadmitEvent(at=9, node="a", why="")], history)
    assert [one.node for one in after.excluded(9)] == ["b"]
    assert (after.readmitted_since(9), after.readmitted_since(10)) == ({"a"}, set())


def test_every_value_ever_intended_is_known_as_own() -> None:
    first = IntendEvent(
        at=1, submit_time=5, operations=(), exc_nodes=("a",), num_nodes=3, start_time=7
    )
    second = IntendEvent(at=2, submit_time=5, operations=(), exc_nodes=("b",), num_nodes=2)
    former = AppliedEvent(at=3, exc_nodes=("c",), num_nodes=4, start_time=9)
    found = replay([first, second, former])
    assert found.intended == Intended(
        exc_nodes=frozenset("abc"), sizes=frozenset({2, 3, 4}), starts=frozenset({7, 9})
    )
    assert found.last_intent == second
    # An expired exclusion stays this plugin's to remove; a cleared one is the person's.
    expired = replay([ReadmitEvent(at=4, node="a", why=EXPIRED)], found)
    assert expired.intended.exc_nodes == frozenset("abc")
    cleared = replay([ReadmitEvent(at=4, node="c", why=CLEARED)], found)
    assert cleared.intended.exc_nodes == frozenset("ab")
    assert cleared.applied.exc_nodes == ()


def test_the_last_refusal_is_known_until_a_success() -> None:
    refused = OutcomeEvent(at=2, submit_time=5, attempt=0, done=(), failed="busy")
    done = OutcomeEvent(at=3, submit_time=5, attempt=0, done=("requeue",))
    assert replay([refused]).refused == ("busy",)
    assert replay([refused, done]).refused == ()


def test_values_that_an_event_does_not_apply_stay_as_they_were() -> None:
    applied = replay(
        [
            AppliedEvent(at=1, exc_nodes=("a",), num_nodes=3, start_time=5, held=True),
            AppliedEvent(at=2, held=False),
            AppliedEvent(at=3, exc_nodes=()),
        ]
    ).applied
    assert applied == AppliedEvent(at=3, exc_nodes=(), num_nodes=3, start_time=5, held=False)


def test_an_end_ends_every_hold() -> None:
    held = [AppliedEvent(at=1, num_nodes=3, held=True), facts.ended()]
    assert replay(held).applied == AppliedEvent(at=0, num_nodes=3, held=None)
    assert replay([*held, AppliedEvent(at=2, held=True)]).applied.held is True


def ends(*rows: tuple[Category, bool | None]) -> tuple[EndEvent, ...]:
    return tuple(
        facts.ended(category, progress=made, attempt=n, from_step=None)
        for n, (category, made) in enumerate(rows)
    )


X, PREEMPTED = Category.UNKNOWN, Category.PREEMPTION


@pytest.mark.parametrize(
    ("rows", "expected"),
    [
        ([], (0, 0)),
        ([(X, False)], (1, 1)),
        ([(X, False), (X, False)], (2, 2)),
        ([(X, False), (X, True)], (0, 1)),
        ([(X, True), (X, False)], (1, 2)),
        ([(X, None)], (0, 1)),
        ([(X, False), (X, None), (X, False)], (2, 3)),
        # A preemption neither counts nor hides what came before, but its progress does.
        ([(X, False), (PREEMPTED, False), (X, False)], (2, 2)),
        ([(X, False), (PREEMPTED, True), (X, False)], (1, 1)),
    ],
)
def test_the_streak(rows: list[tuple[Category, bool | None]], expected: tuple[int, int]) -> None:
    found = streak(ends(*rows), next_from_step=None)
    assert (found.failures, found.restarts) == expected


@pytest.mark.parametrize(
    ("began", "next_began", "failures"),
    [(0, 0, 1), (0, 100, 0), (100, 50, 1), (None, 100, 0), (0, None, 0)],
)
def test_unknown_progress_follows_from_the_step_of_the_next_start(
    began: int | None, next_began: int | None, failures: int
) -> None:
    unknown = facts.ended(progress=None, from_step=began)
    assert streak([unknown], next_from_step=next_began).failures == failures
    following = facts.ended(attempt=1, progress=True, from_step=next_began)
    assert streak([unknown, following], next_from_step=None) == Streak(failures=0, restarts=1)


INTS = st.integers(0, 50)
ATTEMPTS = st.none() | st.integers(0, 5)
NODES = st.sampled_from(["a", "b", "c"])
SOME = st.none() | st.lists(NODES, max_size=3).map(tuple)
EVENTS: st.SearchStrategy[Event] = st.one_of(
    st.builds(
        facts.ended,
        st.sampled_from(Category),
        at=INTS,
        submit_time=INTS,
        attempt=ATTEMPTS,
        action=st.sampled_from(Action),
        requeued=st.booleans(),
        restarts=INTS,
        progress=st.none() | st.booleans(),
        from_step=st.none() | INTS,
        step=st.none() | INTS,
    ),
    st.builds(
        ExcludeEvent, at=INTS, node=NODES, until=INTS, evidence=st.just("e"), submit_time=INTS
    ),
    st.builds(ReadmitEvent, at=INTS, node=NODES, why=st.sampled_from([CLEARED, EXPIRED])),
    st.builds(
        IntendEvent,
        at=INTS,
        submit_time=INTS,
        attempt=ATTEMPTS,
        operations=st.just(()),
        exc_nodes=SOME,
        num_nodes=st.none() | INTS,
        start_time=st.none() | INTS,
    ),
    st.builds(
        OutcomeEvent,
        at=INTS,
        submit_time=INTS,
        attempt=ATTEMPTS,
        done=st.just(()),
        failed=st.none() | st.just("no"),
    ),
    st.builds(
        AppliedEvent,
        at=INTS,
        exc_nodes=SOME,
        num_nodes=st.none() | INTS,
        start_time=st.none() | INTS,
        held=st.none() | st.booleans(),
    ),
    st.builds(NoteEvent, at=INTS, text=st.just("n")),
    st.builds(StaleRunningEvent, at=INTS, submit_time=INTS, attempt=ATTEMPTS),
    st.builds(StartedEvent, at=INTS, restarts=INTS, submit_time=INTS, nodes=st.just(("a",))),
    st.builds(FinalEvent, at=INTS, restarts=INTS, submit_time=INTS, state=st.just("FAILED")),
)


@given(events=st.lists(EVENTS, max_size=12), cut=st.integers(0, 12))
def test_a_replay_may_be_interrupted_anywhere(events: list[Event], cut: int) -> None:
    whole = replay(events)
    assert replay(events[cut:], replay(events[:cut])) == whole
    assert len({(*end.key, end.index) for end in whole.ends}) == len(whole.ends)
    assert len({one.node for one in whole.exclusions}) == len(whole.exclusions)


@given(events=st.lists(EVENTS, max_size=12), start=st.none() | INTS)
def test_a_streak_is_never_negative_nor_longer_than_the_history(
    events: list[Event], start: int | None
) -> None:
    history: History = replay(events)
    found = streak(history.ends, next_from_step=start)
    assert 0 <= found.failures <= found.restarts <= len(history.ends)
