"""A node that silently breaks every attempt on it is found, and no other is excluded."""

import json

import pytest

from contrib.testing.managed_cluster import ManagedCluster

COMMAND = """\
for node in $(scontrol show hostnames); do case $node in {faulty}) {fails}; exit 1;; esac; done
cszoo fit {{config}}"""
RAISES = """\
srun sh -c 'test $SLURMD_NODENAME = csx2 || exec sleep 600
    sleep 1
    echo "Traceback (most recent call last):"
    echo "  File \\"t.py\\", line 3, in <module>"
    echo "ValueError: cannot reshape array of size 17 into shape (4,4)"
    exit 1'"""
"""On csx2 a task raises what looks like a mistake in the program; the others wait for it."""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    often = "SchedulerParameters=sched_interval=1,bf_interval=1"
    return {"nodes": 8, "recovery": None, "options": ("--set", often)}


def submit(cluster: ManagedCluster, faulty: str, fails: str = "true", **changes: object) -> int:
    wanted = {"steps": 300, "every": 5, "trainer.init.autorestart.max_num_restarts": 3} | changes
    command = COMMAND.format(faulty=faulty, fails=fails)
    [job_id] = cluster.csx_sbatch(cluster.config(command=command, **wanted))
    return job_id


def blamed(cluster: ManagedCluster, job_id: int) -> dict[str, str]:
    """The nodes that the run excludes, with the evidence."""
    explained = json.loads(cluster.run("csx-restart", "explain", "--json", str(job_id)))
    found: dict[str, str] = {}
    for end in explained["ends"]:
        found |= end["excluded"]
    return found


def failures(cluster: ManagedCluster) -> int:
    return sum(run["status"] == "failed" and run["category"] == "unknown"
               for run in cluster.summary()["runs"])  # fmt: skip


def test_a_run_of_all_nodes_finds_it_and_goes_on_with_the_others(cluster: ManagedCluster) -> None:
    job_id = submit(cluster, "csx2", RAISES, nodes=8, min_nodes=4)
    assert cluster.await_end(job_id) == "COMPLETED"
    found = blamed(cluster, job_id)
    assert set(found) == {"csx2"}
    assert found["csx2"].startswith("search: all 4 attempts on it failed without a known cause")
    text = cluster.run("csx-restart", "explain", str(job_id))
    assert "2 attempts without a known cause failed on csx1, csx2" in text
    assert failures(cluster) <= 4
    first = cluster.summary()["runs"][0]
    assert "one node alone" in first["failure_reason"]
    assert cluster.summary()["runs"][-1]["num_csx"] == 7


def test_of_two_faulty_nodes_none_is_excluded_and_the_run_ends_on_others(
    cluster: ManagedCluster,
) -> None:
    job_id = submit(cluster, "csx2|csx3", nodes=8, min_nodes=4)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert blamed(cluster, job_id) == {}
    assert set(cluster.summary()["runs"][-1]["nodes"]).isdisjoint({"csx2", "csx3"})
    text = " ".join(cluster.run("csx-restart", "explain", str(job_id)).split())
    assert "avoids csx1, csx2, csx3, csx4 (a guess: attempts without a known cause failed" in text


def test_it_does_not_wait_for_nodes_that_another_job_holds(cluster: ManagedCluster) -> None:
    """Of three nodes it leaves out one; with two it would need one that is busy for ten minutes."""
    other = cluster.submit("sleep 600", "-N5", "--exclusive", "-w", "csx[4-8]")
    cluster.await_state(other, "RUNNING")
    job_id = submit(cluster, "csx1", nodes=3, min_nodes=2, steps=10)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.state(other) == "RUNNING"
    assert blamed(cluster, job_id) == {}
    runs = cluster.summary()["runs"]
    assert "csx1" not in runs[-1]["nodes"]
    assert {run["num_csx"] for run in runs} == {2, 3}


def test_it_can_be_switched_off(cluster: ManagedCluster) -> None:
    off = {"slurm.policy.node_search": False}
    job_id = submit(cluster, "csx3", nodes=4, min_nodes=1, **off)
    assert cluster.await_end(job_id) == "FAILED"
    assert blamed(cluster, job_id) == {}
    assert failures(cluster) == 4
    assert {run["num_csx"] for run in cluster.summary()["runs"]} == {4}
