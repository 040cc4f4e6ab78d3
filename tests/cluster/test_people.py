"""People change a managed job: what they did stays, whatever the plugin would have done."""

import re
from concurrent.futures import ThreadPoolExecutor

import pytest

from contrib.testing.managed_cluster import FAST, ManagedCluster
from contrib.testing.waiting import await_

EVERY = 5


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 4}


def start(
    cluster: ManagedCluster, *options: str, command: str = "cszoo fit {config}", **changes: object
) -> int:
    """Submit a run of two nodes, whose trainer runs on the first."""
    wanted = {"nodes": 2, "min_nodes": 1, "steps": 40, "every": EVERY} | changes
    [job_id] = cluster.csx_sbatch(cluster.config(command=command, **wanted), *options)
    return job_id


def start_waiting(cluster: ManagedCluster, *options: str, **changes: object) -> int:
    """Submit a run that fails once, before its first checkpoint, and then waits an hour.

    After progress it would start again at once, whatever the backoff is.
    """
    cluster.configure(policy={"backoff": [3600], "short_wait": 3600})
    cluster.trainer_does("exit:3@3/restart=0", "wait@30/restart=1")
    try:
        job_id = start(cluster, *options, **changes)
        await_(lambda: "applied" in kinds(cluster, job_id), "the first end")
        cluster.await_state(job_id, "PENDING")
        # It may still be about to set the begin time, over what the test sets.
        cluster.await_helper()
    finally:
        cluster.configure(policy=FAST)
    return job_id


def kinds(cluster: ManagedCluster, job_id: int) -> list[str]:
    """The kinds of the events on record."""
    return [event["event"] for event in cluster.journal(job_id)]


def admin(cluster: ManagedCluster, job_id: int, *fields: str) -> None:
    """`scontrol update` as an administrator."""
    cluster.run("scontrol", "update", f"JobId={job_id}", *fields, as_root=True)


def start_now(cluster: ManagedCluster, job_id: int) -> None:
    """Let a waiting job start, as an administrator, and wait until it runs.

    No sweep comes between: a begin time within two seconds of SubmitTime looks like Slurm's own.
    """
    admin(cluster, job_id, "StartTime=now")
    await_(lambda: cluster.state(job_id) == "RUNNING", "the job runs")


def finish(cluster: ManagedCluster, job_id: int, *, attempts: int = 2) -> None:
    """The run starts again, from scratch, and ends as a success."""
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    runs = cluster.summary()["runs"]
    assert [run["status"] for run in runs] == ["failed"] * (attempts - 1) + ["success"]
    assert runs[-1]["starting_step"] == 0
    assert runs[-1]["ending_step"] == 40


# --- an administrator and a waiting job ----------------------------------------------------------


def test_a_start_time_stays(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster)
    # Not the hour that the plugin has set: within a few seconds of it, the value would be its own.
    admin(cluster, job_id, "StartTime=now+7200")
    begin = cluster.job(job_id)["StartTime"]
    for _ in range(3):
        cluster.reconcile()
    assert cluster.job(job_id)["StartTime"] == begin
    start_now(cluster, job_id)
    finish(cluster, job_id)


def test_a_start_time_of_a_job_that_has_not_run_yet_stays(cluster: ManagedCluster) -> None:
    job_id = start(cluster, "--begin=now+3600")
    begin = cluster.job(job_id)["StartTime"]
    for _ in range(2):
        cluster.reconcile()
    assert cluster.job(job_id)["StartTime"] == begin
    assert cluster.journal(job_id) == []


def test_a_hold_stays_and_a_release_ends_it(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster)
    cluster.run("scontrol", "hold", str(job_id), as_root=True)
    for _ in range(3):
        cluster.reconcile()
    job = cluster.job(job_id)
    assert (job["Priority"], job["Reason"]) == ("0", "JobHeldAdmin")
    notes = [event["text"] for event in cluster.journal(job_id) if event["event"] == "note"]
    assert notes == ["held by a person (JobHeldAdmin): left alone"]
    cluster.run("scontrol", "release", str(job_id), as_root=True)
    start_now(cluster, job_id)
    finish(cluster, job_id)


def test_an_exclusion_list_stays_beside_ours(cluster: ManagedCluster) -> None:
    cluster.trainer_does("hang@30/restart=0", "wait@35/restart=1")
    job_id = start(cluster, "--exclude=csx4", nodes=2)
    cluster.await_step(2 * EVERY)
    down = cluster.nodes_of(job_id)[0]
    assert down != "csx4"
    cluster.fault("node-down", down)
    await_(lambda: cluster.excluded(job_id) == {down}, "the exclusion")
    cluster.await_running(job_id)
    assert excluded_nodes(cluster, job_id) == {down, "csx4"}
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert excluded_nodes(cluster, job_id) == {down, "csx4"}
    assert cluster.excluded(job_id) == {down}
    assert cluster.summary()["runs"][-1]["num_csx"] == 2


