from dataclasses import replace

import pytest

from slurm_restart.errors import ConfigError
from slurm_restart.submit.progress import (
    describe_progress,
    format_duration,
    progress_warnings,
)
from slurm_restart.trainer.run_plan import CheckpointFormat, ProgressMeasure
from slurm_restart.trainer.settings import Settings
from tests.unit.submit.conftest import CONFIG


@pytest.fixture
def plan(submission):
    """The plan of a run without known checkpoints, with that measure."""
    with_checkpoints = submission().jobs[0].plan
    none = replace(with_checkpoints.checkpoint, format=CheckpointFormat.NONE)
    return lambda **given: replace(
        with_checkpoints, checkpoint=none, progress=ProgressMeasure(**given)
    )


def test_settings_reach_the_plan(submission, tmp_path):
    block = r"slurm: {progress: {pattern: 'it (\d+)', file: '{model_dir}/x', after: 2h}}"
    job = submission(config=f"{block}\n{CONFIG}").jobs[0]
    assert job.plan.progress == ProgressMeasure(
        pattern=r"it (\d+)", file=f"{tmp_path}/out/x", after=7200
    )


def test_with_known_checkpoints_it_is_not_used(submission):
    result = submission(config=f"slurm: {{progress: {{after: 2h}}}}\n{CONFIG}")
    place = "trainer.yaml:1: slurm.progress.after"
    reason = "not used, as the checkpoints of the run show its progress"
    assert result.warnings == (f"{place}: {reason}",)
    assert not result.jobs[0].plan.is_measured
    assert describe_progress(result.jobs[0].plan) == "a new complete checkpoint"


def test_with_a_checkpoint_interval_the_pattern_is_used_for_what_is_told_early(submission):
    block = r"slurm: {progress: 'it (\d+)'}"
    assert submission(config=f"{block}\n{CONFIG}").warnings == ()
    without = CONFIG.replace("checkpoint: {steps: 10}", "checkpoint: {steps: 0}")
    assert without != CONFIG
    warnings = submission(config=f"{block}\n{without}").warnings
    assert any("not used, as the checkpoints" in text for text in warnings), warnings


@pytest.mark.parametrize("pattern", [r"(\d+)/10", r"x(a+)+b"])
def test_a_pattern_that_may_take_very_long_is_refused(submission, pattern):
    with pytest.raises(ConfigError, match="an unbounded repetition"):
        submission(config=f"slurm: {{progress: {{pattern: '{pattern}'}}}}\n{CONFIG}")


@pytest.mark.parametrize(
    ("given", "described"),
    [
        ({}, "an attempt that lasts longer than 1 h"),
        ({"after": 90}, "an attempt that lasts longer than 90 s"),
        ({"after": 5400, "file": "/x/y"}, "growth of /x/y"),
        ({"pattern": "(.)", "file": "/x/y"}, "a step in the output beyond all earlier ones"),
    ],
)
def test_what_counts_is_described(plan, given, described):
    assert describe_progress(plan(**given)) == described


def test_only_the_first_given_measure_is_used(plan):
    assert progress_warnings(plan(after=5), Settings()) == []
    assert progress_warnings(plan(pattern="(.)", after=5), Settings()) == [
        "progress.after: not used beside progress.pattern"
    ]


def test_durations():
    assert [format_duration(s) for s in (7200, 5400, 61)] == ["2 h", "90 min", "61 s"]
