"""A job without the hook whose batch host is lost, while the job outlives nodes (--no-kill)."""

import os
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrib.testing.hookless_cluster import (
    HooklessCluster,
    await_ranks,
    decisions,
    submit_waiting,
    supervisor_of,
)
from contrib.testing.job_processes import job_processes
from contrib.testing.waiting import await_

CHANGES_TAKEN = (24, 11)
"""Before, Slurm without accounting takes no change of a job that has lost a node."""
WATCH = "csx-host-watch"
"""In the command line of the shell that watches the batch host from another node."""


@pytest.fixture(scope="module")
def _booted() -> Iterator[HooklessCluster]:
    with HooklessCluster() as cluster:
        yield cluster


def watch_of(cluster: HooklessCluster, job_id: int) -> list[int]:
    """Return the shells that watch the batch host of a job."""
    return [
        process.pid
        for process in job_processes(cluster, job_id)
        if WATCH in process.words and Path(f"/proc/{process.pid}/comm").read_text() == "sh\n"
    ]


def await_watch(cluster: HooklessCluster, job_id: int, *, elsewhere: str = "") -> str:
    """Wait until a batch host is watched; return from where."""
    found: list[str] = []

    def look() -> bool:
        found[:] = [node_of(pid) for pid in watch_of(cluster, job_id)]
        return len(found) == 1 and found[0] != elsewhere

    await_(look, "the batch host is watched")
    return found[0]


def node_of(pid: int) -> str:
    variables = (Path("/proc") / str(pid) / "environ").read_bytes().split(b"\0")
    [node] = [each for each in variables if each.startswith(b"SLURMD_NODENAME=")]
    return node.decode().partition("=")[2]


@pytest.mark.parametrize("restarts", [0, 1])
def test_a_job_that_goes_on_without_its_batch_host_is_requeued(
    cluster: HooklessCluster, restarts: int
) -> None:
    job_id = submit_waiting(cluster, restarts=restarts)
    # Of one loss Slurm has to find out by itself.
    lost = [
        lose_batch_host(cluster, job_id, number, is_told=restarts > 0)
        for number in range(restarts + 1)
    ]
    # No script is left that could end as FAILED.
    assert cluster.await_end(job_id) == "CANCELLED"
    runs = cluster.summary()["runs"]
    assert [run["category"] for run in runs] == ["hardware.node"] * (restarts + 1)
    assert [run["blamed_nodes"] for run in runs] == [[host] for host in lost]
    assert decisions(cluster.run_dir()) == ["requeue"] * restarts + ["leave"]
    assert cluster.job(job_id)["Restarts"] == str(restarts)
    assert f"max_num_restarts is {restarts}" in (cluster.run_dir() / "run.log").read_text()
    await_(lambda: not watch_of(cluster, job_id), "the watch has ended")


def lose_batch_host(
    cluster: HooklessCluster, job_id: int, attempt: int, *, is_told: bool = True
) -> str:
    """Let a job lose its batch host, which a spare watches; return it.

    Args:
        cluster: where.
        job_id: the job.
        attempt: its attempt.
        is_told: an administrator tells Slurm at once, which finds out after SlurmdTimeout.
    """
    ranks = await_ranks(cluster, attempt, 2)
    host = cluster.nodes_of(job_id)[0]
    assert host in ranks
    assert await_watch(cluster, job_id) not in ranks
    lose(cluster, job_id, host, is_told=is_told)
    return host


def lose(cluster: HooklessCluster, job_id: int, node: str, *, is_told: bool = True) -> None:
    """Let a job lose a node, on which nothing runs any more; as `lose_batch_host`."""
    cluster.fault("kill-slurmd", node)
    if is_told:
        cluster.fault("node-down", node)
    await_(lambda: node not in cluster.nodes_of(job_id), "Slurm knows")


def test_a_run_ends_well_after_the_loss_of_its_batch_host(cluster: HooklessCluster) -> None:
    job_id = submit_waiting(cluster)
    host = lose_batch_host(cluster, job_id, 0)
    assert host not in await_ranks(cluster, 1, 2)
    await_watch(cluster, job_id)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "1"
    assert decisions(cluster.run_dir()) == ["requeue", "leave"]


def test_where_fewer_nodes_are_left_the_requeue_asks_for_no_spare(
    cluster: HooklessCluster,
) -> None:
    if cluster.release < CHANGES_TAKEN:
        pytest.skip("this release takes no change of the job")
    job_id = submit_waiting(cluster, nodes=3)
    await_watch(cluster, job_id)
    lose(cluster, job_id, "csx1")
    assert await_ranks(cluster, 1, 3) == {"csx2", "csx3", "csx4"}
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["ExcNodeList"] == "csx1"
    assert decisions(cluster.run_dir()) == ["requeue", "leave"]


def test_the_watch_moves_to_another_node_and_leaves_nothing_behind(
    cluster: HooklessCluster,
) -> None:
    job_id = submit_waiting(cluster, spares=2)
    first = await_watch(cluster, job_id)
    lose(cluster, job_id, first)
    await_watch(cluster, job_id, elsewhere=first)
    heartbeat = cluster.run_dir() / "heartbeat"
    await_(heartbeat.exists, "a heartbeat")
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "0"
    assert watch_of(cluster, job_id) == []
    assert not heartbeat.exists()
    assert decisions(cluster.run_dir()) == ["leave"]


def test_a_supervisor_that_is_paused_is_not_taken_for_lost(cluster: HooklessCluster) -> None:
    job_id = submit_waiting(cluster)
    await_watch(cluster, job_id)
    [watch], supervisor = watch_of(cluster, job_id), supervisor_of(cluster, job_id)

    def asks() -> bool:
        return any(
            process.parent == watch and str(cluster.run_dir()) in process.words
            for process in job_processes(cluster, job_id)
        )

    os.kill(supervisor, signal.SIGSTOP)
    try:
        for _ in range(2):
            await_(asks, "Slurm is asked", interval=0.01)
            await_(lambda: not asks(), "it has answered", interval=0.01)
        assert cluster.state(job_id) == "RUNNING"
    finally:
        os.kill(supervisor, signal.SIGCONT)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "0"
    shown = cluster.run("scontrol", "show", "job", "--details", str(job_id), as_root=True)
    assert "DerivedExitCode=0:0" in shown
