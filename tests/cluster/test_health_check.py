"""The nodes are checked before the program is started, and drained nodes are left."""

import json

import pytest

from contrib.testing.managed_cluster import KNOWN_CAUSE, ManagedCluster
from contrib.testing.waiting import LONG_DEADLINE, await_

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
    # A healthy node may take some seconds on a busy machine.
    health = {"command": check, "checks": "memory=1,disk=1,network,gpu", "timeout": "20s"}
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
    assert "csx3: command: no end within 20 s" in run_log(cluster)
    assert "health check passed on csx1,csx4,csx5" in run_log(cluster)
    assert "neither nvidia-smi" in run_log(cluster)


def break_nodes(cluster: ManagedCluster, *names: str) -> str:
    """Let these nodes, and no others, fail the check from now on; return the check."""
    broken = cluster.work / "broken"
    new = broken.with_suffix(".new")
    new.write_text("".join(f"{name}\n" for name in names))
    new.replace(broken)
    return f'! grep -qx "$SLURMD_NODENAME" {broken} || {{ echo "fan 3 stands still"; exit 9; }}'


def start_ranks(
    cluster: ManagedCluster,
    *broken: str,
    nodes: int = 3,
    min_nodes: int = 2,
    spares: int = 0,
    recovery: str = "auto",
    **settings: object,
) -> int:
    """Submit a run whose ranks tell where they are and wait for `end_attempt`.

    Args:
        cluster: where.
        broken: nodes that fail the check.
        nodes: of an attempt.
        min_nodes: fewest nodes of an attempt.
        spares: further nodes.
        recovery: where it restarts.
        settings: below `slurm:`.
    """
    at = f"{cluster.work}/$CSX_RESTART_ATTEMPT"
    rank = f"touch {at}.$SLURMD_NODENAME; until test -e {at}.end; do sleep 0.1; done"
    script = cluster.script(f"srun sh -c '{rank}'\ncat {at}.end; test -e {cluster.work}/done")
    changes = {f"slurm.{key}": value for key, value in settings.items()}
    config = cluster.config(
        command=str(script), nodes=nodes, min_nodes=min_nodes, restarts=3, **changes
    )
    check = break_nodes(cluster, *broken)
    options = (f"--spares={spares}", f"--recovery={recovery}", f"--health-check={check}")
    [job_id] = cluster.csx_sbatch(config, *options)
    return job_id


def await_ranks(cluster: ManagedCluster, attempt: int, count: int) -> list[str]:
    """Wait until an attempt has so many ranks; return their nodes."""

    def found() -> list[str]:
        return sorted(path.suffix[1:] for path in cluster.work.glob(f"{attempt}.csx*"))

    what = f"{count} ranks of attempt {attempt}"
    await_(lambda: len(found()) == count, what, timeout=LONG_DEADLINE)
    return found()


def end_attempt(cluster: ManagedCluster, attempt: int, text: str = "") -> None:
    """Let the ranks of an attempt end; its program prints this text and fails."""
    new = cluster.work / "end.new"
    new.write_text(f"{text}\n")
    new.replace(cluster.work / f"{attempt}.end")


def finish(cluster: ManagedCluster, attempt: int, job_id: int) -> None:
    """Let an attempt succeed, and wait for the end of the run."""
    (cluster.work / "done").touch()
    end_attempt(cluster, attempt)
    assert cluster.await_end(job_id) == "COMPLETED"


def evidence(cluster: ManagedCluster, job_id: int) -> dict[str, str]:
    """The nodes that the journal excludes, and why."""
    return {
        event["node"]: event["evidence"]
        for event in cluster.journal(job_id)
        if event["event"] == "exclude"
    }


def test_a_spare_takes_the_place_of_a_node_that_fails_the_check(cluster: ManagedCluster) -> None:
    job_id = start_ranks(cluster, "csx2", spares=1)
    assert await_ranks(cluster, 0, 3) == ["csx1", "csx3", "csx4"]
    assert cluster.nodes_of(job_id) == ["csx1", "csx2", "csx3", "csx4"]
    status = cluster.run("csx-restart", "status", str(job_id))
    left = "swap: csx2 fails the health check: command: fan 3 stands still (exit code 9); in its"
    assert left in status
    assert "health check passed on csx1,csx3,csx4" in run_log(cluster)
    # Nothing was restarted, and nothing is counted; a requeue excludes the node.
    assert cluster.job(job_id)["Restarts"] == "0"
    assert cluster.ends(job_id) == []
    cluster.run("scontrol", "requeue", str(job_id), as_root=True)
    assert "csx2" not in await_ranks(cluster, 1, 3)
    assert evidence(cluster, job_id) == {
        "csx2": "health check: command: fan 3 stands still (exit code 9)"
    }
    finish(cluster, 1, job_id)
    first, second = cluster.summary()["runs"]
    assert first["unhealthy_nodes"] == {"csx2": "command: fan 3 stands still (exit code 9)"}
    assert (first["in_place"], second["unhealthy_nodes"]) == (0, {})


