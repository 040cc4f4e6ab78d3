"""Which nodes a restarted run gets: replacements, shrinking, growing back, and waiting."""

import copy

import pytest
import yaml

from contrib.testing.managed_cluster import FAST, ManagedCluster
from contrib.testing.waiting import await_

STEPS, EVERY = 60, 5


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    often = "SchedulerParameters=sched_interval=1,bf_interval=1"
    return {"nodes": 4, "options": ("--set", often)}


@pytest.fixture(autouse=True)
def _policy(cluster: ManagedCluster) -> None:
    cluster.configure(policy=FAST)
    cluster.environment["CSX_EXAMPLE_STEP_SECONDS"] = "0.05"


def start(
    cluster: ManagedCluster, *options: str, faults: tuple[str, ...] = (), **changes: object
) -> int:
    """Submit a run of three nodes, whose first attempt stays at step 30; wait for a checkpoint."""
    cluster.trainer_does("hang@30/restart=0", *faults)
    wanted = {"nodes": 3, "min_nodes": 2, "steps": STEPS, "every": EVERY} | changes
    [job_id] = cluster.csx_sbatch(cluster.config(command="cszoo fit {config}", **wanted), *options)
    cluster.await_step(EVERY)
    return job_id


def lose(cluster: ManagedCluster, job_id: int, *, number: int = 1) -> str:
    """Set a node of the run down, and wait until it is excluded; its name."""
    node = cluster.nodes_of(job_id)[number]
    cluster.fault("node-down", node)
    await_(lambda: node in cluster.excluded(job_id), f"{node} is excluded")
    return node


def occupy(cluster: ManagedCluster) -> int:
    """Keep the free node busy with another job."""
    other = cluster.submit("sleep 600", "-N1", "--exclusive")
    cluster.await_state(other, "RUNNING")
    return other


def waits(cluster: ManagedCluster, job_id: int) -> bool:
    """Whether the job's begin time is set ahead for want of nodes, after a sweep."""
    cluster.reconcile()
    told = cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
    return "JobState=PENDING Reason=BeginTime" in told and "waits: " in told


def sizes(cluster: ManagedCluster) -> list[int]:
    """num_csx of the attempts."""
    return [run["num_csx"] for run in cluster.summary()["runs"]]


def finished(cluster: ManagedCluster, job_id: int) -> None:
    """The run has gone on from its checkpoint to its last step."""
    assert cluster.await_end(job_id) == "COMPLETED"
    last = cluster.summary()["runs"][-1]
    assert last["starting_step"] >= EVERY
    assert (last["status"], last["ending_step"]) == ("success", STEPS)


