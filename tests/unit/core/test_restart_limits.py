"""The limits of a run, and how long a restart waits."""

import pytest

from slurm_restart.core.history import History
from slurm_restart.core.job_comment import Mode
from slurm_restart.core.restart_limits import SitePolicy, granted_policy, policy_for
from tests.unit.core import facts


def test_what_the_comment_record_leaves_open_is_the_sites() -> None:
    site = SitePolicy(stop_on_repeat=5, shrink_after=7, give_up_after=8, exclude_for=9)
    policy = policy_for(facts.comment_record(), site)
    assert (policy.max_restarts, policy.num_nodes, policy.min_nodes) == (3, 3, 2)
    assert (policy.stop_on_repeat, policy.shrink_after) == (5, 7)
    assert (policy.give_up_after, policy.exclude_for) == (8, 9)
    assert not policy.evaluation


def test_what_the_comment_record_asks_for_wins_even_if_0() -> None:
    self_report = facts.comment_record(
        stop_on_repeat=0, shrink_after=0, give_up_after=0, exclude_for=0
    )
    policy = policy_for(self_report, SitePolicy())
    assert (policy.stop_on_repeat, policy.shrink_after) == (0, 0)
    assert (policy.give_up_after, policy.exclude_for) == (0, 0)


@pytest.mark.parametrize(
    ("mode", "evaluation"),
    [("fit", False), ("train_and_eval", False), ("validate", True), ("validate_all", True)],
)
def test_only_a_run_that_trains_can_make_progress(mode: str, evaluation: bool) -> None:
    assert policy_for(facts.comment_record(mode=Mode(mode)), SitePolicy()).evaluation is evaluation


@pytest.mark.parametrize(
    ("restarts", "progress", "run_time", "delay"),
    [
        (0, True, 600, 0),
        (0, True, 5, 0),  # progress within a short attempt needs no brake
        (0, False, 600, 0),
        (0, False, 59, 30),
        (0, False, 60, 0),
        (0, False, None, 0),  # how long it ran is not known
        (1, False, 600, 30),
        (2, False, 600, 120),
        (3, False, 600, 300),
        (4, False, 600, 300),
        (2, False, 5, 120),
        (1, False, 5, 30),
    ],
)
def test_the_wait_before_a_restart(
    restarts: int, progress: bool, run_time: int | None, delay: int
) -> None:
    found = facts.policy().delay(restarts, progress=progress, run_time=run_time)
    assert found == delay


def test_a_site_may_have_no_backoff_at_all() -> None:
    policy = facts.policy(SitePolicy(backoff=(), short_wait=0))
    assert [policy.delay(n, progress=False, run_time=1) for n in range(4)] == [0, 0, 0, 0]


def test_the_wait_after_a_failure_outside_doubles_up_to_a_maximum() -> None:
    policy = facts.policy(SitePolicy(outside_backoff=30, outside_backoff_max=1800))
    waits = [policy.outside_delay(failures) for failures in range(1, 40)]
    full = [min(1800, 30 * 2**n) for n in range(39)]
    assert all(most / 2 <= wait <= most for wait, most in zip(waits, full, strict=True))
    assert len(set(waits)) > 30


def test_that_wait_is_the_same_each_time_and_differs_between_runs() -> None:
    ids = [f"{number:016x}" for number in range(100)]
    policies = [policy_for(facts.comment_record(run=run), SitePolicy()) for run in ids]
    waits = [policy.outside_delay(6) for policy in policies]
    assert waits == [policy.outside_delay(6) for policy in policies]
    assert len(set(waits)) > 80
    assert 480 <= min(waits) < 550
    assert 850 < max(waits) <= 960


def test_tasks_of_an_array_do_not_wait_equally_long() -> None:
    jobs = [facts.job(array_job_id=9, array_task_id=task) for task in range(20)]
    waits = {
        granted_policy(facts.comment_record(), SitePolicy(), History(), job).outside_delay(6)
        for job in jobs
    }
    assert len(waits) > 15
