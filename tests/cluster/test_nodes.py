"""An administrator clears and excludes a node: each run avoids it, or uses it again."""

import json
import os
import signal

import pytest

from contrib.testing.managed_cluster import AS_ROOT, FAST, ManagedCluster
from contrib.testing.waiting import await_
from tests.cluster.test_people import finish, start, start_waiting

pytestmark = pytest.mark.skipif(not AS_ROOT, reason="an administrator is needed")


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 4}


def nodes(cluster: ManagedCluster, *words: str, as_root: bool = True) -> str:
    return cluster.run("csx-restart", "nodes", *words, "--site", str(cluster.site), as_root=as_root)


def excluded(cluster: ManagedCluster, job_id: int) -> str:
    return cluster.job(job_id)["ExcNodeList"]


def test_a_waiting_run_avoids_the_node_until_it_is_cleared(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster)
    text = nodes(cluster, "exclude", "csx1", "--for", "2h", "--reason", "ECC, ticket 7")
    assert f"1 run: {job_id}" in text
    # It is in the job's list at once, and no sweep takes it off again.
    assert excluded(cluster, job_id) == "csx1"
    cluster.reconcile()
    assert excluded(cluster, job_id) == "csx1"
    explained = cluster.run("csx-restart", "explain", str(job_id), "--site", str(cluster.site))
    assert "csx1: excluded by an administrator (root): ECC, ticket 7" in explained
    [shown] = json.loads(nodes(cluster, "--node", "csx1", "--json"))
    assert [run["job_id"] for run in shown["excluded_by"]] == [job_id]

    assert str(job_id) in nodes(cluster, "clear", "csx1", "--reason", "replaced")
    # The run may guess at another node, now that it uses this one again.
    assert "csx1" not in excluded(cluster, job_id)
    cluster.reconcile()
    assert "csx1" not in excluded(cluster, job_id)
    assert nodes(cluster, "clear", "csx1") == "csx1: no run excluded it\n"
    [shown] = json.loads(nodes(cluster, "--node", "csx1", "--json"))
    assert shown["excluded_by"] == []
    cluster.run("scontrol", "update", f"JobId={job_id}", "StartTime=now", as_root=True)
    finish(cluster, job_id)


def test_a_running_run_avoids_the_node_from_its_next_attempt_on(cluster: ManagedCluster) -> None:
    cluster.configure(policy=FAST)
    cluster.trainer_does("wait@30/restart=0", "wait@30/restart=1")
    job_id = start(cluster)
    first = cluster.await_running(job_id)
    cluster.await_step(5)
    assert str(job_id) in nodes(cluster, "exclude", first[0])
    assert cluster.nodes_of(job_id) == first
    os.kill(cluster.batch_pid(job_id), signal.SIGKILL)
    await_(lambda: len(cluster.ends(job_id)) == 1, "the end is judged")
    second = cluster.await_running(job_id)
    assert first[0] not in second
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"


def test_only_an_administrator_decides(cluster: ManagedCluster) -> None:
    for words in (("clear", "csx1"), ("exclude", "csx1")):
        with pytest.raises(AssertionError, match="runs as SlurmUser"):
            nodes(cluster, *words, as_root=False)
    with pytest.raises(AssertionError, match="csx99: Slurm knows no node of this name"):
        nodes(cluster, "exclude", "csx99")