@pytest.mark.parametrize("recovery", ["auto", "in-place"])
def test_without_a_spare_it_starts_with_fewer_nodes(cluster: ManagedCluster, recovery: str) -> None:
    job_id = start_ranks(cluster, "csx3", recovery=recovery)
    assert await_ranks(cluster, 0, 2) == ["csx1", "csx2"]
    assert "relaunch_smaller: csx3 fails the health check: command: fan 3" in run_log(cluster)
    finish(cluster, 0, job_id)
    assert cluster.job(job_id)["Restarts"] == "0"
    assert judged(cluster, job_id) == [("completed", "leave")]
    assert cluster.summary()["runs"][0]["num_csx"] == 2


@pytest.mark.parametrize(("node", "least"), [("csx2", 3), ("csx1", 2)])
def test_below_the_minimum_or_without_the_batch_host_it_is_requeued(
    cluster: ManagedCluster, node: str, least: int
) -> None:
    job_id = start_ranks(cluster, node, min_nodes=least)
    assert node not in await_ranks(cluster, 1, 3)
    assert judged(cluster, job_id) == [("health_check", "requeue")]
    assert evidence(cluster, job_id) == {
        node: "health check: command: fan 3 stands still (exit code 9)"
    }
    why = "it is the batch host" if node == "csx1" else "2 nodes are left, at least 3 are needed"
    assert f"no start in this allocation: {node} fails the health check" in run_log(cluster)
    assert why in run_log(cluster)
    assert json.loads((cluster.run_dir() / "attempts/1/start.json").read_text())["in_place"] == 0
    finish(cluster, 1, job_id)


def test_each_failure_leaves_the_nodes_that_fail_until_too_few_are_left(
    cluster: ManagedCluster,
) -> None:
    """Before a relaunch; the spare that took the place of a node fails too."""
    # No other node is free, to which an unexplained failure would move.
    cluster.fault("node-drain", "csx5")
    job_id = start_ranks(cluster, spares=1)
    assert await_ranks(cluster, 0, 3) == ["csx1", "csx2", "csx3"]
    break_nodes(cluster, "csx2")
    end_attempt(cluster, 0)
    assert await_ranks(cluster, 1, 3) == ["csx1", "csx3", "csx4"]
    break_nodes(cluster, "csx4", "csx2")
    end_attempt(cluster, 1, KNOWN_CAUSE)
    assert await_ranks(cluster, 2, 2) == ["csx1", "csx3"]
    assert cluster.job(job_id)["Restarts"] == "0"
    assert cluster.ends(job_id) == []
    await_(lambda: ";out=csx2,csx4" in cluster.job(job_id)["run"], "the record names both")
    assert ";said=command:_fan_3_stands_still" in cluster.job(job_id)["run"]
    # One node is left, and two are needed: a requeue waits for another.
    break_nodes(cluster, "csx2", "csx3", "csx4")
    end_attempt(cluster, 2, KNOWN_CAUSE)
    cluster.await_end(job_id, "PENDING")
    assert judged(cluster, job_id) == [("health_check", "requeue")]
    assert set(evidence(cluster, job_id)) == {"csx2", "csx3", "csx4"}
    cluster.fault("node-resume", "csx5")

    def has_begun() -> bool:
        # The hook may have seen too few nodes, so that the job waits for a sweep.
        cluster.reconcile()
        return cluster.job(job_id)["JobState"] == "RUNNING"

    await_(has_begun, "the next attempt", timeout=LONG_DEADLINE)
    assert await_ranks(cluster, 4, 2) == ["csx1", "csx5"]
    finish(cluster, 4, job_id)
    assert [run["in_place"] for run in cluster.summary()["runs"]] == [0, 1, 2, None, 0]


def test_each_task_of_an_array_leaves_its_own_node(cluster: ManagedCluster) -> None:
    check = cluster.script(break_nodes(cluster, "csx2"))
    lines = [
        "#SBATCH -N2",
        "#SBATCH --exclusive",
        "#SBATCH --array=3,5",
        f"#CSX --min-nodes=1 --recovery=auto --health-check={check}",
        f"srun sh -c 'touch {cluster.work}/$SLURM_ARRAY_TASK_ID.$SLURMD_NODENAME'",
    ]
    script = cluster.script("\n".join(lines))
    out = cluster.run("csx-sbatch", "--parsable", str(script))
    array = out.strip().partition(";")[0]

    def has_ended() -> bool:
        cluster.reconcile()
        ask = ("squeue", "-h", "-a", "-r", "-t", "all", "-j", array, "-o", "%T")
        return cluster.run(*ask).split() == ["COMPLETED"] * 2

    await_(has_ended, "both tasks have ended", timeout=LONG_DEADLINE)
    ranks = {path.name for path in cluster.work.glob("[35].csx*")}
    assert ranks == {"3.csx1", "5.csx3", "5.csx4"}


def test_a_drained_node_is_left_before_the_start(cluster: ManagedCluster) -> None:
    ready = cluster.work / "ready"
    job_id = start_ranks(cluster, spares=1, setup=f"until test -e {ready}; do sleep 0.1; done")
    cluster.await_running(job_id)
    cluster.fault("node-drain", "csx2")
    ready.touch()
    assert await_ranks(cluster, 0, 3) == ["csx1", "csx3", "csx4"]
    assert "swap: csx2 is drained: " in run_log(cluster)
    finish(cluster, 0, job_id)
    assert cluster.job(job_id)["Restarts"] == "0"


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
