"""A node that silently breaks every attempt on it is found, and no other is excluded."""

import json

import pytest

from contrib.testing.managed_cluster import FAST, ManagedCluster

COMMAND = """\
for node in $(scontrol show hostnames); do [ "$node" != {faulty} ] || {{ sleep 1; exit 1; }}; done
cszoo fit {{config}}"""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    often = "SchedulerParameters=sched_interval=1,bf_interval=1"
    return {"nodes": 8, "options": ("--set", often)}


@pytest.fixture(autouse=True)
def _policy(cluster: ManagedCluster) -> None:
    cluster.configure(policy=FAST)


def submit(cluster: ManagedCluster, faulty: str, **changes: object) -> int:
    wanted = {"steps": 300, "every": 5, "trainer.init.autorestart.max_num_restarts": 3} | changes
    command = COMMAND.format(faulty=faulty)
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


@pytest.mark.parametrize("faulty", ["csx2", "csx7"])
def test_a_run_of_all_nodes_finds_it_and_goes_on_with_the_others(
    cluster: ManagedCluster, faulty: str
) -> None:
    job_id = submit(cluster, faulty, nodes=8, min_nodes=2)
    assert cluster.await_end(job_id) == "COMPLETED"
    found = blamed(cluster, job_id)
    assert set(found) == {faulty}
    assert found[faulty].startswith("search: ")
    assert failures(cluster) <= 4
    assert cluster.summary()["runs"][-1]["num_csx"] == 7


def test_a_run_with_free_nodes_keeps_its_size(cluster: ManagedCluster) -> None:
    job_id = submit(cluster, "csx4", nodes=4, min_nodes=4)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert set(blamed(cluster, job_id)) == {"csx4"}
    assert failures(cluster) <= 4
    assert {run["num_csx"] for run in cluster.summary()["runs"]} == {4}


def test_it_can_be_switched_off(cluster: ManagedCluster) -> None:
    cluster.configure(policy=FAST | {"node_search": "off"})
    job_id = submit(cluster, "csx2", nodes=4, min_nodes=1)
    assert cluster.await_end(job_id) == "FAILED"
    assert blamed(cluster, job_id) == {}
    assert failures(cluster) == 4
    assert {run["num_csx"] for run in cluster.summary()["runs"]} == {4}
