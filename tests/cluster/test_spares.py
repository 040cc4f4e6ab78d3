"""Runs that go on in their allocation after a node is lost, with a spare or on fewer nodes.

That is so by default; the batch host alone has to be found, by the reconciler or by another node.
"""

import re
import sys
from collections.abc import Iterator

import pytest

from contrib.testing.dev_cluster import DEAD_NODE_NOTICED
from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import FAST, ManagedCluster
from contrib.testing.waiting import await_
from slurm_restart.supervise.job_processes import NOT_THE_TRAINERS

STEP = "srun sh -c 'touch {work}/$CSX_RESTART_ATTEMPT.$SLURMD_NODENAME; {then}'"
"""A program that tells on which nodes its ranks are."""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 6, "recovery": None, "options": DEAD_NODE_NOTICED}


NOBODY_ELSE = """
import sys
from pathlib import Path
from slurm_restart.supervise import supervisor_context
from slurm_restart.supervise.lost_batch_host import HostQuestion
from slurm_restart.trainer.rundir import RunDir
path, job_id, host, held, heartbeat, time = sys.argv[1:]
print(HostQuestion(
    run_dir=RunDir(Path(path)), job_id=int(job_id), restarts=0, host=host,
    held=tuple(held.split()), heartbeat=heartbeat, slurm=supervisor_context.cluster_of,
    patience=float(time), pause=0.1,
).requeue_if_lost())
"""
"""What the watch runs on another node of a job, with less time for the reconciler."""


def submit(
    cluster: ManagedCluster,
    *,
    nodes: int = 4,
    min_nodes: int = 2,
    spares: int = 0,
    then: str = "exec sleep 600",
    after: str = "",
    options: str = "",
) -> int:
    """Submit a run whose ranks wait, and wait until all of them do.

    Args:
        cluster: where.
        nodes: of an attempt.
        min_nodes: fewest nodes of an attempt.
        spares: further nodes.
        then: what a rank does.
        after: what the script does when the ranks have ended.
        options: further options of csx-sbatch.
    """
    script = cluster.work / "train.sh"
    script.write_text(
        f"#!/bin/sh\n#SBATCH -N{nodes}\n#SBATCH --exclusive\n#CSX --min-nodes={min_nodes} "
        f"--spares={spares} {options}\n{STEP.format(work=cluster.work, then=then)}\n{after}\n"
    )
    out = cluster.run("csx-sbatch", "--parsable", str(script))
    job_id = int(out.strip().partition(";")[0])
    await_ranks(cluster, 0, nodes)
    return job_id


def ranks(cluster: ManagedCluster, attempt: int) -> set[str]:
    """The nodes on which an attempt has ranks."""
    return {path.suffix[1:] for path in cluster.work.glob(f"{attempt}.csx*")}


def await_ranks(cluster: ManagedCluster, attempt: int, count: int) -> set[str]:
    """Wait until an attempt has ranks on so many nodes; return them."""
    await_(lambda: len(ranks(cluster, attempt)) == count, f"ranks of attempt {attempt}")
    return ranks(cluster, attempt)


def run_log(cluster: ManagedCluster) -> str:
    """run.log of the newest run."""
    return (cluster.run_dir(cluster.work / "csx-restart") / "run.log").read_text()


def processes_on(cluster: ManagedCluster, node: str) -> list[str]:
    """The command lines of the programs of jobs on a node, which sleep."""
    return [
        " ".join(process.words)
        for process in job_processes(cluster)
        if process.environment.get("SLURMD_NODENAME") == node
        and "sleep" in " ".join(process.words)
        and NOT_THE_TRAINERS.decode() not in process.environment
    ]


@pytest.mark.parametrize("fault", ["node-down", "kill-slurmd"])
def test_a_spare_takes_the_place_of_a_lost_node(cluster: ManagedCluster, fault: str) -> None:
    job_id = submit(cluster, spares=1)
    before = ranks(cluster, 0)
    [spare] = set(cluster.nodes_of(job_id)) - before
    cluster.fault(fault, "csx3")
    await_(lambda: "csx3" not in cluster.nodes_of(job_id), "Slurm has noticed")
    after = await_ranks(cluster, 1, 4)
    assert after == (before | {spare}) - {"csx3"}
    assert processes_on(cluster, "csx3") == []
    assert cluster.job(job_id)["Restarts"] == "0"
    log = run_log(cluster)
    assert re.search(rf"decision: swap \(.*csx3 is lost .*; in its place: {spare}", log)
    explained = cluster.run("csx-restart", "explain", str(job_id))
    assert f"in its place: {spare}" in explained


SIDE_BY_SIDE = """#!/bin/sh
#SBATCH -N3
#SBATCH --exclusive
#CSX --min-nodes=2
for node in $(scontrol show hostnames "$SLURM_JOB_NODELIST"); do
    srun -N1 -n1 --exact -w "$node" -o {work}/output.$node -e {work}/errors.$node sh -c \\
        'touch {work}/$CSX_RESTART_ATTEMPT.$SLURMD_NODENAME; exec sleep 600' 2> {work}/srun.$node &
done
wait
"""
"""A program with an srun for each node, whose output goes to files of its own."""


