"""What happens to a run next, as `csx-restart status` says it."""

from dataclasses import replace

import pytest

from slurm_restart.core.history import replay
from slurm_restart.core.in_place_ends import InPlaceEnds
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.next_action import next_action
from slurm_restart.core.run_counters import RunCounters, count_now
from tests.unit.core.test_run_summary import DONE, END

RECORD = CommentRecord(run="0" * 16, max_restarts=1, num_nodes=1, min_nodes=1)
FAILED = replay([END])


def job(state: JobState, **fields) -> Job:
    return Job(job_id=7, uid=1, state=state, **fields)


@pytest.mark.parametrize(
    ("shown", "history", "text", "at"),
    [
        (None, None, "nothing: the run has ended", None),
        (None, replay([DONE]), "nothing: the run has ended: completed", None),
        (job(JobState.FAILED), replay([replace(END, observed=True)]), "only observes", None),
        (
            job(JobState.FAILED, flags=frozenset({JobFlag.COMPLETING})),
            None,
            "the controller judges",
            None,
        ),
        (job(JobState.PENDING, priority=0), None, "released (scontrol release 7)", None),
        (job(JobState.PENDING, reason="Dependency"), None, "after the jobs", None),
        (job(JobState.PENDING, eligible_time=200), None, "the first attempt starts, not", 200),
        (job(JobState.PENDING, eligible_time=90, restarts=1), FAILED, "the next attempt", None),
        (job(JobState.PENDING, reason="Resources"), None, "the nodes for it (Resources)", None),
        (job(JobState.RUNNING), None, "if it fails, the controller decides", None),
        (job(JobState.RUNNING), replay([]), "restarted: 1 more in a row", None),
        (job(JobState.RUNNING), FAILED, "fails without progress, the run ends", None),
        (job(JobState.RUNNING, start_time=50, time_limit=60), FAILED, "its time limit", 110),
        (job(JobState.SUSPENDED), FAILED, "until Slurm lets the job go on", None),
    ],
)
def test_next(shown, history, text, at):
    found = next_action(shown, RECORD, history, now=100.0)
    assert text in found.text
    assert found.at == at


def test_a_job_without_a_record_is_not_restarted():
    assert "not managed" in next_action(job(JobState.RUNNING), None, None, now=1.0).text


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (job(JobState.RUNNING), "if it fails, the controller does nothing: the site only observes"),
        (
            job(JobState.RUNNING, start_time=50, time_limit=60),
            "the site only observes (mode = observe); its time limit",
        ),
        (job(JobState.FAILED, flags=frozenset({JobFlag.COMPLETING})), "and does nothing: the site"),
        (job(JobState.PENDING, reason="Resources"), "the nodes for it (Resources)"),
    ],
)
def test_observe_mode_promises_no_restart(shown, text):
    found = next_action(shown, RECORD, FAILED, now=100.0, observes=True)
    assert text in found.text
    assert "restarted" not in found.text


def test_a_run_that_a_person_ends_is_promised_no_restart():
    found = next_action(job(JobState.RUNNING), replace(RECORD, stop=0), replay([]), now=1.0)
    assert found.text.startswith("the run ends with this attempt")


def test_restarts_in_the_present_allocation_are_counted_once():
    """Those before the end that is judged last are in the journal, with their end."""
    running = job(JobState.RUNNING)
    record = replace(RECORD, max_restarts=3, attempt=2, in_place=2, in_place_failures=2)
    assert "1 more in a row" in next_action(running, record, replay([]), now=1.0).text
    assert count_now(replay([]), record) == RunCounters(failures=2, in_place=2)
    judged = replace(END, attempt=2, in_place=InPlaceEnds(restarts=2, failures=2))
    assert count_now(replay([judged]), record) == RunCounters(failures=3, in_place=2)
    anew = replace(record, attempt=4, in_place=1, in_place_failures=1)
    assert count_now(replay([judged]), anew) == RunCounters(failures=4, in_place=3)
