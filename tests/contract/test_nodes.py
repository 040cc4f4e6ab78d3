"""What every back end says of nodes and reservations, on a real cluster."""

import time

import pytest

from contrib.testing.dev_cluster import DevCluster
from contrib.testing.waiting import await_
from slurm_restart.core.job import NodeState
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.interface import Slurm

pytestmark = pytest.mark.cluster


def node(slurm: Slurm, name: str) -> NodeState:
    return {one.name: one for one in slurm.nodes()}[name]


def test_idle_and_busy(cluster: DevCluster, slurm: Slurm) -> None:
    assert [one.name for one in slurm.nodes()] == ["csx1", "csx2", "csx3"]
    assert all(one.idle and one.healthy and not one.down for one in slurm.nodes())
    assert node(slurm, "csx1").partitions == {"main", "high"}
    job_id = cluster.submit("sleep 300", "-w", "csx1", "--exclusive")
    cluster.await_state(job_id, "RUNNING")
    busy = node(slurm, "csx1")
    assert (busy.state, busy.healthy, busy.idle) == ("ALLOCATED", True, False)


def test_nodes_agree_with_the_commands(
    cluster: DevCluster, slurm: Slurm, commands: Commands
) -> None:
    job_id = cluster.submit("sleep 300", "-w", "csx1")
    cluster.await_state(job_id, "RUNNING")
    cluster.fault("node-drain", "csx2", "fan 2")
    cluster.fault("node-down", "csx3", "board")
    # The job may change its node between two questions.
    await_(lambda: slurm.nodes() == commands.nodes(), "both show the same")
    assert {one.gres for one in slurm.nodes()} == {"disk:2K"}


def test_drained(cluster: DevCluster, slurm: Slurm) -> None:
    reason = "fan 2 | State=IDLE [x@1] Partitions=none"
    before = time.time()
    cluster.fault("node-drain", "csx2", reason)
    drained = node(slurm, "csx2")
    assert (drained.state, drained.flags & {"DRAIN"}) == ("IDLE", {"DRAIN"})
    assert (drained.healthy, drained.down) == (False, False)
    assert (drained.partitions, drained.features) == ({"main", "high"}, frozenset())
    assert drained.reason == reason
    assert drained.reason_time is not None
    assert int(before) <= drained.reason_time <= time.time()
    named = slurm.nodes_named(("csx3", "csx2"))
    assert sorted((one.name, one.drained) for one in named) == [("csx2", True), ("csx3", False)]


def test_down(cluster: DevCluster, slurm: Slurm) -> None:
    cluster.fault("node-down", "csx3", "board replaced")
    down = node(slurm, "csx3")
    assert (down.state, down.reason, down.down, down.healthy) == (
        "DOWN",
        "board replaced",
        True,
        False,
    )
    cluster.fault("node-drain", "csx3", "and drained")
    both = node(slurm, "csx3")
    assert (both.state, "DRAIN" in both.flags, both.down) == ("DOWN", True, True)


def test_silent(cluster: DevCluster, slurm: Slurm) -> None:
    """A node whose slurmd is gone is first silent, then down."""
    cluster.fault("kill-slurmd", "csx3")
    try:
        await_(lambda: node(slurm, "csx3").down, "csx3 is down")
        gone = node(slurm, "csx3")
        assert "NOT_RESPONDING" in gone.flags or gone.state == "DOWN"
        assert not gone.healthy
    finally:
        cluster.fault("start-slurmd", "csx3")


def test_features(cluster: DevCluster, slurm: Slurm) -> None:
    def set_features(text: str) -> None:
        fields = (f"AvailableFeatures={text}", f"ActiveFeatures={text}")
        cluster.run("scontrol", "update", "NodeName=csx1", *fields, as_root=True)

    set_features("ib,gen2")
    try:
        assert node(slurm, "csx1").features == {"ib", "gen2"}
        assert node(slurm, "csx2").features == frozenset()
        for constraint in ("ib", "ib&gen2", "ib|gen2"):
            job_id = cluster.submit("true", "-H", f"--constraint={constraint}")
            assert slurm.job(job_id).features == constraint
    finally:
        set_features("")
    assert node(slurm, "csx1").features == frozenset()


def test_reservation(cluster: DevCluster, slurm: Slurm) -> None:
    def reserve(name: str, nodes: str) -> None:
        # Not for the tests' user: newer releases reserve nothing for nobody.
        fields = (f"Nodes={nodes}", "Users=root,daemon", "Duration=10")
        create = ("scontrol", "create", "reservation", f"ReservationName={name}", "StartTime=now")
        cluster.run(*create, *fields, as_root=True)

    reserve("maint-1", "csx[2-3]")
    reserve("other", "csx1")
    assert slurm.reservation_nodes("maint-1") == ("csx2", "csx3")
    assert slurm.reservation_nodes("maint-1,other") == ("csx2", "csx3", "csx1")
    job_id = cluster.submit("true", "-H", "--reservation=maint-1", as_root=True)
    assert slurm.job(job_id).reservation == "maint-1"
    with pytest.raises(SlurmError, match="nosuch"):
        slurm.reservation_nodes("nosuch")


def test_the_cluster(booted: DevCluster, slurm: Slurm) -> None:
    assert slurm.release() == booted.release
    assert f"ClusterName={slurm.cluster_name()}\n" in booted.conf.read_text()
    assert slurm.ping()
