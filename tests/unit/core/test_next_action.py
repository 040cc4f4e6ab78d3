"""What happens to a run next, as `csx-restart status` says it."""

from dataclasses import replace

import pytest

from slurm_restart.core.history import replay
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.next_action import next_action
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