def test_a_lost_node_of_which_no_output_tells_is_noticed(cluster: ManagedCluster) -> None:
    script = cluster.work / "train.sh"
    script.write_text(SIDE_BY_SIDE.format(work=cluster.work))
    cluster.run("csx-sbatch", str(script))
    await_ranks(cluster, 0, 3)
    down = ("scontrol", "update", "NodeName=csx3", "State=DOWN", "Reason=test")
    cluster.run(*down, as_root=True)
    await_(lambda: "Slurm has lost csx3" in run_log(cluster), "it is noticed")
    assert await_ranks(cluster, 1, 2) == {"csx1", "csx2"}


def test_ranks_that_ended_before_slurm_noticed_do_not_keep_the_next_ones_waiting(
    cluster: ManagedCluster,
) -> None:
    """Ranks that miss the lost one end by themselves; 22.05 shows their step for ever."""
    gone = cluster.work / "gone"
    wait = f"while ! test -e {gone}; do sleep 0.1; done; exit 1"
    submit(cluster, spares=1, then=f"test $CSX_RESTART_ATTEMPT = 0 || exec sleep 600; {wait}")
    cluster.fault("kill-slurmd", "csx3")
    gone.touch()
    assert await_ranks(cluster, 1, 4) == {"csx1", "csx2", "csx4", "csx5"}


def test_a_node_that_slurm_has_not_yet_given_up_is_no_obstacle(cluster: ManagedCluster) -> None:
    """Its ranks' peers end at once; Slurm shows first that it does not respond, and keeps it."""
    gone = cluster.work / "gone"
    wait = f"while ! test -e {gone}; do sleep 0.1; done; exit 1"
    ranks_then = f"test $CSX_RESTART_ATTEMPT = 0 || exec sleep 600; {wait}"
    job_id = submit(cluster, spares=1, then=ranks_then)
    cluster.fault("kill-slurmd", "csx3")
    await_(lambda: not cluster.node("csx3").isalpha(), "no response")
    gone.touch()
    assert await_ranks(cluster, 1, 4) == {"csx1", "csx2", "csx4", "csx5"}
    assert cluster.job(job_id)["Restarts"] == "0"


def test_without_a_spare_it_goes_on_with_fewer_nodes(cluster: ManagedCluster) -> None:
    job_id = submit(cluster)
    cluster.fault("node-down", "csx3")
    after = await_ranks(cluster, 1, 3)
    assert after == set(cluster.nodes_of(job_id))
    assert cluster.job(job_id)["Restarts"] == "0"
    assert re.search(r"decision: relaunch_smaller \(.*; 3 of 4 nodes are left", run_log(cluster))


def test_a_second_node_that_is_lost_in_the_moment_of_the_restart(cluster: ManagedCluster) -> None:
    """Slurm's nodes are looked at before the program is started, and soon after it."""
    world = cluster.work / "world"
    count = f"echo $SLURM_NTASKS > {world}.$SLURM_PROCID && mv {world}.$SLURM_PROCID {world}"
    job_id = submit(cluster, then=f"{count}; exec sleep 600")
    cluster.fault("node-down", "csx3")
    await_(lambda: "decision: relaunch_smaller" in run_log(cluster), "the decision", interval=0.01)
    down = ("scontrol", "update", "NodeName=csx4", "State=DOWN", "Reason=test")
    cluster.run(*down, as_root=True)
    await_(lambda: world.read_text() == "2\n", "ranks on what is left")
    assert cluster.nodes_of(job_id) == ["csx1", "csx2"]
    assert cluster.job(job_id)["Restarts"] == "0"


def test_a_blamed_node_is_left_although_the_job_still_has_it(cluster: ManagedCluster) -> None:
    later = "test $CSX_RESTART_ATTEMPT = 0 || exec sleep 600"
    job_id = submit(
        cluster,
        spares=2,
        then=later,
        after="echo srun: error: Node failure on csx3; exit 3",
    )
    assert await_ranks(cluster, 1, 4) == {"csx1", "csx2", "csx4", "csx5"}
    assert len(cluster.nodes_of(job_id)) == 6
    assert processes_on(cluster, "csx3") == processes_on(cluster, "csx6") == []
    assert re.search(r"decision: swap \(.*the log names csx3; in its place: csx5", run_log(cluster))
    # A requeue excludes it.
    await_(lambda: ";out=csx3" in cluster.job(job_id)["run"], "the record names it")
    cluster.run("scontrol", "requeue", str(job_id), as_root=True)
    await_(lambda: "csx3" in cluster.excluded(job_id), "it is excluded")


