"""The begin time of a job that csx-epilog has requeued is taken back once it is judged."""

import pytest

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.fit_pending import Observation, Plan, plan_pending
from slurm_restart.core.history import replay
from slurm_restart.core.job import Job
from slurm_restart.core.journal_events import Action
from slurm_restart.core.restart_limits import SitePolicy
from slurm_restart.core.slurm_operations import JUDGED_LATER, LATE_BEGIN
from tests.unit.core import facts

NOW = facts.SUBMITTED + 60


def planned(job: Job, *, now: float = NOW) -> Plan:
    """The plan for a job that waits after an end that was judged."""
    last = facts.ended(action=Action.ADJUST, start_at=facts.SUBMITTED, num_nodes=3)
    observation = Observation(
        job=job,
        comment_record=facts.comment_record(),
        nodes=facts.nodes(),
        reserved=None,
        cluster=ClusterFacts(),
        site=SitePolicy(),
        now=now,
    )
    return plan_pending(observation, replay([last]), last)


def late(**changes: object) -> Job:
    values = {"eligible_time": facts.SUBMITTED + LATE_BEGIN, "admin_comment": JUDGED_LATER}
    return facts.pending(**values | changes)


def test_it_starts_now_and_its_admincomment_says_what_was_judged() -> None:
    plan = planned(late())
    assert plan.start == "now"
    assert plan.job_update.admin_comment is not None
    assert JUDGED_LATER not in plan.job_update.admin_comment
    assert plan.job_update.admin_comment.startswith("csx-restart: ")


def test_an_admins_own_text_is_kept() -> None:
    comment = planned(late(admin_comment=f"mine | {JUDGED_LATER}")).job_update.admin_comment
    assert comment is not None
    assert comment.startswith("mine | csx-restart: ")


def test_the_admincomment_stays_until_the_begin_time_is_set() -> None:
    plan = planned(late(), now=facts.SUBMITTED + 1)
    assert (plan.start, plan.job_update.admin_comment) == (None, None)
    assert plan.look_again is not None


@pytest.mark.parametrize(
    "job",
    [
        late(admin_comment=""),
        late(admin_comment="mine"),
        late(eligible_time=facts.SUBMITTED + 2 * LATE_BEGIN),
    ],
)
def test_the_begin_time_of_a_person_stays(job: Job) -> None:
    plan = planned(job)
    assert (plan.start, plan.job_update.admin_comment) == (None, None)
