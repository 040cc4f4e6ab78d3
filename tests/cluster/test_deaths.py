"""Real deaths of a real run: each is restarted from its last checkpoint and ends as COMPLETED."""

import os
import re
import signal

import pytest

from contrib.testing.dev_cluster import DEAD_NODE_NOTICED
from contrib.testing.managed_cluster import FAST, SHORT_BATCH_START, ManagedCluster
from contrib.testing.waiting import await_

STEPS, EVERY = 60, 5


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    # A shrink has to fit nodes of several CPUs: see core.operations.update.
    return {"nodes": 5, "options": ("--cpus", "4", *DEAD_NODE_NOTICED, *SHORT_BATCH_START)}


def start(cluster: ManagedCluster, *, nodes: int = 3, **changes: object) -> int:
    """Submit the example run, whose first attempt waits at step 30; wait for a checkpoint."""
    cluster.trainer_does("wait@30/restart=0")
    config = cluster.config(steps=STEPS, every=EVERY, nodes=nodes, min_nodes=2, **changes)
    [job_id] = cluster.csx_sbatch(config)
    cluster.await_step(EVERY)
    return job_id


def check(
    cluster: ManagedCluster,
    job_id: int,
    *,
    attempts: int,
    excluded: set[str],
    nodes: int,
    category: str,
    action: str = "requeue",
) -> None:
    """What every death has in common: the run came back from its checkpoint and has finished."""
    assert cluster.await_end(job_id) == "COMPLETED"
    runs = cluster.summary()["runs"]
    assert len(runs) == attempts
    assert runs[-1]["status"] == "success"
    assert runs[-1]["starting_step"] >= EVERY
    assert runs[-1]["ending_step"] == STEPS
    assert runs[-1]["num_csx"] == nodes
    assert all(run["status"] == "failed" for run in runs[:-1])
    ends = cluster.ends(job_id)
    actions = [end["action"] for end in ends]
    assert actions == [action] * (attempts - 1) + ["leave"], cluster.journal(job_id)
    assert ends[0]["category"] == category
    assert ends[-1]["category"] == "completed"
    assert cluster.excluded(job_id) == excluded, cluster.hook_log()
    failed = [event for event in cluster.journal(job_id) if event.get("failed")]
    assert not failed, str(failed)
    log = (cluster.run_dir() / "run.log").read_text()
    assert all(f"[run_{number}]" in log for number in range(1, attempts + 1))


