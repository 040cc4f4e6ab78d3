"""The restarts of a run, from its journal, its run directory and its job's comment record."""

from dataclasses import replace

import pytest

from slurm_restart.core.category import Category
from slurm_restart.core.history import replay
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.job import Job, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.run_counters import OwnAttempts, RunCounters, count_now
from tests.unit.core.test_run_summary import END

RECORD = CommentRecord(run="0" * 16, max_restarts=9, num_nodes=1, min_nodes=1, attempt=0)
RUNS = Job(job_id=7, uid=1, state=JobState.RUNNING)


def counters(failures: int | None, in_place: int) -> RunCounters:
    return RunCounters(failures=failures, in_place=in_place)


def ends(*numbers: int, restarts: int = 0, **fields):
    return tuple(replace(END, attempt=each, restarts=restarts, **fields) for each in numbers)


def journal(*judged):
    return replay(replace(end, submit_time=place) for place, end in enumerate(judged))


def test_restarts_in_the_present_allocation_are_counted_once():
    """Those before the end that is judged last are in the journal, with their end."""
    record = replace(RECORD, attempt=2, in_place=2, in_place_failures=2)
    assert count_now(RUNS, replay([]), record, None) == counters(2, 2)
    judged = replace(END, attempt=2, in_place=InPlaceEnds(restarts=2, failures=2))
    assert count_now(RUNS, replay([judged]), record, None) == counters(3, 2)
    anew = replace(record, attempt=4, in_place=1, in_place_failures=1)
    assert count_now(RUNS, replay([judged]), anew, None) == counters(4, 3)


def test_without_a_journal_the_run_directory_counts():
    own = OwnAttempts(ends=ends(0, 1, 2), in_place=(1, 2, 3), to_exceed=30, restarts=0)
    assert count_now(RUNS, None, None, own) == counters(3, 3)
    # A journal that the reconciler has begun holds no end yet; the Comment may be late.
    assert count_now(RUNS, replay([]), RECORD, own) == counters(3, 3)


def test_progress_begins_the_count_anew():
    own = OwnAttempts(ends=(*ends(0, 1, progress=True), *ends(2)), in_place=(1, 2, 3))
    assert count_now(RUNS, None, RECORD, own) == counters(1, 3)
    # Where it was not known at the end, the start of the next attempt tells it.
    unknown = OwnAttempts(ends=ends(0, progress=None, from_step=10), in_place=(1,), to_exceed=20)
    assert count_now(RUNS, None, RECORD, unknown) == counters(0, 1)


def test_the_run_directory_counts_what_is_later_than_the_journal():
    judged = replace(END, attempt=2, restarts=0, in_place=InPlaceEnds(restarts=2, failures=2))
    own = OwnAttempts(
        ends=(*ends(0, 1, 2), *ends(3, 4, restarts=1)), in_place=(1, 2, 4, 5), to_exceed=30
    )
    assert count_now(RUNS, journal(judged), RECORD, own) == counters(5, 4)


def test_the_judgement_of_the_journal_counts():
    """What the supervisor took for a failure was a preemption."""
    judged = ends(0, category=Category.PREEMPTION)[0]
    assert count_now(RUNS, journal(judged), RECORD, OwnAttempts(ends=ends(0))) == counters(0, 0)


@pytest.mark.parametrize(("restarts", "failures"), [(0, 1), (1, 2)])
def test_an_end_without_a_number_is_known_by_slurms_count(restarts, failures):
    judged = replace(END, attempt=None, restarts=1, requeued=True)
    own = OwnAttempts(ends=ends(0, restarts=restarts))
    assert count_now(RUNS, journal(judged), RECORD, own) == counters(failures, 0)


@pytest.mark.parametrize("own", [None, OwnAttempts(ends=ends(0)), OwnAttempts()])
@pytest.mark.parametrize("history", [None, replay([])])
def test_a_job_that_takes_up_a_run_goes_on_counting(own, history):
    record = replace(RECORD, prior_failures=2)
    expected = 2 if own is None else 2 + len(own.ends)
    assert count_now(RUNS, history, record, own) == counters(expected, 0)


@pytest.mark.parametrize(
    ("job", "record", "expected"),
    [
        (RUNS, replace(RECORD, in_place=5, in_place_failures=2), counters(2, 5)),
        (replace(RUNS, state=JobState.PENDING), replace(RECORD, attempt=None), counters(0, 0)),
        # The record has no count of the last end,
        (replace(RUNS, state=JobState.FAILED), replace(RECORD, in_place=1), counters(None, 1)),
        # nor of an earlier allocation; the number of the attempt tells how many there were.
        (replace(RUNS, restarts=1), replace(RECORD, in_place=1, attempt=4), counters(None, 3)),
        (
            replace(RUNS, restarts=1),
            replace(RECORD, in_place=1, attempt=4, prior_total=2),
            counters(None, 1),
        ),
        (replace(RUNS, restarts=2), replace(RECORD, attempt=1), counters(None, 0)),
        (RUNS, None, None),
        (None, None, None),
    ],
)
def test_the_comment_alone_tells_of_the_first_allocation(job, record, expected):
    assert count_now(job, None, record, None) == expected
