"""The settings of the watchdog, from a config or the command line to the plan."""

import pytest

from slurm_restart.core.watchdog_settings import WatchdogMode, WatchdogSettings
from slurm_restart.errors import ConfigError, UsageError
from tests.unit.submit.conftest import CONFIG


def test_it_is_on_unless_something_else_is_said(submission):
    assert submission().jobs[0].plan.watchdog == WatchdogSettings()


def test_settings_reach_the_plan(submission):
    block = r"slurm: {watchdog: {mode: report, floor: 10min, steps: 'it (\d+)'}}"
    job = submission(config=f"{block}\n{CONFIG}").jobs[0]
    assert job.plan.watchdog == WatchdogSettings(
        mode=WatchdogMode.REPORT, floor=600, steps=r"it (\d+)"
    )


def test_options_beat_the_config(submission):
    block = "slurm: {watchdog: {floor: 10min, busy_factor: 5}}"
    job = submission("--watchdog=floor=20s, slow_after=1min", config=f"{block}\n{CONFIG}").jobs[0]
    assert job.plan.watchdog == WatchdogSettings(floor=20, slow_after=60, busy_factor=5)
    job = submission(r"--watchdog=floor=20s,steps=step (\d{1,9}), loss=").jobs[0]
    assert job.plan.watchdog == WatchdogSettings(floor=20, steps=r"step (\d{1,9}), loss=")
    assert submission("--watchdog=off").jobs[0].plan.watchdog.mode is WatchdogMode.OFF


@pytest.mark.parametrize(
    ("option", "problem"),
    [
        ("--watchdog=never", "expected one of on, report, off, got 'never'"),
        ("--watchdog=floor=soon", "expected a time"),
        ("--watchdog=flor=1min", "expected watchdog.floor, got 'watchdog.flor'"),
    ],
)
def test_a_wrong_option_is_named(submission, option, problem):
    with pytest.raises(UsageError, match=problem):
        submission(option)


def test_a_pattern_that_may_take_very_long_is_refused(submission):
    with pytest.raises(ConfigError, match="an unbounded repetition"):
        submission(config=f"slurm: {{watchdog: {{steps: 'x(a+)+b'}}}}\n{CONFIG}")
