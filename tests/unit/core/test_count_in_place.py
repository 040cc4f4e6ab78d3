"""The counters of restarts in place say what the ends themselves would have said."""

from dataclasses import replace
from itertools import groupby

import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.core.category import Category
from slurm_restart.core.count_in_place import count_in_place
from slurm_restart.core.decision import decide
from slurm_restart.core.history import replay
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.journal_events import EndEvent
from slurm_restart.core.judge_end import judge_end
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.situation import Progress, Situation
from tests.unit.core import facts
from tests.unit.core.facts import SUBMITTED

ROOTS = ("0" * 8, "1" * 8)
Drawn = tuple[Category, str, bool, bool]


def events(drawn: list[Drawn]) -> list[EndEvent]:
    """One end for each attempt, in order; those in place have the restart count of their start."""
    found, start, step = [], 0, 0
    for attempt, (category, root, progress, in_place) in enumerate(drawn):
        step += 10 * progress
        found.append(
            facts.ended(
                category,
                attempt=attempt,
                submit_time=SUBMITTED - 1000 + start,
                restarts=start,
                root=root,
                progress=progress,
                from_step=step - 10 * progress,
                step=step,
            )
        )
        start += not in_place
    return found


def journal(ends: list[EndEvent]) -> list[EndEvent]:
    """The same with one end for each start of the job, as the hook writes it."""
    found = []
    for _, group in groupby(ends, key=lambda end: end.restarts):
        *before, last = group
        counted = count_in_place(before, cause=last.category, root=last.root, step=last.step)
        found.append(replace(last, in_place=counted if before else None))
    return found


@given(
    drawn=st.lists(
        st.tuples(
            st.sampled_from([Category.UNKNOWN, Category.NUMERIC_NAN, Category.DATA_CORRUPT]),
            st.sampled_from(ROOTS),
            st.booleans(),
            st.booleans(),
        ),
        min_size=1,
        max_size=9,
    ),
    most=st.integers(0, 6),
    cap=st.integers(1, 9),
    repeats=st.integers(0, 4),
)
def test_the_hook_decides_as_if_it_had_seen_each_end(
    drawn: list[Drawn], most: int, cap: int, repeats: int
) -> None:
    ends = events(drawn)
    site = SitePolicy(max_total_restarts=cap, stop_on_repeat=repeats)
    policy = facts.policy(site, max_restarts=most)
    grouped = journal(ends)
    last = ends[-1]

    def judged(before: list[EndEvent], in_place: InPlaceEnds) -> tuple[object, ...]:
        situation = Situation(
            attribution=facts.attribution(last.category, root_hash=last.root),
            progress=Progress(
                made=last.progress, attempt=last.attempt, from_step=last.from_step, step=last.step
            ),
            policy=policy,
            history=replay(before),
            restarts=last.restarts,
            run_time=600,
            in_place=in_place,
        )
        decision = decide(situation)
        return decision.action, decision.rule, decision.failures, decision.total

    seen_all = judged(ends[:-1], InPlaceEnds())
    assert judged(grouped[:-1], grouped[-1].in_place or InPlaceEnds()) == seen_all


def test_a_fall_back_in_place_counts_as_others() -> None:
    ends = [facts.ended(fall_back=True), facts.ended(attempt=1)]
    counted = count_in_place(ends)
    assert counted == InPlaceEnds(restarts=2, failures=2, fall_backs=1)
    after = count_in_place([*ends, facts.ended(attempt=2, progress=True)])
    assert after == InPlaceEnds(restarts=3, progress=True)


def test_the_time_in_the_allocation_is_that_from_the_first_start_to_the_last_end() -> None:
    ends = [facts.ended(at=1000, run_time=100), facts.ended(at=1500, run_time=400)]
    assert count_in_place(ends).seconds == 600
    # Of one without records nothing is known.
    assert count_in_place([facts.ended(at=0, run_time=None), *ends]).seconds == 600
    assert count_in_place([facts.ended(at=0, run_time=None)]).seconds == 0


@pytest.mark.parametrize(("before", "ran"), [(0, 700), (600, 100), (10_000, 0)])
def test_an_attempt_that_was_started_later_in_its_job_has_run_for_less(
    before: int, ran: int
) -> None:
    record = facts.comment_record(attempt=2, in_place=2, in_place_seconds=before)
    case = facts.case(comment_record=record)
    [event] = judge_end(replace(case, end=replace(case.end, run_time=700))).events
    assert isinstance(event, EndEvent)
    assert event.run_time == ran


def test_progress_that_is_not_known_is_none() -> None:
    assert count_in_place([facts.ended(progress=None)]).failures == 1


def test_the_hook_adds_what_the_record_says() -> None:
    record = facts.comment_record(attempt=2, in_place=2, in_place_failures=2, max_restarts=2)
    judgement = judge_end(facts.case(comment_record=record))
    assert (judgement.decision.rule, judgement.decision.failures) == ("budget", 3)
    [event] = judgement.events
    assert isinstance(event, EndEvent)
    assert event.in_place == InPlaceEnds(restarts=2, failures=2)
    # The record of an earlier start of the job says nothing of this one.
    other = replace(record, submit=SUBMITTED - 1)
    assert judge_end(facts.case(comment_record=other)).decision.total == 1


@given(
    restarts=st.integers(0, 200),
    failures=st.integers(0, 200),
    progress=st.booleans(),
    fall_backs=st.integers(0, 3),
    same=st.integers(0, 200),
    before=st.integers(0, 120),
)
def test_restarts_in_place_only_add_to_the_counters(
    restarts: int, failures: int, progress: bool, fall_backs: int, same: int, before: int
) -> None:
    claimed = InPlaceEnds(
        restarts=restarts, failures=failures, progress=progress, fall_backs=fall_backs, same=same
    )
    # Slurm has counted the starts of the job, whatever the record says.
    history = facts.attempts(before)
    decision = decide(
        facts.situation(Category.UNKNOWN, history, made=True, restarts=before, in_place=claimed)
    )
    alone = decide(facts.situation(Category.UNKNOWN, history, made=True, restarts=before))
    assert decision.total >= alone.total
    if alone.rule == "total-cap":
        assert decision.rule == "total-cap"
