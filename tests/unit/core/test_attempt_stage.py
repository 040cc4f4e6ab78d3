"""Where a job is between two attempts, and which attempt has ended, by what Slurm shows."""

from typing import Any

import pytest

from slurm_restart.core.attempt_stage import (
    Stage,
    find_stage,
    restarts_at_start,
    was_cancelled_waiting,
)
from slurm_restart.core.history import History, replay
from slurm_restart.core.job import JobFlag, JobState
from slurm_restart.core.journal_events import StartedEvent
from tests.unit.core import facts
from tests.unit.core.facts import COMPLETING, NODES, SUBMITTED

ENDING = frozenset({COMPLETING})
FINAL = [state for state in JobState if state.is_final]


def judged(restarts: int = 0, **changes: Any) -> History:
    """A journal with the end of the attempt with this index."""
    values = {"restarts": restarts, "attempt": restarts, "nodes": NODES[:3]} | changes
    return replay([facts.ended(**values)])


@pytest.mark.parametrize(
    ("state", "flags", "restarts", "stage", "ended"),
    [
        (JobState.PENDING, frozenset(), 0, Stage.PENDING, None),
        (JobState.PENDING, frozenset(), 3, Stage.PENDING, 2),
        (JobState.PENDING, ENDING, 3, Stage.REQUEUED, 2),
        (JobState.RUNNING, frozenset(), 0, Stage.RUNNING, None),
        (JobState.RUNNING, frozenset(), 3, Stage.RUNNING, 2),
        (JobState.SUSPENDED, frozenset(), 3, Stage.OTHER, None),
        (None, frozenset(), 3, Stage.OTHER, None),
        *((state, frozenset(), 3, Stage.ENDED, 3) for state in FINAL),
        *((state, ENDING, 3, Stage.ENDED, 3) for state in FINAL),
    ],
)
def test_the_stage_by_the_base_state(
    state: JobState | None, flags: frozenset[Any], restarts: int, stage: Stage, ended: int | None
) -> None:
    job = facts.job(state=state, flags=flags, restarts=restarts, nodes=NODES[:3])
    at = find_stage(job, History(), facts.comment_record(ended=False), NODES[:3])
    assert (at.stage, at.ended, at.known) == (stage, ended, None)
    assert at.unjudged is (ended is not None)


@pytest.mark.parametrize(
    ("changes", "expected"),
    [
        ({}, True),
        ({"nodes": NODES[:1]}, False),
        ({"flags": ENDING}, False),
        ({"state": JobState.FAILED}, False),
    ],
)
def test_a_job_that_was_cancelled_while_it_waited_has_no_end_of_its_own(
    changes: dict[str, Any], expected: bool
) -> None:
    job = facts.job(**{"state": JobState.CANCELLED, "restarts": 2} | changes)
    assert was_cancelled_waiting(job, History(), facts.comment_record()) is expected
    at = find_stage(job, History(), facts.comment_record(), ())
    assert at.ended == (1 if expected else 2)


def test_an_end_in_the_journal_is_known_by_its_index() -> None:
    job = facts.pending(restarts=3)
    record = facts.comment_record()
    at = find_stage(job, judged(2), record, ())
    assert (at.known is not None, at.unjudged) == (True, False)
    assert find_stage(job, judged(1), record, ()).unjudged


@pytest.mark.parametrize(
    ("reported", "recorded", "ended", "state", "known"),
    [
        (1, 0, True, JobState.PENDING, False),
        (0, 0, True, JobState.PENDING, True),
        (0, 1, True, JobState.PENDING, True),
        (1, 0, False, JobState.PENDING, True),  # it has not ended
        (1, 0, True, JobState.RUNNING, True),
        (None, 0, True, JobState.PENDING, True),
        (1, None, True, JobState.PENDING, True),
    ],
)
def test_an_attempt_with_the_restart_count_of_the_one_before(
    reported: int | None, recorded: int | None, ended: bool, state: JobState, known: bool
) -> None:
    """slurmctld was killed before it had saved the requeue, and counted the next attempt alike."""
    job = facts.job(state=state, restarts=1, nodes=NODES[:3])
    record = facts.comment_record(attempt=reported, ended=ended)
    at = find_stage(job, judged(0, attempt=recorded), record, ())
    assert (at.known is not None) is known


