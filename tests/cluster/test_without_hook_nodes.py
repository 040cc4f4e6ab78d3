"""Runs on a cluster without the hook that lose a node, or leave one: no privileges are needed."""

import json
from collections.abc import Iterator

import pytest

from contrib.testing.hookless_cluster import (
    HooklessCluster,
    await_attempt,
    await_ranks,
    decisions,
    submit,
    submit_waiting,
    supervisor_of,
)
from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import SHORT_BATCH_START
from contrib.testing.waiting import await_


@pytest.fixture(scope="module")
def _booted() -> Iterator[HooklessCluster]:
    with HooklessCluster(*SHORT_BATCH_START) as cluster:
        yield cluster


@pytest.mark.parametrize("restarts", [0, 1])
def test_everything_on_the_batch_host_is_killed_each_time(
    cluster: HooklessCluster, restarts: int
) -> None:
    job_id = submit(cluster, "sleep 300", restarts=restarts)
    for number in range(restarts + 1):
        await_attempt(cluster, number)
        host = cluster.nodes_of(job_id)[0]
        cluster.fault("kill-slurmd", host)
        if restarts:
            cluster.fault("node-down", host)  # of the other loss Slurm finds out by itself
    assert cluster.await_end(job_id) == "FAILED"
    # Slurm itself requeues the job; the attempt after the last one starts no program.
    assert cluster.job(job_id)["Restarts"] == str(restarts + 1)
    runs = cluster.summary()["runs"]
    assert [run["category"] for run in runs] == ["hardware.node"] * (restarts + 1)
    assert all(len(run["blamed_nodes"]) == 1 for run in runs)
    assert decisions(cluster.run_dir()) == ["adjust"] * restarts + ["cancel", "leave"]
    log = (cluster.run_dir() / "run.log").read_text()
    assert f"max_num_restarts is {restarts}" in log


@pytest.mark.parametrize("how", ["dead", "set down"])
def test_a_lost_node_is_excluded(cluster: HooklessCluster, how: str) -> None:
    cluster.trainer_does("wait@15")
    job_id = submit(cluster, None)
    nodes = cluster.await_running(job_id)
    cluster.await_step(10)
    if how == "dead":
        cluster.fault("kill-slurmd", nodes[1])
    else:
        down = ("scontrol", "update", f"NodeName={nodes[1]}", "State=DOWN", "Reason=test")
        cluster.run(*down, as_root=True)
    await_attempt(cluster, 1)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    first, second = cluster.summary()["runs"]
    assert (first["category"], first["blamed_nodes"]) == ("hardware.node", [nodes[1]])
    assert nodes[1] not in second["nodes"]
    assert cluster.job(job_id)["ExcNodeList"] == nodes[1]


@pytest.mark.parametrize(("spares", "decision"), [(1, "swap"), (0, "relaunch_smaller")])
def test_after_the_loss_of_a_node_the_run_goes_on_in_its_allocation(
    cluster: HooklessCluster, spares: int, decision: str
) -> None:
    job_id = submit_waiting(cluster, nodes=3, spares=spares)
    lost = cluster.nodes_of(job_id)[1]
    assert lost in await_ranks(cluster, 0, 3)
    cluster.fault("node-down", lost)
    assert lost not in await_ranks(cluster, 1, 2 + spares)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "0"
    assert decisions(cluster.run_dir()) == [decision, "leave"]


def test_without_a_spare_and_below_the_minimum_it_waits_for_a_replacement(
    cluster: HooklessCluster,
) -> None:
    cluster.fault("node-drain", "csx4")
    job_id = submit_waiting(cluster, nodes=3, min_nodes=3, spares=0)
    cluster.fault("node-down", "csx2")
    cluster.await_end(job_id, "PENDING")
    cluster.fault("node-resume", "csx4")
    assert await_ranks(cluster, 1, 3) == {"csx1", "csx3", "csx4"}
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "1"
    assert decisions(cluster.run_dir()) == ["adjust", "leave"]


def test_the_batch_slurmstepd_is_killed(cluster: HooklessCluster) -> None:
    """What it had started lives on, and is ended by the next attempt before that starts."""
    job_id = submit(cluster, "sleep 600")
    await_attempt(cluster, 0)
    supervisor, host = supervisor_of(cluster, job_id), cluster.nodes_of(job_id)[0]
    cluster.fault("kill-stepd", host)

    def is_requeued() -> bool:
        # Slurm finds out when the node registers: here at the start of its slurmd.
        cluster.fault("kill-slurmd-only", host)
        cluster.fault("start-slurmd", host)
        return cluster.job(job_id)["Restarts"] == "1"

    await_(is_requeued, "Slurm finds that the batch step is gone", interval=5)
    await_attempt(cluster, 1)
    await_(
        lambda: supervisor not in {process.pid for process in job_processes(cluster, job_id)},
        "the first supervisor is ended",
    )
    assert cluster.state(job_id) == "RUNNING"
    assert cluster.job(job_id)["Restarts"] == "1"
    assert decisions(cluster.run_dir())[0] == "adjust"
    end = json.loads((cluster.run_dir() / "attempts/0/end.json").read_text())
    assert end["rule"] == "supervisor.superseded"


def test_a_later_phase_leaves_the_nodes_that_an_earlier_one_excludes(
    cluster: HooklessCluster,
) -> None:
    """It was submitted before them: its first attempt starts no program there, uncounted."""
    lines = [
        'if [ "$CSX_RESTART_ATTEMPT" = 0 ] && mkdir first 2>/dev/null; then',
        '    echo "srun: error: Node failure on $SLURMD_NODENAME"; exit 3',
        "fi",
    ]
    script = cluster.script("\n".join(lines))
    settings = {"slurm.command": str(script), "slurm.policy.backoff": "1s"}
    config = cluster.config(nodes=1, min_nodes=1, restarts=1, **settings)
    second = cluster.in_two_phases(config)
    first, later = cluster.csx_sbatch(config)
    assert [cluster.await_end(job_id) for job_id in (first, later)] == ["COMPLETED"] * 2
    before, _ = cluster.summary()["runs"]
    left, done = cluster.summary(cluster.run_dir(second))["runs"]
    assert (left["rule"], left["blamed_nodes"]) == ("supervisor.excluded_node", before["nodes"])
    assert done["status"] == "success"
    assert cluster.job(later)["ExcNodeList"] == before["nodes"][0]
