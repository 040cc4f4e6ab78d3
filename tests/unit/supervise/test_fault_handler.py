"""Who lets Python print its stacks on SIGABRT."""

from dataclasses import replace

import pytest

from slurm_restart.core.watchdog_settings import WatchdogMode, WatchdogSettings
from slurm_restart.supervise.fault_handler import VARIABLE, fault_handler


@pytest.mark.parametrize(
    ("changes", "env", "wanted"),
    [
        ({}, {}, True),
        # What the user has set stands, whatever it is.
        ({}, {VARIABLE: ""}, False),
        ({}, {VARIABLE: "1"}, False),
        ({"watchdog": WatchdogSettings(faulthandler=False)}, {}, False),
        ({"watchdog": WatchdogSettings(mode=WatchdogMode.REPORT)}, {}, False),
        ({"watchdog": WatchdogSettings(mode=WatchdogMode.OFF)}, {}, False),
        ({"policy": None}, {}, False),
    ],
)
def test_only_where_the_watchdog_may_end_the_run(run, changes, env, wanted):
    assert bool(fault_handler(replace(run.plan, **changes), env)) is wanted
