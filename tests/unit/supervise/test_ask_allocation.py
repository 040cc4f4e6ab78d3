"""What the supervisor learns of its job's allocation when its trainer has ended."""

from dataclasses import replace
from types import SimpleNamespace

import pytest

from slurm_restart.core.job import Job, JobState
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.supervise.ask_allocation import AllocationQuestion
from slurm_restart.supervise.job_environment import JobEnvironment

JOB = Job(job_id=7, uid=1, state=JobState.RUNNING, nodes=("csx1",))


def refuse(_job=None):
    raise SlurmUnavailableError("no answer")


@pytest.mark.parametrize(
    ("answers", "job", "others_wait"),
    [
        ({}, JOB, False),
        ({"others_wait": lambda _: True}, JOB, True),
        # They may, then: a restart in place is as right as it was.
        ({"others_wait": refuse}, JOB, True),
        ({"job": refuse}, None, False),
        ({"nodes": refuse}, None, False),
    ],
)
def test_what_slurm_does_not_say_of_other_jobs_keeps_none_from_starting_in_place(
    run, answers, job, others_wait
):
    known = {"nodes": lambda: (), "job": lambda _: JOB, "others_wait": lambda _: False}
    slurm = SimpleNamespace(**known | answers)
    environment = JobEnvironment(job_id=7, restarts=0, nodes=("csx1",), num_nodes=1)
    question = AllocationQuestion(lambda: slurm, run.plan, environment)
    question.run()
    found = question.allocation(doubt=None)
    assert (found.job, found.others_wait) == (job, others_wait)


@pytest.mark.parametrize("least", [None, 0, 3600])
def test_the_time_that_has_to_be_left_is_the_users_where_it_is_set(run, least):
    policy = replace(run.plan.policy, relaunch_min_time=least)
    environment = JobEnvironment(job_id=None, restarts=0, nodes=("csx1",), num_nodes=1)
    question = AllocationQuestion(refuse, replace(run.plan, policy=policy), environment)
    assert question.allocation(doubt=None).min_time == least