@pytest.mark.parametrize(
    ("record", "history", "flags", "lost", "known"),
    [
        ({}, History(), frozenset(), True, False),
        ({}, judged(1), frozenset(), True, True),
        ({"ended": False}, judged(1), frozenset(), True, True),
        ({"submit": 1}, judged(1, submit_time=2), frozenset(), True, True),
        ({"attempt": 2}, judged(1), frozenset(), True, False),  # lost twice
        ({"ended": False}, History(), frozenset(), False, False),
        ({"submit": 1}, History(), frozenset(), False, False),
        ({"attempt": 0, "restarts": 0}, judged(0), frozenset(), False, True),
        ({}, judged(1), ENDING, False, False),
    ],
)
def test_a_job_that_waits_for_an_attempt_which_has_ended(
    record: dict[str, Any], history: History, flags: frozenset[Any], lost: bool, known: bool
) -> None:
    """slurmctld was killed before it had saved the start."""
    job = facts.pending(restarts=1, flags=flags)
    report = facts.comment_record(**{"attempt": 1, "restarts": 1} | record)
    at = find_stage(job, history, report, ())
    assert (at.start_lost, at.ended, at.known is not None) == (lost, int(lost), known)


# --- before 24.11: a COMPLETING job has no base state --------------------------------------------


@pytest.mark.parametrize(
    ("restarts", "history", "record", "nodes", "expected"),
    [
        # The end is not in the journal: requeued if the count has grown since the start.
        (0, History(), {}, NODES[:3], (Stage.ENDED, 0, False)),
        (1, History(), {}, NODES[:3], (Stage.REQUEUED, 0, False)),
        (1, History(), {"submit": 1}, NODES[:3], (Stage.REQUEUED, 0, False)),
        (4, History(), {"restarts": 4}, NODES[:3], (Stage.ENDED, 4, False)),
        # It is, and the job is requeued or not.
        (0, judged(0), {}, NODES[:3], (Stage.ENDED, 0, True)),
        (1, judged(0), {}, NODES[:3], (Stage.REQUEUED, 0, True)),
        # Slurm releases the nodes of a COMPLETING job one by one.
        (1, judged(0), {}, NODES[:2], (Stage.REQUEUED, 0, True)),
        (1, judged(0), {}, (), (Stage.REQUEUED, 0, True)),
        # Another SubmitTime, another attempt's report or other nodes show a later attempt.
        (1, judged(0, submit_time=1), {"submit": 1}, NODES[:3], (Stage.ENDED, 1, False)),
        (1, judged(0), {"attempt": 1, "restarts": 1}, NODES[:3], (Stage.ENDED, 1, False)),
        (1, judged(0), {"submit": 1}, NODES[1:], (Stage.ENDED, 1, False)),
        (2, judged(0), {"submit": 1}, NODES[1:], (Stage.REQUEUED, 1, False)),
    ],
)
def test_the_stage_without_a_base_state(
    restarts: int,
    history: History,
    record: dict[str, Any],
    nodes: tuple[str, ...],
    expected: tuple[Stage, int, bool],
) -> None:
    for state in (None, JobState.RUNNING):
        job = facts.job(state=state, flags=ENDING, restarts=restarts)
        at = find_stage(job, history, facts.comment_record(**record), nodes)
        assert (at.stage, at.ended, at.known is not None) == expected


STARTED = StartedEvent(at=1, restarts=5, submit_time=SUBMITTED, nodes=NODES[:3])


@pytest.mark.parametrize(
    ("record", "history", "expected"),
    [
        ({"restarts": 4}, History(), 4),
        ({"restarts": None}, History(), 0),
        ({"restarts": None}, judged(2), 3),
        ({"restarts": 9, "submit": 1}, judged(2), 3),  # of another attempt
        ({"restarts": None}, replay([STARTED]), 5),
        ({"restarts": 4}, replay([STARTED]), 4),
        ({"restarts": None, "submit": 1}, replay([STARTED, facts.ended(restarts=7)]), 5),
    ],
)
def test_slurms_restart_count_when_the_attempt_began(
    record: dict[str, Any], history: History, expected: int
) -> None:
    found = restarts_at_start(facts.job(), history, facts.comment_record(**record))
    assert found == expected


def test_a_job_cancelled_before_its_next_attempt_has_no_new_end() -> None:
    # Cancelled between the requeue and the end of COMPLETING, it keeps the nodes of before.
    job = facts.job(state=JobState.CANCELLED, restarts=1, nodes=NODES[:3], submit_time=SUBMITTED)
    before = replay([facts.ended()])
    assert find_stage(job, before, facts.comment_record(), ()).known == facts.ended()
    reported = facts.comment_record(attempt=1, restarts=1)
    assert find_stage(job, before, reported, ()).unjudged
    started = StartedEvent(at=1, restarts=1, submit_time=SUBMITTED, nodes=NODES[:3])
    assert find_stage(job, replay([started], before), facts.comment_record(), ()).unjudged


@pytest.mark.parametrize("flag", [JobFlag.SPECIAL_EXIT, JobFlag.REQUEUE_HOLD])
def test_a_job_that_is_requeued_and_held_is_pending(flag: JobFlag) -> None:
    job = facts.job(state=None, flags=frozenset({flag}), restarts=1, priority=0)
    at = find_stage(job, History(), facts.comment_record(), ())
    assert (at.stage, at.ended, job.held) == (Stage.PENDING, 0, True)
