"""The health check of settings and options, and warnings about what has no effect."""

from dataclasses import replace

import pytest

from slurm_restart.core.node_answers import CheckTime
from slurm_restart.errors import ConfigError
from slurm_restart.submit.health import health_warnings
from slurm_restart.trainer.health_check import HealthCheck
from slurm_restart.trainer.run_plan import CheckpointFormat, RunPlan
from slurm_restart.trainer.settings import Settings
from tests.unit.submit.conftest import CONFIG


def test_settings_reach_the_plan(submission, tmp_path):
    block = "slurm: {health_check: {checks: gpu, command: x, when: never}, leave_drained: true}"
    result = submission(config=f"{block}\n{CONFIG}")
    plan = result.jobs[0].plan
    assert plan.health_check == HealthCheck(checks=("gpu",), command="x", when=CheckTime.NEVER)
    assert plan.leave_drained
    assert result.warnings == ()
    plan.save(tmp_path / "plan.json")
    assert RunPlan.load(tmp_path / "plan.json") == plan


def test_a_plan_without_them_checks_nothing(submission):
    plan = submission().jobs[0].plan
    assert not plan.health_check.is_given
    assert not plan.leave_drained


def test_options_of_the_command_line(submission):
    options = ("--health-check=cpu,memory=30", "--health-check=/opt/check -q")
    plan = submission(*options, "--health-check-timeout=2min", "--leave-drained=true").jobs[0].plan
    expected = HealthCheck(checks=("cpu", "memory=30"), command="/opt/check -q", timeout=120)
    assert plan.health_check == expected
    assert plan.leave_drained


def test_an_error_names_its_place(submission):
    with pytest.raises(ConfigError) as caught:
        submission(config=f"slurm: {{health_check: {{checks: disks}}}}\n{CONFIG}")
    assert str(caught.value) == (
        "trainer.yaml:1: slurm.health_check.checks: expected some of cpu, memory, disk, network, "
        "gpu, got 'disks'"
    )


def test_what_has_no_effect_is_told(submission):
    result = submission(config=f"slurm: {{health_check: {{timeout: 9s}}}}\n{CONFIG}")
    place = "trainer.yaml:1: slurm.health_check.timeout"
    assert result.warnings == (f"{place}: not used, as no health check is given",)


def test_a_run_without_known_checkpoints_leaves_no_drained_node(submission):
    plan = submission("--leave-drained=true").jobs[0].plan
    assert health_warnings(plan, Settings()) == []
    none = replace(plan.checkpoint, format=CheckpointFormat.NONE)
    assert health_warnings(replace(plan, checkpoint=none), Settings()) == [
        "leave_drained: not used, as the run is not known to write checkpoints"
    ]
