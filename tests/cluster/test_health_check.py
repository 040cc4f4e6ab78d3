"""The nodes are checked before the program is started, and drained nodes are left."""

import pytest

from contrib.testing.managed_cluster import ManagedCluster

STEPS, EVERY = 12, 3


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 5}


def start(cluster: ManagedCluster, nodes: int, **settings: object) -> int:
    """Submit the example run, which may not be restarted at all if that counts."""
    changes = {f"slurm.{key}": value for key, value in settings.items()}
    config = cluster.config(
        steps=STEPS, every=EVERY, nodes=nodes, min_nodes=nodes, restarts=0, **changes
    )
    [job_id] = cluster.csx_sbatch(config)
    return job_id


def run_log(cluster: ManagedCluster) -> str:
    return (cluster.run_dir() / "run.log").read_text()


def judged(cluster: ManagedCluster, job_id: int) -> list[tuple[str, str]]:
    return [(end["category"], end["action"]) for end in cluster.ends(job_id)]


@pytest.mark.core
def test_nodes_that_fail_the_check_or_do_not_answer_are_left(cluster: ManagedCluster) -> None:
    check = """case "$SLURMD_NODENAME" in
      csx2) echo "fan 3 stands still"; exit 9;;
      csx3) sleep 600;;
    esac"""
    health = {"command": check, "checks": "memory=1,disk=1,network,gpu", "timeout": "5s"}
    job_id = start(cluster, 3, health_check=health)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert judged(cluster, job_id) == [("health_check", "requeue"), ("completed", "leave")]
    excluded = {
        event["node"]: event["evidence"]
        for event in cluster.journal(job_id)
        if event["event"] == "exclude"
    }
    assert set(excluded) == {"csx2", "csx3"}
    assert excluded["csx2"] == "health check: command: fan 3 stands still (exit code 9)"
    assert "csx3: command: no end within 5 s" in run_log(cluster)
    assert "health check passed on csx1,csx4,csx5" in run_log(cluster)
    assert "neither nvidia-smi" in run_log(cluster)


def test_a_spare_that_fails_the_check_takes_no_other_nodes_place(cluster: ManagedCluster) -> None:
    check = 'test "$SLURMD_NODENAME" != csx3 || { echo "fan 3 stands still"; exit 9; }'
    names = "srun: error: Node failure on csx2"
    command = f"sh -c 'case $CSX_RESTART_ATTEMPT in 0) echo {names}; exit 3;; esac'"
    config = cluster.config(command=command, nodes=2, min_nodes=2, restarts=1)
    settings = ("--spares=2", "--recovery=auto", f"--health-check={check}")
    [job_id] = cluster.csx_sbatch(config, *settings)
    assert cluster.await_end(job_id) == "COMPLETED"
    first, second = cluster.summary()["runs"]
    assert (first["nodes"], second["nodes"]) == (["csx1", "csx2"], ["csx1", "csx4"])
    assert (cluster.job(job_id)["Restarts"], second["in_place"]) == ("0", 1)
    assert "the spare csx3 is not used, as it fails the health check" in run_log(cluster)


def test_a_command_that_does_not_exist_stops_the_run_and_excludes_nobody(
    cluster: ManagedCluster,
) -> None:
    job_id = start(cluster, 2, health_check="/nonexistent/check")
    assert cluster.await_end(job_id) == "FAILED"
    assert judged(cluster, job_id) == [("config", "leave")]
    assert cluster.excluded(job_id) == set()
    log = run_log(cluster)
    assert "health_check: the command cannot be run on csx1,csx2" in log
    assert "/nonexistent/check: not found (exit code 127); no node is excluded" in log


def test_a_node_that_is_drained_while_the_run_is_on_it_is_left_at_the_next_checkpoint(
    cluster: ManagedCluster,
) -> None:
    # The second fault: the few steps that are left must not be over before Slurm has answered.
    cluster.trainer_does(f"wait@{EVERY + 1}/restart=0", f"hang@{2 * EVERY + 1}/restart=0")
    job_id = start(cluster, 2, leave_drained=True)
    cluster.await_step(EVERY)
    [_, node] = cluster.nodes_of(job_id)
    drain = ("scontrol", "update", f"nodename={node}", "state=drain", "reason=fan 3")
    cluster.run(*drain, as_root=True)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert judged(cluster, job_id) == [("node_drained", "requeue"), ("completed", "leave")]
    first, second = cluster.summary()["runs"]
    # The checkpoint before may be noticed only after the node was drained.
    assert first["ending_step"] == second["starting_step"] in (EVERY, 2 * EVERY)
    assert node not in cluster.nodes_of(job_id)
    # Slurm itself starts nothing there; once the node is resumed, the run may have it again.
    assert cluster.excluded(job_id) == set()
    assert f"{node} is left after checkpoint checkpoint_" in run_log(cluster)
    assert ".mdl: drained: fan 3" in run_log(cluster)
