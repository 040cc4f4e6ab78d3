"""A job without the hook whose batch host is lost, while the job outlives nodes (--no-kill)."""

import os
import signal
from collections.abc import Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from contrib.testing.hookless_cluster import (
    CHANGES_TAKEN,
    HooklessCluster,
    await_ranks,
    decisions,
    submit_waiting,
    supervisor_of,
)
from contrib.testing.job_processes import job_processes
from contrib.testing.waiting import LONG_DEADLINE, await_
from slurm_restart.supervise.host_watch_command import SECOND

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
        if WATCH in process.words and name_of(process.pid) == "sh"
    ]


def name_of(pid: int) -> str:
    """Return the name of a process; empty if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return Path(f"/proc/{pid}/comm").read_text().rstrip("\n")
    return ""


def await_watches(
    cluster: HooklessCluster, job_id: int, *, without: str = "", count: int = 2
) -> list[str]:
    """Wait until a batch host is watched from other nodes; return them, the first watch's first."""
    found: list[str] = []

    def look() -> bool:
        with suppress(FileNotFoundError, ProcessLookupError):  # a watch has ended meanwhile
            found[:] = map(node_of, sorted(watch_of(cluster, job_id), key=is_second))
        return len(found) == count and without not in found

    await_(look, "the batch host is watched")
    return found


def is_second(pid: int) -> bool:
    """Whether a watch leaves it to another one to act first."""
    return str(SECOND.others).encode() in Path(f"/proc/{pid}/cmdline").read_bytes().split(b"\0")


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
    """Let a job lose its batch host, which a spare watches first of all; return it.

    Args:
        cluster: where.
        job_id: the job.
        attempt: its attempt.
        is_told: an administrator tells Slurm at once, which finds out after SlurmdTimeout.
    """
    ranks = await_ranks(cluster, attempt, 2)
    host = cluster.nodes_of(job_id)[0]
    assert host in ranks
    assert await_watches(cluster, job_id)[0] not in ranks
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
    await_watches(cluster, job_id)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "1"
    assert decisions(cluster.run_dir()) == ["requeue", "leave"]


def test_a_batch_host_that_is_set_down_while_it_lives_is_lost_all_the_same(
    cluster: HooklessCluster,
) -> None:
    """22.05 and 24.11 kill the script, and the job would end as FAILED."""
    job_id = submit_waiting(cluster)
    after = cluster.submit("true", f"--dependency=afterok:{job_id}")
    await_watches(cluster, job_id)
    host = cluster.nodes_of(job_id)[0]
    cluster.fault("node-down", host)
    assert host not in await_ranks(cluster, 1, 2)
    [first] = [run for run in cluster.summary()["runs"] if run["attempt"] == 0]
    assert (first["category"], first["blamed_nodes"]) == ("hardware.node", [host])
    assert cluster.state(after) == "PENDING"
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
    await_watches(cluster, job_id)
    lose(cluster, job_id, "csx1")
    assert await_ranks(cluster, 1, 3) == {"csx2", "csx3", "csx4"}
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["ExcNodeList"] == "csx1"
    assert decisions(cluster.run_dir()) == ["requeue", "leave"]


def test_the_batch_host_and_a_node_that_watches_it_are_lost_at_once(
    cluster: HooklessCluster,
) -> None:
    job_id = submit_waiting(cluster, spares=2)
    first, second = await_watches(cluster, job_id)
    host = cluster.nodes_of(job_id)[0]
    for node in (host, first):
        cluster.fault("kill-slurmd", node)
    for node in (host, first):
        cluster.fault("node-down", node)
    # As large as at first where the size cannot be changed: there are too few nodes now.
    await_(lambda: cluster.job(job_id)["Restarts"] == "1", "it is requeued", timeout=LONG_DEADLINE)
    [run] = cluster.summary()["runs"]
    assert run["category"] == "hardware.node"
    assert host in run["blamed_nodes"]
    assert second not in run["blamed_nodes"]
    assert decisions(cluster.run_dir())[0] == "requeue"


def test_the_watch_moves_to_another_node_and_leaves_nothing_behind(
    cluster: HooklessCluster,
) -> None:
    job_id = submit_waiting(cluster, spares=2)
    first, second = await_watches(cluster, job_id)
    lose(cluster, job_id, first)
    assert second in await_watches(cluster, job_id, without=first)
    heartbeat = cluster.run_dir() / "heartbeat"
    await_(heartbeat.exists, "a heartbeat")
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "0"
    await_(lambda: not watch_of(cluster, job_id), "the watch has ended")
    assert not heartbeat.exists()
    assert decisions(cluster.run_dir()) == ["leave"]


def test_a_supervisor_that_is_paused_is_not_taken_for_lost(cluster: HooklessCluster) -> None:
    job_id = submit_waiting(cluster)
    await_watches(cluster, job_id)
    watches, supervisor = watch_of(cluster, job_id), supervisor_of(cluster, job_id)

    def asks() -> bool:
        return any(
            process.parent in watches and str(cluster.run_dir()) in process.words
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
