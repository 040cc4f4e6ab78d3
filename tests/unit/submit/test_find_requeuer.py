"""Who requeues a run is found out at submission, and written into its comment record."""

import json

import pytest

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.submit.find_requeuer import find_requeuer
from slurm_restart.submit.format_plan import plan_json
from slurm_restart.trainer.settings_files import SiteFacts
from tests.unit.submit.conftest import TWO_PHASES

NO_EPILOG = ClusterFacts(has_epilog=False)
HOOK = ClusterFacts(epilog="/etc/slurm_restart/csx-epilog")
OTHER = ClusterFacts(epilog="/etc/slurm/epilog.sh")


class FakeSlurm:
    def __init__(self, facts):
        self._facts = facts

    def cluster_facts(self):
        if self._facts is None:
            raise SlurmUnavailableError("no answer")
        return self._facts


@pytest.mark.parametrize(
    ("options", "facts", "itself", "told"),
    [
        ((), NO_EPILOG, True, "no hook: EpilogSlurmctld is not set"),
        ((), HOOK, False, "the cluster's hook requeues the job"),
        ((), OTHER, False, "/etc/slurm/epilog.sh, is taken for the hook"),
        # In doubt never both.
        ((), None, False, "it is not known whether this cluster has the hook"),
        (("--hook=no",), HOOK, True, "--hook=no"),
        (("--hook=no",), None, True, "--hook=no"),
        (("--hook=yes",), NO_EPILOG, False, "--hook=yes"),
        (("--recovery=auto",), NO_EPILOG, True, "requeues itself"),
        (("--recovery=in-place",), NO_EPILOG, False, None),
        (("--recovery=in-place", "--hook=no"), NO_EPILOG, False, None),
    ],
)
def test_who_requeues_is_found_and_said(submission, options, facts, itself, told):
    found = find_requeuer(submission(*options), FakeSlurm(facts))
    (job,) = found.submission.jobs
    assert job.plan.requeues_itself is itself
    assert job.plan.comment_record.self_requeue is itself
    said = found.note or found.warning
    assert (said is None) if told is None else (told in said)
    script = job.script(job.plan.model_dir)
    assert ("--settle" in script) is itself
    assert any("self=1;" in argument for argument in job.arguments()) is itself


def test_later_phases_are_cancelled_by_slurm(submission):
    first, second = find_requeuer(
        submission(config=TWO_PHASES), FakeSlurm(NO_EPILOG)
    ).submission.jobs
    assert "--kill-on-invalid-dep=yes" not in first.arguments()
    assert "--kill-on-invalid-dep=yes" in second.arguments("7")


def test_waits_between_restarts(submission):
    (job,) = submission("--backoff=10s,1min").jobs
    assert job.plan.policy.backoff == (10, 60)


@pytest.mark.parametrize("option", ["--hook=maybe", "--backoff=10", "--backoff="])
def test_wrong_values_are_refused(submission, option):
    with pytest.raises(Exception, match="expected"):
        submission(option)


@pytest.mark.parametrize(
    ("options", "observes", "warned", "told"),
    [
        ((), True, True, None),
        (("--hook=yes",), True, True, None),
        (("--recovery=auto",), True, True, None),
        # Restarts of these need no hook.
        (("--hook=no",), True, False, "--hook=no"),
        (("--recovery=in-place",), True, False, None),
        ((), False, False, "the cluster's hook requeues the job"),
        ((), None, False, "unless the site is in observe mode"),
    ],
)
def test_no_restart_is_promised_in_observe_mode(submission, options, observes, warned, told):
    planned = submission(*options, site=SiteFacts(observes=observes))
    if not options:
        # Nor is there one in the allocation, unless it is asked for.
        assert planned.jobs[0].plan.policy.recovery.in_place is not bool(observes)
    assert any("observe mode" in text for text in planned.warnings) is warned
    note = planned.notes[0]
    assert ("once the site acts, at most 3 restarts" in note) is warned
    found = find_requeuer(planned, FakeSlurm(HOOK))
    assert (found.note is None) if told is None else (told in found.note)
    assert json.loads(plan_json(planned))["observes"] is observes
