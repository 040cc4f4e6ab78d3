"""How many nodes the limits of associations and QOS leave, on a real cluster with slurmdbd."""

from collections.abc import Iterator

import pytest

from contrib.devcluster_parts.accounting import ACCOUNT
from contrib.devcluster_parts.software import ACCOUNTING_PACKAGES, find_program
from contrib.testing.dev_cluster import DevCluster, missing
from contrib.testing.waiting import await_
from slurm_restart.slurm.commands import Commands
from tests.contract.conftest import PATIENCE, PREFIX, QUICK

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def booted() -> Iterator[DevCluster]:
    prefix = None if PREFIX is None else str(PREFIX)
    absent = [name for name in ACCOUNTING_PACKAGES if find_program(name, prefix) is None]
    if absent:
        pytest.skip(f"no accounting: {', '.join(absent)}")
    if PREFIX is None and (obstacle := missing()):
        pytest.skip(obstacle)
    options = ("--accounting", f"--set={QUICK}")
    with DevCluster(nodes=4, prefix=PREFIX, options=options) as cluster:
        yield cluster


@pytest.fixture
def cluster(booted: DevCluster) -> Iterator[DevCluster]:
    yield booted
    modify(booted, "account", ACCOUNT, "GrpTRES=node=-1,cpu=-1", "MaxTRES=node=-1")
    for limit in ("GrpTRES", "MaxTRESPerJob", "MaxTRESPerUser", "MaxTRESPerAccount"):
        modify(booted, "qos", "normal", f"{limit}=node=-1")
    booted.mend()


@pytest.fixture(scope="module")
def slurm(booted: DevCluster) -> Commands:
    return Commands(booted.bin_dir, booted.conf, timeout=PATIENCE)


def modify(cluster: DevCluster, entity: str, name: str, *limits: str) -> None:
    # Without a change, sacctmgr exits with 1.
    change = ("sacctmgr", "-i", "modify", entity, name, "set", *limits)
    cluster.run(*change, as_root=True, check=False)


def await_limit(slurm: Commands, job_id: int, limit: int | None) -> None:
    """slurmctld learns of a changed limit, and counts a started job, a moment later."""
    await_(lambda: slurm.node_limit(slurm.job(job_id)) == limit, f"{limit} nodes are left")


def test_limits_are_enforced_but_none_is_set(slurm: Commands, cluster: DevCluster) -> None:
    assert slurm.cluster_facts().limits_enforced
    job_id = cluster.submit("true", "-H", "-N1")
    assert slurm.node_limit(slurm.job(job_id)) is None


def test_the_limit_of_an_account(slurm: Commands, cluster: DevCluster) -> None:
    modify(cluster, "account", ACCOUNT, "GrpTRES=node=3")
    waiting = cluster.submit("true", "-H", "-N1")
    await_limit(slurm, waiting, 3)
    too_large = cluster.submit("sleep 300", "-N4", "-o", "/dev/null")
    cluster.await_reason(too_large, "AssocGrpNodeLimit")
    running = cluster.submit("sleep 300", "-N2", "-o", "/dev/null")
    cluster.await_state(running, "RUNNING")
    await_limit(slurm, waiting, 1)
    slurm.cancel(running)
    cluster.await_state(running, "CANCELLED")
    await_limit(slurm, waiting, 3)


def test_a_limit_of_cpus(slurm: Commands, cluster: DevCluster) -> None:
    cpus = slurm.nodes()[0].cpus
    assert cpus
    modify(cluster, "account", ACCOUNT, f"GrpTRES=cpu={3 * cpus + 1}")
    whole = cluster.submit("true", "-H", "-N1", "--exclusive")
    await_limit(slurm, whole, 3)
    running = cluster.submit("sleep 300", "-N2", "--exclusive", "-o", "/dev/null")
    cluster.await_state(running, "RUNNING")
    await_limit(slurm, whole, 1)


@pytest.mark.parametrize(
    ("limit", "used"),
    [("GrpTRES", 1), ("MaxTRESPerUser", 1), ("MaxTRESPerAccount", 1), ("MaxTRESPerJob", 0)],
)
def test_limits_of_a_qos(slurm: Commands, cluster: DevCluster, limit: str, used: int) -> None:
    waiting = cluster.submit("true", "-H", "-N1")
    modify(cluster, "qos", "normal", f"{limit}=node=3")
    await_limit(slurm, waiting, 3)
    running = cluster.submit("sleep 300", "-N1", "-o", "/dev/null")
    cluster.await_state(running, "RUNNING")
    await_limit(slurm, waiting, 3 - used)


def test_the_limit_of_a_qos_wins_over_the_accounts(slurm: Commands, cluster: DevCluster) -> None:
    waiting = cluster.submit("true", "-H", "-N1")
    modify(cluster, "account", ACCOUNT, "GrpTRES=node=1", "MaxTRES=node=2")
    await_limit(slurm, waiting, 1)
    modify(cluster, "qos", "normal", "GrpTRES=node=4")
    await_limit(slurm, waiting, 2)
    modify(cluster, "qos", "normal", "MaxTRESPerJob=node=3")
    await_limit(slurm, waiting, 3)
    larger = cluster.submit("sleep 300", "-N3", "-o", "/dev/null")
    cluster.await_state(larger, "RUNNING")
