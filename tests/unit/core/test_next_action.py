"""What happens to a run next, as `csx-restart status` says it."""

from dataclasses import replace

import pytest

from slurm_restart.core.history import replay
from slurm_restart.core.job import Job, JobFlag, JobState
from slurm_restart.core.job_comment import CommentRecord
from slurm_restart.core.next_action import Restarts, next_action
from slurm_restart.core.recovery import Recovery
from slurm_restart.core.run_counters import RunCounters
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
        (job(JobState.RUNNING), None, "restarted: 1 more in a row", None),
        (job(JobState.RUNNING, start_time=50, time_limit=60), FAILED, "its time limit", 110),
        (job(JobState.SUSPENDED), FAILED, "until Slurm lets the job go on", None),
    ],
)
def test_next(shown, history, text, at):
    restarts = Restarts(counters=RunCounters(failures=0, in_place=0))
    found = next_action(shown, RECORD, history, restarts, now=100.0)
    assert text in found.text
    assert found.at == at


@pytest.mark.parametrize(
    ("history", "text"),
    [
        (None, "the run has ended: by the run directory"),
        (replay([DONE]), "the run has ended: completed"),
        # Cancelled while it waited for its next attempt.
        (FAILED, "the run has ended"),
    ],
)
def test_why_the_run_has_ended(history, text):
    restarts = Restarts(ended=None if history is FAILED else "by the run directory")
    state = JobState.CANCELLED if history is FAILED else JobState.FAILED
    found = next_action(job(state), RECORD, history, restarts, now=1.0)
    assert found.text == f"nothing: {text}"


def test_an_end_that_nobody_has_decided_is_told_as_slurm_shows_it():
    """The shell of the batch script was killed, where no hook judges ends."""
    killed = job(JobState.FAILED, reason="JobLaunchFailure", signal=9)
    assert next_action(killed, RECORD, None, Restarts(), now=1.0).text == (
        "nothing: the run has ended: Slurm shows FAILED, JobLaunchFailure, signal 9"
    )


def test_a_job_without_a_record_is_not_restarted():
    assert "not managed" in next_action(job(JobState.RUNNING), None, None, Restarts(), now=1.0).text


@pytest.mark.parametrize(
    ("shown", "text"),
    [
        (job(JobState.RUNNING), "if it fails, nobody requeues it: the site only observes"),
        (
            job(JobState.RUNNING, start_time=50, time_limit=60),
            "the site only observes (mode = observe); its time limit",
        ),
        (job(JobState.FAILED, flags=frozenset({JobFlag.COMPLETING})), "and does nothing: the site"),
        (job(JobState.PENDING, reason="Resources"), "the nodes for it (Resources)"),
    ],
)
def test_observe_mode_promises_no_restart(shown, text):
    found = next_action(shown, RECORD, FAILED, Restarts(observes=True), now=100.0)
    assert text in found.text
    assert "restarted" not in found.text


def test_a_run_that_a_person_ends_is_promised_no_restart():
    found = next_action(job(JobState.RUNNING), replace(RECORD, stop=0), None, Restarts(), now=1.0)
    assert found.text.startswith("the run ends with this attempt")


HOOK, OWN = RECORD, replace(RECORD, self_requeue=True)
KNOWN = RunCounters(failures=1, in_place=4)
IN_PLACE = "its supervisor restarts it in place"


@pytest.mark.parametrize(
    ("record", "restarts", "text"),
    [
        (HOOK, Restarts(), "it is restarted"),
        (OWN, Restarts(), "its supervisor restarts it"),
        (HOOK, Restarts(recovery=Recovery.REQUEUE), "the hook requeues the job"),
        (OWN, Restarts(recovery=Recovery.REQUEUE), "its supervisor requeues the job"),
        (HOOK, Restarts(recovery=Recovery.AUTO), f"{IN_PLACE}, or else the hook requeues it"),
        (OWN, Restarts(recovery=Recovery.AUTO), f"{IN_PLACE}, or else requeues the job"),
        # It has been decided at submission: a hook that comes or goes later changes nothing.
        (
            OWN,
            Restarts(recovery=Recovery.AUTO, has_hook=False, observes=True),
            f"{IN_PLACE}, or else requeues the job",
        ),
        (
            HOOK,
            Restarts(recovery=Recovery.IN_PLACE),
            f"{IN_PLACE} if that is right, else the run ends (recovery: in-place)",
        ),
        (
            HOOK,
            Restarts(recovery=Recovery.AUTO, observes=True),
            f"{IN_PLACE} if that is right, else the run ends (the site only observes (mode",
        ),
        (
            HOOK,
            Restarts(recovery=Recovery.AUTO, has_hook=False),
            f"{IN_PLACE} if that is right, else the run ends (no hook: EpilogSlurmctld is not set)",
        ),
    ],
)
def test_who_restarts_a_run_that_fails(record, restarts, text):
    allowed = replace(record, max_restarts=3)

    def told(counters: RunCounters | None) -> str:
        given = replace(restarts, counters=counters)
        return next_action(job(JobState.RUNNING), allowed, None, given, now=1.0).text

    assert told(KNOWN).startswith(f"if it fails, {text}")
    assert told(KNOWN).endswith(": 2 more in a row without progress")
    assert told(None).endswith(": at most 3 in a row without progress")
    assert told(replace(KNOWN, failures=None)) == told(None)
    assert told(replace(KNOWN, failures=3)) == "if it fails without progress, the run ends"


@pytest.mark.parametrize(("recovery", "verb"), [(None, "requeues"), (Recovery.REQUEUE, "restarts")])
def test_nobody_restarts_a_job_without_hook_that_does_not_requeue_itself(recovery, verb):
    restarts = Restarts(recovery=recovery, has_hook=False, counters=KNOWN)
    found = next_action(job(JobState.RUNNING), HOOK, None, restarts, now=1.0)
    nobody = f"nobody {verb} it: no hook: EpilogSlurmctld is not set; if it loses a node, Slurm"
    assert found.text.startswith(f"if it fails, {nobody}")
    observes = Restarts(recovery=recovery, observes=True)
    found = next_action(job(JobState.RUNNING), HOOK, None, observes, now=1.0)
    assert found.text == f"if it fails, nobody {verb} it: the site only observes (mode = observe)"


@pytest.mark.parametrize(
    ("record", "has_hook", "text"),
    [
        (HOOK, True, "the controller judges the end of this attempt"),
        (OWN, False, "its supervisor decides whether another one follows"),
        (HOOK, False, "nobody but Slurm itself requeues the job (no hook"),
        (None, True, "the controller judges the end of this attempt"),
    ],
)
def test_who_judges_the_end_that_is_being_completed(record, has_hook, text):
    ends = job(JobState.FAILED, flags=frozenset({JobFlag.COMPLETING}))
    found = next_action(ends, record, None, Restarts(has_hook=has_hook), now=1.0)
    assert text in found.text