def test_an_exclusion_list_that_an_administrator_sets_stays(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster)
    admin(cluster, job_id, "ExcNodeList=csx1,csx3")
    for _ in range(2):
        cluster.reconcile()
    assert excluded_nodes(cluster, job_id) == {"csx1", "csx3"}
    start_now(cluster, job_id)
    assert set(cluster.await_running(job_id)) == {"csx2", "csx4"}
    finish(cluster, job_id)
    assert cluster.excluded(job_id) == set()


def test_our_exclusion_that_an_administrator_removes_is_not_set_again(
    cluster: ManagedCluster,
) -> None:
    cluster.trainer_does("hang@30/restart=0")
    job_id = start(cluster, nodes=2, min_nodes=2)
    cluster.await_step(2 * EVERY)
    nodes = cluster.nodes_of(job_id)
    for node in set(cluster.node_names) - set(nodes):
        cluster.fault("node-drain", node)
    cluster.fault("node-down", nodes[0])
    await_(lambda: cluster.excluded(job_id) == {nodes[0]}, "the exclusion")
    await_(lambda: cluster.reconcile() and waits(cluster, job_id), "the wait for nodes")
    cluster.fault("node-resume", nodes[0])
    admin(cluster, job_id, "ExcNodeList=")
    assert cluster.await_end(job_id) == "COMPLETED"
    assert excluded_nodes(cluster, job_id) == set()
    [readmitted] = [event for event in cluster.journal(job_id) if event["event"] == "readmit"]
    assert readmitted["node"] == nodes[0]
    assert "a person" in readmitted["why"]
    assert set(cluster.summary()["runs"][-1]["nodes"]) == set(nodes)


def waits(cluster: ManagedCluster, job_id: int) -> bool:
    """Whether a job's begin time is set ahead for want of nodes."""
    told = cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
    return "JobState=PENDING Reason=BeginTime" in told and "waits: " in told


def test_a_size_stays(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster, nodes=3, min_nodes=2)
    admin(cluster, job_id, "NumNodes=2-2", "NumCPUs=2-2")
    for _ in range(3):
        cluster.reconcile()
    assert "a person set 2 nodes: left alone" in str(cluster.journal(job_id))
    start_now(cluster, job_id)
    assert len(cluster.await_running(job_id)) == 2
    finish(cluster, job_id)
    assert cluster.summary()["runs"][-1]["num_csx"] == 2


def test_requeue_taken_away_from_a_waiting_job(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster)
    admin(cluster, job_id, "Requeue=0")
    cluster.reconcile()
    assert cluster.job(job_id)["Requeue"] == "0"
    start_now(cluster, job_id)
    finish(cluster, job_id)


@pytest.mark.parametrize("who", ["administrator", "owner"])
def test_requeue_taken_away_from_a_running_job_is_its_last_attempt(
    cluster: ManagedCluster, who: str
) -> None:
    job_id = start(cluster, command="sh -c 'while [ ! -e go ]; do sleep 0.1; done; exit 3'")
    cluster.await_running(job_id)
    cluster.run(
        "scontrol", "update", f"JobId={job_id}", "Requeue=0", as_root=who == "administrator"
    )
    (cluster.work / "go").touch()
    assert cluster.await_end(job_id) == "FAILED"
    [end] = cluster.ends(job_id)
    assert (end["action"], end["reason"]) == ("leave", "the job's Requeue flag is off")
    assert cluster.job(job_id)["Restarts"] == "0"


def excluded_nodes(cluster: ManagedCluster, job_id: int) -> set[str]:
    """ExcNodeList of a job."""
    nodes = cluster.job(job_id)["ExcNodeList"]
    return (
        set()
        if nodes == "(null)"
        else set(cluster.run("scontrol", "show", "hostnames", nodes).split())
    )


# --- scancel -------------------------------------------------------------------------------------


def test_scancel_before_the_first_attempt(cluster: ManagedCluster) -> None:
    job_id = start(cluster, "--begin=now+3600")
    cluster.run("scancel", str(job_id))
    assert cluster.await_end(job_id) == "CANCELLED"
    cluster.reconcile()
    assert cluster.state(job_id) == "CANCELLED"
    assert all(end["action"] == "leave" for end in cluster.ends(job_id))