@pytest.mark.core
def test_a_rank_is_killed(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    cluster.fault("kill-step", cluster.nodes_of(job_id)[1])
    cluster.let_go()
    check(cluster, job_id, attempts=2, excluded=set(), nodes=3, category="unknown")


def test_the_last_validation_is_cut_off(cluster: ManagedCluster) -> None:
    """All steps are done and saved: the next attempt does no more than the validation."""
    cluster.trainer_does(f"signal:9@{STEPS}/validation/restart=0")
    changes = {"trainer.fit.val_dataloader": {"batch_size": 32}}
    config = cluster.config(steps=STEPS, every=EVERY, nodes=2, min_nodes=2, **changes)
    [job_id] = cluster.csx_sbatch(config)
    assert cluster.await_end(job_id) == "COMPLETED"
    first, second = cluster.summary()["runs"]
    assert (first["status"], first["ending_step"]) == ("failed", STEPS)
    assert (second["status"], second["starting_step"], second["ending_step"]) == (
        "success",
        STEPS,
        STEPS,
    )
    assert second["validation_only"] is True
    final = cluster.work / "model_dir" / f"checkpoint_{STEPS}.mdl"
    assert second["checkpoint"] == str(final)
    outputs = [cluster.run_dir() / "attempts" / n / "output.log" for n in ("0", "1")]
    evaluated = [f"| Eval Device=CPU, GlobalStep={STEPS}" in out.read_text() for out in outputs]
    assert evaluated == [False, True]
    assert "| Train Device" not in outputs[1].read_text()
    log = (cluster.run_dir() / "run.log").read_text()
    assert "[run_2] " in log
    assert f"step {STEPS} is the last one ({STEPS}): validation of {final}" in log


def test_the_supervisor_is_killed(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    os.kill(cluster.batch_pid(job_id), signal.SIGKILL)
    check(cluster, job_id, attempts=2, excluded=set(), nodes=3, category="unknown")


def test_the_batch_slurmstepd_is_killed(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    # The reconciler would find the job after a minute, too; here, Slurm is to find it.
    cluster.configure(policy=FAST, hook={"stale_running_after": 3600})
    try:
        # What the step had started lives on, and finishes.
        cluster.let_go()
        cluster.lose_batch_step(job_id)
        assert cluster.await_end(job_id) == "COMPLETED"
    finally:
        cluster.configure(policy=FAST)
    ends = cluster.ends(job_id)
    assert [end["action"] for end in ends] == ["adjust", "leave"]
    assert {run["status"] for run in cluster.summary()["runs"]} <= {"success", "failed"}
    assert cluster.summary()["runs"][-1]["ending_step"] == STEPS


@pytest.mark.core
def test_a_node_is_gone(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    gone = cluster.nodes_of(job_id)[1]
    cluster.fault("kill-slurmd", gone)
    check(
        cluster,
        job_id,
        attempts=2,
        excluded={gone},
        nodes=3,
        category="hardware.node",
        action="adjust",
    )


def test_the_batch_host_is_gone(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    gone = cluster.nodes_of(job_id)[0]
    cluster.fault("kill-slurmd", gone)
    check(
        cluster,
        job_id,
        attempts=2,
        excluded={gone},
        nodes=3,
        category="hardware.node",
        action="adjust",
    )


def test_a_node_is_set_down(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    down = cluster.nodes_of(job_id)[2]
    cluster.fault("node-down", down)
    check(
        cluster,
        job_id,
        attempts=2,
        excluded={down},
        nodes=3,
        category="hardware.node",
        action="adjust",
    )


def notice_after(cluster: ManagedCluster, seconds: int) -> None:
    """Let slurmctld set a node DOWN whose slurmd has not answered for so long."""
    new, count = re.subn(
        r"^SlurmdTimeout=.*$",
        f"SlurmdTimeout={seconds}",
        cluster.conf.read_text(),
        flags=re.MULTILINE,
    )
    assert count == 1
    cluster.conf.write_text(new)
    cluster.run("scontrol", "reconfigure", as_root=True)
    shown = f"SlurmdTimeout           = {seconds} sec"
    await_(lambda: shown in cluster.run("scontrol", "show", "config", check=False), shown)


def test_a_slurmd_dies_unnoticed_and_then_a_rank(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    silent = cluster.nodes_of(job_id)[1]
    # A busy machine may take longer than SlurmdTimeout from the one death to the end of the job.
    notice_after(cluster, 300)
    try:
        cluster.fault("kill-slurmd-only", silent)
        cluster.fault("kill-step", cluster.nodes_of(job_id)[2])
        cluster.let_go()
        await_(lambda: cluster.job(job_id)["Restarts"] == "1", "the job is requeued")
        # What slurmctld does once it notices. With a shorter time it would have to be configured
        # anew, and then asks the nodes of a COMPLETING job again only after two minutes.
        down = ("State=DOWN", "Reason=Not responding")
        cluster.run("scontrol", "update", f"NodeName={silent}", *down, as_root=True)
        check(cluster, job_id, attempts=2, excluded={silent}, nodes=3, category="unknown")
    finally:
        notice_after(cluster, 20)


def test_the_pool_is_too_small_for_a_replacement(cluster: ManagedCluster) -> None:
    job_id = start(cluster, nodes=5)
    gone = cluster.nodes_of(job_id)[3]
    cluster.fault("node-down", gone)
    check(
        cluster,
        job_id,
        attempts=2,
        excluded={gone},
        nodes=4,
        category="hardware.node",
        action="adjust",
    )


def test_a_drained_node_lets_the_run_go_on(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    cluster.fault("node-drain", cluster.nodes_of(job_id)[1])
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert len(cluster.summary()["runs"]) == 1


def test_the_prolog_fails_on_one_node(cluster: ManagedCluster) -> None:
    # All nodes, so that the broken one is among them: Slurm may prefer any for a smaller job.
    config = cluster.config(steps=20, every=EVERY, nodes=len(cluster.node_names), min_nodes=2)
    cluster.fault("fail-prolog", "csx1")
    try:
        [job_id] = cluster.csx_sbatch(config)
        assert cluster.await_end(job_id) == "COMPLETED"
    finally:
        cluster.fault("mend-prolog", "csx1")
    ends = cluster.ends(job_id)
    assert [end["category"] for end in ends] == ["prolog_failed", "completed"]
    assert [end["action"] for end in ends] == ["release", "leave"]
    assert cluster.excluded(job_id) == {"csx1"}
