"""Settings of slurm.conf that work against restarts, each with its remedy."""

import pytest

from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.result import Level
from slurm_restart.control.doctor import CHECKS
from tests.unit.control.checks.installation import configured, level, only, without

OK, WARNING, PROBLEM = Level.OK, Level.WARNING, Level.PROBLEM


@pytest.mark.parametrize(
    "name",
    [check.id for check in CHECKS if check.id.startswith(("requeue.", "jobs.", "nodes."))],
)
def test_a_configuration_with_which_everything_works(context: Context, name: str) -> None:
    assert level(context, name) is OK


@pytest.mark.parametrize(
    ("config", "shown"),
    [
        ({"RequeueExit": "1-3"}, "RequeueExit=1-3"),
        ({"RequeueExitHold": "9"}, "RequeueExitHold=9"),
        ({"RequeueExit": "1", "RequeueExitHold": "9"}, "RequeueExit=1 and RequeueExitHold=9"),
    ],
)
def test_exit_codes_after_which_slurm_requeues(
    context: Context, config: dict[str, str], shown: str
) -> None:
    result = only(configured(context, **config), "requeue.exit")
    assert (result.level, result.text.partition(":")[0]) == (WARNING, shown)


@pytest.mark.parametrize(
    ("config", "found", "seconds"),
    [
        ({}, OK, 121),
        ({"AuthInfo": "socket=/run/m,cred_expire=30"}, OK, 31),
        ({"AuthInfo": "cred_expire=599"}, OK, 600),
        ({"AuthInfo": "cred_expire=600"}, WARNING, 601),
        ({"SchedulerParameters": "bf_continue,requeue_delay=0"}, OK, 1),
        ({"SchedulerParameters": "requeue_delay=3600"}, WARNING, 3601),
        ({"SchedulerParameters": "requeue_delay=5", "SLURM_VERSION": "25.11.0"}, OK, 6),
        ({"SchedulerParameters": "requeue_delay=5", "SLURM_VERSION": "25.05.8"}, WARNING, 121),
        ({"SchedulerParameters": "max_requeue_delay=5", "SLURM_VERSION": "22.05.8"}, OK, 121),
    ],
)
def test_the_delay_of_a_requeued_job(
    context: Context, config: dict[str, str], found: Level, seconds: int
) -> None:
    result = only(configured(context, **config), "requeue.delay")
    assert result.level is found
    assert f" waits {seconds} s" in result.text


def test_jobrequeue_0_needs_nothing(context: Context) -> None:
    result = only(configured(context, JobRequeue="0"), "requeue.default")
    assert result.text == "JobRequeue=0: csx-sbatch asks for --requeue itself"
    assert result.level is OK


def test_no_hold_after_a_failed_prolog(context: Context) -> None:
    parameters = "bf_continue,nohold_on_prolog_fail"
    found = configured(context, SchedulerParameters=parameters, MaxBatchRequeue="7")
    result = only(found, "requeue.prolog_hold")
    assert result.level is WARNING
    assert " up to 7 nodes " in result.text


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({"PrologFlags": "(null)"}, OK),
        ({"Prolog": "/p", "PrologFlags": "(null)"}, WARNING),
        ({"Prolog[0]": "/p", "PrologFlags": "Serial"}, WARNING),
        ({"Prolog": "/p", "PrologFlags": "DeferBatch"}, WARNING),
        ({"Prolog": "/p", "PrologFlags": "Alloc"}, OK),
        ({"Prolog[0]": "/p", "PrologFlags": "Alloc,Contain"}, OK),
    ],
)
def test_when_a_prolog_runs(context: Context, config: dict[str, str], found: Level) -> None:
    assert level(configured(context, **config), "jobs.prolog_flags") is found


@pytest.mark.parametrize("plugin", ["linuxproc", "pgid"])
def test_process_tracking_that_leaves_processes(context: Context, plugin: str) -> None:
    result = only(configured(context, ProctrackType=f"proctrack/{plugin}"), "jobs.proctrack")
    assert result.level is WARNING
    assert result.text.startswith(f"ProctrackType=proctrack/{plugin} leaves processes behind")


def test_a_step_that_goes_on_after_a_failure(context: Context) -> None:
    assert level(configured(context, KillOnBadExit="0"), "jobs.kill_on_bad_exit") is WARNING
    assert level(without(context, "KillOnBadExit"), "jobs.kill_on_bad_exit") is WARNING


def test_the_open_mode_is_shown(context: Context) -> None:
    assert only(context, "jobs.open_mode").text.startswith("JobFileAppend=0: csx-sbatch asks")
    shown = only(configured(context, JobFileAppend="1"), "jobs.open_mode")
    assert shown.text.startswith("JobFileAppend=1: ")


@pytest.mark.parametrize(
    ("value", "found"),
    [
        ("0 sec", PROBLEM),
        ("1 sec", OK),
        ("300 sec", OK),
        ("301 sec", WARNING),
        ("INFINITE", WARNING),
    ],
)
def test_how_soon_a_lost_node_is_noticed(context: Context, value: str, found: Level) -> None:
    assert level(configured(context, SlurmdTimeout=value), "nodes.slurmd_timeout") is found