def test_scancel_while_completing(cluster: ManagedCluster) -> None:
    # The node's Epilog takes its time, so that the job stays COMPLETING after the requeue.
    job_id = start(cluster, command="sh -c 'while [ ! -e go ]; do sleep 0.1; done; exit 3'")
    for node in cluster.await_running(job_id):
        cluster.fault("slow-epilog", node, "3600")
    try:
        (cluster.work / "go").touch()
        await_(lambda: "outcome" in kinds(cluster, job_id), "the requeue")
        assert cluster.state(job_id) == "COMPLETING"
        cluster.run("scancel", str(job_id))
    finally:
        for node in cluster.node_names:
            cluster.fault("mend-epilog", node)
    assert cluster.await_end(job_id) == "CANCELLED"
    cluster.reconcile()
    assert cluster.state(job_id) == "CANCELLED"
    assert cluster.job(job_id)["Restarts"] == "1"
    actions = [end["action"] for end in cluster.ends(job_id)]
    assert actions[0] == "requeue"
    assert set(actions[1:]) <= {"leave"}


def comment(cluster: ManagedCluster, job_id: int) -> str:
    """Return the Comment of a job."""
    return cluster.run("squeue", "-h", "-t", "all", "-j", str(job_id), "-o", "%k")


@pytest.mark.parametrize("number", ["TERM", "INT"])
def test_scancel_of_the_batch_script_alone_is_a_cancellation(
    cluster: ManagedCluster, number: str
) -> None:
    job_id = start(cluster, command="sh -c 'sleep 300; exit 3'")
    cluster.await_running(job_id)
    await_(lambda: "attempt=0" in comment(cluster, job_id), "the first report")
    cluster.run("scancel", "--batch", f"--signal={number}", str(job_id))
    assert cluster.await_end(job_id) == "FAILED"
    [end] = cluster.ends(job_id)
    assert (end["category"], end["rule"], end["action"]) == (
        "cancelled",
        "supervisor.cancelled",
        "leave",
    )
    assert cluster.job(job_id)["Restarts"] == "0"


def test_scancel_of_the_batch_script_without_a_signal_looks_like_a_crash(
    cluster: ManagedCluster,
) -> None:
    # The next attempt, which would find out and end the run, is not to come before the last line.
    cluster.configure(policy={"backoff": [3600], "short_wait": 3600})
    try:
        job_id = start(cluster, command="sh -c 'sleep 300; exit 3'")
        cluster.await_running(job_id)
        await_(lambda: "attempt=0" in comment(cluster, job_id), "the first report")
        cluster.run("scancel", "--batch", str(job_id))
        await_(lambda: cluster.ends(job_id), "the end")
        [end] = cluster.ends(job_id)
        assert (end["category"], end["action"]) == ("unknown", "requeue")
        # A single scancel may come before the requeue, where Slurm ignores it.
        cluster.run("csx-restart", "cancel", str(job_id))
        assert cluster.await_end(job_id) == "CANCELLED"
    finally:
        cluster.configure(policy=FAST)


def test_cancel_repeats_what_slurm_ignores_while_completing(cluster: ManagedCluster) -> None:
    job_id = start(cluster, command="sh -c 'while [ ! -e go ]; do sleep 0.1; done; exit 3'")
    cluster.await_running(job_id)
    begun, go_on = cluster.state_dir / "begun", cluster.state_dir / "go-on"
    hook = cluster.hook.read_text()
    real = cluster.hook.with_name("csx-epilog.real")
    real.write_text(hook)
    real.chmod(0o755)
    wait = f"while [ ! -e {go_on} ]; do sleep 0.1; done"
    cluster.hook.write_text(f'#!/bin/sh\n: >{begun}\n{wait}\nexec {real} "$@"\n')
    try:
        (cluster.work / "go").touch()
        await_(begun.exists, "the hook begins")
        assert cluster.state(job_id) == "COMPLETING"
        cluster.run("scancel", str(job_id))
        with ThreadPoolExecutor() as pool:
            cancel = pool.submit(cluster.run, "csx-restart", "cancel", str(job_id))
            go_on.touch()
            assert cancel.result().strip() == f"job {job_id}: CANCELLED"
    finally:
        go_on.touch()
        cluster.hook.write_text(hook)
    assert cluster.await_end(job_id) == "CANCELLED"
    # Slurm had ignored the scancel: the hook saw an ordinary failure.
    assert cluster.ends(job_id)[0]["action"] == "requeue"
    cluster.reconcile()
    assert cluster.state(job_id) == "CANCELLED"


def test_scancel_of_a_waiting_job_by_an_administrator(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster)
    cluster.run("scancel", str(job_id), as_root=True)
    assert cluster.await_end(job_id) == "CANCELLED"
    for _ in range(2):
        cluster.reconcile()
    assert cluster.state(job_id) == "CANCELLED"
    actions = [end["action"] for end in cluster.ends(job_id)]
    assert actions[0] == "requeue"
    assert set(actions[1:]) <= {"leave"}
    assert len(cluster.summary()["runs"]) == 1
    said = cluster.run("csx-restart", "explain", str(job_id))
    assert re.search("cancel", said, re.IGNORECASE)
