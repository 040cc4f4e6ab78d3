"""NaN that one of the nodes computes, and NaN that comes from the data whatever the nodes are."""

import json

import pytest
import yaml

from contrib.testing.managed_cluster import ManagedCluster

NAN = "cerebras.appliance.errors.ApplianceNanError: NaN in loss at step 12"
OF_NODE = f"""\
for node in $(scontrol show hostnames); do
[ "$node" != csx2 ] || {{{{ echo '{NAN}'; exit 1; }}}}
done
cszoo fit {{config}}"""
OF_DATA = f"cszoo fit {{config}} || {{{{ echo '{NAN}'; exit 1; }}}}"


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    often = "SchedulerParameters=sched_interval=1,bf_interval=1"
    return {"nodes": 4, "recovery": None, "options": ("--set", often)}


def submit(cluster: ManagedCluster, command: str) -> int:
    config = cluster.config(command=command, nodes=4, min_nodes=2, steps=300, every=10, restarts=3)
    [job_id] = cluster.csx_sbatch(config)
    return job_id


def ends(cluster: ManagedCluster, job_id: int) -> list[dict[str, object]]:
    explained = json.loads(cluster.run("csx-restart", "explain", "--json", str(job_id)))
    found: list[dict[str, object]] = explained["ends"]
    return found


def test_a_run_ends_without_the_node_that_computes_it(cluster: ManagedCluster) -> None:
    job_id = submit(cluster, OF_NODE)
    assert cluster.await_end(job_id) == "COMPLETED"
    runs = cluster.summary()["runs"]
    assert (runs[0]["category"], runs[0]["nan_checker_enabled"]) == ("numeric.nan", False)
    assert (runs[1]["nodes"], runs[1]["nan_checker_enabled"]) == (runs[0]["nodes"], True)
    params = (cluster.run_dir() / "attempts/1/params.yaml").read_text()
    assert {"NaNChecker": {"num_steps": 10}} in yaml.safe_load(params)["trainer"]["init"][
        "callbacks"
    ]
    assert "csx2" not in runs[-1]["nodes"]
    assert not runs[-1]["nan_checker_enabled"]
    excluded: set[str] = set()
    for end in ends(cluster, job_id):
        excluded |= set(end["excluded"])  # type: ignore[call-overload]
    assert excluded <= {"csx2"}


def test_a_run_with_nan_in_its_data_ends_once_other_nodes_compute_it_too(
    cluster: ManagedCluster,
) -> None:
    cluster.trainer_does("nan@25")
    job_id = submit(cluster, OF_DATA)
    assert cluster.await_end(job_id) == "FAILED"
    runs = cluster.summary()["runs"]
    assert {run["category"] for run in runs} == {"numeric.nan"}
    assert len(runs) <= 4
    assert set(runs[-1]["nodes"]).isdisjoint(runs[-2]["nodes"])
    last = ends(cluster, job_id)[-1]
    assert "the same root cause at step 20 " in str(last["reason"])
    assert str(last["reason"]).endswith(", on different nodes")
    assert not any(end["excluded"] for end in ends(cluster, job_id))