def test_a_busy_replacement_is_waited_for_and_then_done_without(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    occupy(cluster)
    lose(cluster, job_id)
    cluster.await_state(job_id, "PENDING")
    cluster.reconcile()
    assert cluster.job(job_id)["NumNodes"].startswith("3")
    cluster.configure(policy=FAST | {"shrink_after": 4})
    finished(cluster, job_id)
    assert sizes(cluster) == [3, 2]


def test_a_busy_replacement_that_gets_free_is_used(cluster: ManagedCluster) -> None:
    job_id = start(cluster)
    other = occupy(cluster)
    lose(cluster, job_id)
    cluster.await_state(job_id, "PENDING")
    for _ in range(3):
        cluster.reconcile()
    assert cluster.state(job_id) == "PENDING"
    cluster.run("scancel", str(other))
    finished(cluster, job_id)
    assert sizes(cluster) == [3, 3]


def test_a_run_without_enough_nodes_waits_until_one_comes_back(cluster: ManagedCluster) -> None:
    job_id = start(cluster, min_nodes=3)
    cluster.fault("node-drain", "csx4")
    gone = lose(cluster, job_id)
    await_(lambda: waits(cluster, job_id), "the wait for nodes")
    told = cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
    assert "2 usable nodes, 3 are needed at least" in told
    cluster.fault("node-resume", "csx4")
    finished(cluster, job_id)
    assert sizes(cluster) == [3, 3]
    assert cluster.job(job_id)["ExcNodeList"] == gone


def test_too_few_nodes_for_too_long_end_the_run(cluster: ManagedCluster) -> None:
    cluster.configure(policy=FAST | {"give_up_after": 2})
    job_id = start(cluster, min_nodes=3)
    cluster.fault("node-drain", "csx4")
    lose(cluster, job_id)
    assert cluster.await_end(job_id) == "CANCELLED"
    told = cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
    assert "gives up waiting: 2 usable nodes, 3 are needed at least" in told
    notes = [event["text"] for event in cluster.journal(job_id) if event["event"] == "note"]
    assert any("gives up waiting" in note for note in notes)


def test_an_exclusion_that_has_run_out_lets_the_run_grow_back(cluster: ManagedCluster) -> None:
    cluster.configure(policy=FAST | {"exclude_for": 3})
    job_id = start(cluster, faults=("wait@44/restart=1", "exit:3@45/restart=1"))
    cluster.fault("node-drain", "csx4")
    gone = lose(cluster, job_id)
    cluster.await_running(job_id)
    assert len(cluster.nodes_of(job_id)) == 2
    cluster.fault("node-resume", gone)
    cluster.let_go()
    finished(cluster, job_id)
    readmitted = [event for event in cluster.journal(job_id) if event["event"] == "readmit"]
    assert [(event["node"], event["why"]) for event in readmitted] == [(gone, "it expired")]
    assert cluster.job(job_id)["ExcNodeList"] == "(null)"
    assert sizes(cluster) == [3, 2, 3]


def test_an_exclusion_that_makes_the_job_unschedulable_is_undone(cluster: ManagedCluster) -> None:
    # Only Slurm can tell what this constraint means.
    features(cluster, "csx1,csx2", "fast")
    try:
        job_id = start(cluster, "--constraint=[fast*2]", nodes=2, min_nodes=2)
        gone = lose(cluster, job_id, number=0)
        cluster.fault("node-resume", gone)
        finished(cluster, job_id)
    finally:
        features(cluster, "csx1,csx2", "")
    [readmitted] = [event for event in cluster.journal(job_id) if event["event"] == "readmit"]
    assert readmitted["node"] == gone
    assert readmitted["why"] == "Slurm cannot schedule the job without it"
    assert cluster.job(job_id)["ExcNodeList"] == "(null)"
    assert set(cluster.summary()["runs"][-1]["nodes"]) == {"csx1", "csx2"}


def features(cluster: ManagedCluster, nodes: str, names: str) -> None:
    """Set the features of nodes."""
    for node in nodes.split(","):
        # Active ones have to be available at every moment.
        kinds = ("AvailableFeatures", "ActiveFeatures")
        for kind in kinds if names else reversed(kinds):
            cluster.run("scontrol", "update", f"NodeName={node}", f"{kind}={names}", as_root=True)


def two_phases(cluster: ManagedCluster, *faults: str) -> tuple[int, int]:
    """Submit two phases on two nodes each."""
    cluster.trainer_does(*faults)
    path = cluster.config(
        command="cszoo fit {config}", nodes=2, min_nodes=1, steps=STEPS, every=EVERY
    )
    data = yaml.safe_load(path.read_text())
    second = copy.deepcopy(data["trainer"])
    second["init"]["loop"]["max_steps"] = STEPS + 20
    data["trainer"] = [{"trainer": data["trainer"]}, {"trainer": second}]
    path.write_text(yaml.safe_dump(data))
    first, after = cluster.csx_sbatch(path)
    cluster.await_step(EVERY)
    return first, after


def test_exclusions_of_a_phase_reach_the_next_before_it_starts(cluster: ManagedCluster) -> None:
    first, second = two_phases(cluster, "hang@30/restart=0", "hang@45/restart=1")
    gone = lose(cluster, first)
    await_(lambda: cluster.job(second)["ExcNodeList"] == gone, "the second phase is told")
    assert cluster.state(second) == "PENDING"
    cluster.await_running(first)
    also = lose(cluster, first)

    def told_of_both() -> bool:
        cluster.reconcile()  # as the timer would, where the hook's own attempt got no answer
        return set(hosts(cluster, cluster.job(second)["ExcNodeList"])) == {gone, also}

    await_(told_of_both, "the second phase is told of both")
    assert cluster.await_end(first) == "COMPLETED"
    cluster.fault("node-resume", gone)
    cluster.fault("node-resume", also)
    assert cluster.await_end(second) == "COMPLETED"
    [run] = cluster.summary()["runs"]
    assert not {gone, also} & set(run["nodes"])
    assert cluster.excluded(second) == {gone, also}


def hosts(cluster: ManagedCluster, hostlist: str) -> list[str]:
    """The names of a hostlist."""
    return cluster.run("scontrol", "show", "hostnames", hostlist).split()


@pytest.mark.core
def test_a_phase_recovers_under_the_next(cluster: ManagedCluster) -> None:
    first, second = two_phases(cluster, "exit:3@12/restart=0", "wait@30/restart=1")
    await_(lambda: cluster.ends(first), "the first phase fails")
    for _ in range(2):
        cluster.reconcile()
        assert cluster.state(second) == "PENDING"
    cluster.let_go()
    assert cluster.await_end(first) == "COMPLETED"
    assert cluster.await_end(second) == "COMPLETED"
    assert [end["action"] for end in cluster.ends(first)] == ["requeue", "leave"]
    assert [end["action"] for end in cluster.ends(second)] == ["leave"]
    assert cluster.summary()["runs"][0]["starting_step"] == STEPS