def test_without_a_spare_and_below_the_minimum_it_waits_for_a_replacement(
    cluster: ManagedCluster,
) -> None:
    drain = ("scontrol", "update", "NodeName=csx6", "State=DRAIN", "Reason=test")
    cluster.run(*drain, as_root=True)
    job_id = submit(cluster, nodes=5, min_nodes=5)
    cluster.fault("node-down", "csx3")
    cluster.await_end(job_id, "PENDING")
    await_(
        lambda: (
            "waits: 4 usable nodes, 5 are needed"
            in cluster.run("scontrol", "show", "job", str(job_id), as_root=True)
        ),
        "it waits",
    )
    cluster.fault("node-resume", "csx6")
    cluster.await_running(job_id)
    assert await_ranks(cluster, 1, 5) == {"csx1", "csx2", "csx4", "csx5", "csx6"}
    assert cluster.job(job_id)["Restarts"] == "1"


def test_a_second_loss_that_leaves_too_few_is_followed_by_a_requeue(
    cluster: ManagedCluster,
) -> None:
    job_id = submit(cluster, min_nodes=4, spares=1)
    cluster.fault("node-down", "csx3")
    await_ranks(cluster, 1, 4)
    cluster.fault("node-down", "csx5")
    await_(lambda: cluster.ends(job_id), "the end of the job")
    assert cluster.ends(job_id)[0]["action"] == "requeue"
    assert "at least 4 are needed" in run_log(cluster)
    cluster.await_running(job_id)
    assert await_ranks(cluster, 2, 4) == {"csx1", "csx2", "csx4", "csx6"}


def test_a_job_without_its_batch_host_is_found_and_requeued(cluster: ManagedCluster) -> None:
    cluster.configure(policy=FAST, hook={"stale_running_after": 1})
    job_id = submit(cluster, spares=1)
    cluster.reconcile()  # as before the loss: the journal has the job's nodes
    cluster.fault("kill-slurmd", "csx1")
    await_(lambda: "csx1" not in cluster.nodes_of(job_id), "Slurm has noticed")
    assert cluster.state(job_id) == "RUNNING"

    def judged() -> bool:
        cluster.reconcile()
        return bool(cluster.ends(job_id))

    await_(judged, "the end is found")
    [end] = cluster.ends(job_id)
    assert (end["category"], end["rule"]) == ("hardware.node", "state.node_fail")
    assert (end["action"], end["source"]) == ("requeue", "sweep")
    assert cluster.excluded(job_id) == {"csx1"}
    cluster.await_running(job_id)
    assert "csx1" not in await_ranks(cluster, 1, 4)


@pytest.fixture(params=["act", "observe"])
def mode(cluster: ManagedCluster, request: pytest.FixtureRequest) -> Iterator[str]:
    """The site's mode, which is "act" again in the end."""
    cluster.configure(mode=request.param, policy=FAST)
    yield request.param
    cluster.configure(policy=FAST)


def test_without_a_reconciler_another_node_requeues_a_job_without_its_batch_host(
    cluster: ManagedCluster, mode: str
) -> None:
    job_id = submit(cluster, spares=1, options="--recovery=auto")
    after = cluster.submit("true", f"--dependency=afterok:{job_id}")
    held = cluster.nodes_of(job_id)
    run_dir = cluster.run_dir(cluster.work / "csx-restart")
    cluster.fault("kill-slurmd", held[0])
    cluster.fault("node-down", held[0])
    await_(lambda: held[0] not in cluster.nodes_of(job_id), "Slurm has noticed")
    heartbeat = run_dir / "heartbeat"
    last = heartbeat.read_text().strip() if heartbeat.exists() else ""
    asked = (str(run_dir), str(job_id), held[0], " ".join(held), last, "1")
    assert cluster.run(sys.executable, "-I", "-c", NOBODY_ELSE, *asked) == "True\n"
    await_(lambda: cluster.ends(job_id), "the hook has judged the end")
    [end] = cluster.ends(job_id)
    assert (end["category"], end["rule"]) == ("hardware.node", "state.node_fail")
    assert (end["source"], end["requeued"], end["total"]) == ("hook", True, 1)
    assert end.get("observed", False) is (mode == "observe")
    assert "nobody else has requeued the job" in run_log(cluster)
    assert cluster.state(after) == "PENDING"
    if mode == "observe":
        assert (cluster.job(job_id)["Restarts"], cluster.excluded(job_id)) == ("1", set())
        return
    assert cluster.excluded(job_id) == {held[0]}
    assert held[0] not in await_ranks(cluster, 1, 4)
    assert cluster.job(job_id)["Restarts"] == "1"
    assert cluster.state(after) == "PENDING"


def test_a_batch_host_that_is_set_down_while_it_lives_is_left(cluster: ManagedCluster) -> None:
    """22.05 and 24.11 kill the script and end the job, 26.05 lets its supervisor end it."""
    job_id = submit(cluster, spares=1)
    host = cluster.nodes_of(job_id)[0]
    cluster.fault("node-down", host)
    assert host not in await_ranks(cluster, 1, 4)
    assert cluster.job(job_id)["Restarts"] == "1"
    assert cluster.excluded(job_id) == {host}
