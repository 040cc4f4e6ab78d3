"""Facts of the cluster from `scontrol show config`."""

import pytest

from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.parse_config import cluster_facts, parse_config, parse_exit_codes

TEXT = """Configuration data as of 1795579528
AccountingStorageEnforce = none
AuthInfo                = socket=/run/munge.sock
BOOT_TIME               = 1795579514
RequeueExit             = (null)
RequeueExitHold         = (null)
SchedulerParameters     = batch_sched_delay=0,sched_interval=2
SLURM_VERSION           = 22.05.8
SlurmUser               = slurm(64030)

Slurmctld(primary) at vm is UP
"""


def facts(**changes: str) -> ClusterFacts:
    return cluster_facts(parse_config(TEXT) | changes)


def test_a_configuration_without_settings() -> None:
    assert facts() == ClusterFacts(
        release=(22, 5),
        boot_time=1795579514,
        requeue_delay=121,
        requeue_exit=frozenset(),
        requeue_exit_hold=frozenset(),
        limits_enforced=False,
        slurm_user="slurm",
        has_epilog=False,
    )


@pytest.mark.parametrize(
    ("config", "found"),
    [
        ({}, False),
        ({"EpilogSlurmctld": "(null)"}, False),
        ({"EpilogSlurmctldTimeout": "5"}, False),
        ({"EpilogSlurmctld": "/x"}, True),
        ({"EpilogSlurmctld[0]": "/x"}, True),
    ],
)
def test_whether_a_program_runs_at_the_end_of_a_job(config: dict[str, str], found: bool) -> None:
    assert facts(**config).has_epilog is found


@pytest.mark.parametrize(
    ("parameters", "holds"),
    [
        ("(null)", True),
        ("nohold_on_prolog_fail", False),
        ("bf_interval=1,nohold_on_prolog_fail,x", False),
        ("no_nohold_on_prolog_fail", True),
    ],
)
def test_whether_slurm_holds_a_job_whose_prolog_failed(parameters: str, holds: bool) -> None:
    assert facts(SchedulerParameters=parameters).holds_on_prolog_fail is holds


@pytest.mark.parametrize(("text", "seconds"), [("5 sec", 5), ("600 sec", 600), ("x", 30)])
def test_kill_wait(text: str, seconds: int) -> None:
    assert facts(KillWait=text).kill_wait == seconds


@pytest.mark.parametrize(
    ("version", "auth", "scheduler", "delay"),
    [
        ("22.05.8", "cred_expire=600", "", 601),
        ("24.11.5", "socket=/x,cred_expire=30", "(null)", 31),
        ("24.11.5", "cred_expire=30,socket=/x", "requeue_delay=0", 31),
        ("25.11.0", "cred_expire=30", "requeue_delay=0", 1),
        ("26.05.3", "(null)", "bf_interval=5,requeue_delay=15", 16),
        ("26.05.3", "(null)", "no_requeue_delay=15", 121),
        ("26.05.3", "cred_expire=4", "(null)", 121),
    ],
)
def test_requeue_delay(version: str, auth: str, scheduler: str, delay: int) -> None:
    found = facts(SLURM_VERSION=version, AuthInfo=auth, SchedulerParameters=scheduler)
    assert found.requeue_delay == delay


@pytest.mark.parametrize(
    ("text", "codes"),
    [
        ("(null)", set()),
        ("1", {1}),
        ("1-3,9", {1, 2, 3, 9}),
        ("0,254-999", {0, 254, 255}),
        ("x,7,-1", {7}),
    ],
)
def test_exit_codes(text: str, codes: set[int]) -> None:
    assert parse_exit_codes(text) == codes


def test_exit_codes_of_both_settings() -> None:
    found = facts(RequeueExit="1-2", RequeueExitHold="9")
    assert (found.requeue_exit, found.requeue_exit_hold) == ({1, 2}, {9})


@pytest.mark.parametrize(
    ("enforce", "enforced"),
    [("none", False), ("associations", False), ("associations,limits,qos,safe", True)],
)
def test_limits(enforce: str, enforced: bool) -> None:
    assert facts(AccountingStorageEnforce=enforce).limits_enforced is enforced


def test_what_is_not_shown_is_not_known() -> None:
    found = cluster_facts({"SLURM_VERSION": "26.05.0-0rc1", "BOOT_TIME": "Unknown"})
    assert (found.release, found.boot_time, found.slurm_user) == ((26, 5), None, None)


def test_another_output_is_an_error() -> None:
    with pytest.raises(SlurmError, match="SLURM_VERSION"):
        cluster_facts(parse_config("something else"))
