"""Submissions that ask for spare nodes."""

from types import SimpleNamespace

import pytest

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.core.recovery import Recovery
from slurm_restart.errors import ConfigError, SlurmUnavailableError, UsageError
from slurm_restart.submit.spares import fit_to_cluster
from tests.unit.submit.conftest import CONFIG


def plan_of(found):
    """The plan of the only phase."""
    [job] = found.jobs
    return job.plan


def test_spares_are_allocated_beside_the_nodes_of_an_attempt(submission):
    found = submission("--spares=2")
    plan = plan_of(found)
    assert (plan.spares, plan.policy.recovery) == (2, Recovery.AUTO)
    arguments = found.jobs[0].arguments()
    assert f"--nodes={plan.num_nodes + 2}" in arguments
    assert "--no-kill" in arguments
    assert plan.comment_record.spares == 2
    assert plan.comment_record.job_nodes == plan.num_nodes + 2
    assert "2 spares" in found.notes[0]


def test_the_config_may_ask_for_them(submission):
    found = submission(config=CONFIG + "slurm: {spares: 1, recovery: in-place}\n")
    assert plan_of(found).spares == 1
    assert plan_of(found).policy.recovery is Recovery.IN_PLACE


@pytest.mark.parametrize(
    ("arguments", "config", "text"),
    [
        (("--spares=1", "--recovery=requeue"), CONFIG, "expected recovery auto or in-place"),
        (("--spares=-1",), CONFIG, "expected a whole number from 0"),
        (("--spares=99999",), CONFIG, "expected at most 100000 nodes with the spares"),
        (("--spares=1", "--ntasks=4"), CONFIG, "--ntasks"),
        (("--spares=1", "--no-kill"), CONFIG, "--no-kill"),
    ],
)
def test_what_cannot_be_is_refused(submission, arguments, config, text):
    with pytest.raises((ConfigError, UsageError), match=text):
        submission(*arguments, config=config)


@pytest.mark.parametrize(
    ("recovery", "kept"), [("requeue", False), ("auto", True), ("in-place", True)]
)
def test_a_run_that_may_become_smaller_outlives_a_node_if_it_restarts_in_place(
    submission, recovery, kept
):
    found = submission(f"--recovery={recovery}")
    plan = plan_of(found)
    assert plan.min_nodes < plan.num_nodes
    assert plan.keeps_allocation is kept
    assert ("--no-kill" in found.jobs[0].arguments()) is kept


def test_by_default_a_run_outlives_a_node_and_its_batch_host_is_watched(submission):
    found = submission()
    plan = plan_of(found)
    assert (plan.policy.recovery, plan.needs_host_watch) == (Recovery.AUTO, True)
    assert {"--no-kill", "--requeue"} <= {*found.jobs[0].arguments()}
    assert "--no-kill" not in submission("--no-kill=off").jobs[0].arguments()
    assert not plan_of(submission("--recovery=in-place")).needs_host_watch


@pytest.mark.parametrize(
    ("option", "has_hook", "kept", "warned"),
    [
        ("--recovery=auto", True, True, False),
        # The watch on another node requeues it, whether there is a reconciler or not.
        ("--recovery=auto", False, True, False),
        ("--spares=1", False, True, False),
        ("--recovery=in-place", True, True, False),
        # Slurm ends it when a node is lost, the batch host too.
        ("--recovery=in-place", False, False, False),
        ("--recovery=in-place --spares=1", True, True, False),
        ("--recovery=in-place --spares=1", False, True, True),
        ("--recovery=requeue", False, False, False),
    ],
)
def test_without_a_hook_nobody_ends_a_job_without_its_batch_host_that_is_not_to_be_requeued(
    submission, option, has_hook, kept, warned
):
    slurm = SimpleNamespace(cluster_facts=lambda: ClusterFacts(has_epilog=has_hook))
    found, warning = fit_to_cluster(submission(*option.split()), slurm)
    assert ("--no-kill" in found.jobs[0].arguments()) is kept
    assert (warning is not None) is warned


@pytest.mark.parametrize("option", ["--recovery=auto", "--spares=1", "--hook=auto"])
def test_a_job_that_requeues_itself_is_watched_and_outlives_its_nodes(submission, option):
    slurm = SimpleNamespace(cluster_facts=lambda: ClusterFacts(has_epilog=False))
    found, warning = fit_to_cluster(submission(option).requeued_by_supervisor(), slurm)
    assert "--no-kill" in found.jobs[0].arguments()
    assert warning is None


def test_a_cluster_that_does_not_answer_counts_as_one_with_a_hook(submission):
    def refuse():
        raise SlurmUnavailableError("no answer")

    found, warning = fit_to_cluster(submission("--spares=1"), SimpleNamespace(cluster_facts=refuse))
    assert "--no-kill" in found.jobs[0].arguments()
    assert warning is None
