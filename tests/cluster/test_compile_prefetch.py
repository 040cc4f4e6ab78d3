"""Smaller sizes are compiled while a run executes; a restart gets none that does not compile."""

import json
import os
import signal
from functools import partial
from typing import Any

import pytest

from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import EXAMPLES, ManagedCluster
from contrib.testing.waiting import await_

# It trains as the example does. Three systems do not compile, two take for ever, and TERM is not
# enough to end that.
CSZOO = """\
#!/bin/sh
case "$*" in
*--compile_only)
    echo "$CSX_RESTART_ATTEMPT $CSX_RESTART_NUM_CSX $*" >> {work}/calls
    case $CSX_RESTART_NUM_CSX in
    3) echo 'cerebras.appliance.errors.ApplianceCompilationError: no placement'; exit 1;;
    2) trap '' TERM; setsid sleep 5000 & while :; do sleep 1; done;;
    esac;;
*) exec {examples}/cszoo "$@";;
esac
"""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 4, "recovery": None}


def submit(cluster: ManagedCluster, **changes: Any) -> int:
    """Submit a run of four systems, at least one, whose trainer is the stand-in."""
    command = cluster.work / "bin" / "cszoo"
    command.parent.mkdir()
    command.write_text(CSZOO.format(work=cluster.work, examples=EXAMPLES))
    command.chmod(0o755)
    wanted = {
        "trainer.init.backend.backend_type": "CSX",
        "command": f"{command} fit {{config}}",
        "nodes": 4,
        "min_nodes": 1,
    }
    [job_id] = cluster.csx_sbatch(cluster.config(**wanted | changes))
    return job_id


def calls(cluster: ManagedCluster) -> list[tuple[int, int]]:
    """The compiles that have begun: attempt and num_csx."""
    path = cluster.work / "calls"
    lines = path.read_text().splitlines() if path.exists() else []
    return [(int(line.split()[0]), int(line.split()[1])) for line in lines]


def has_begun(cluster: ManagedCluster, attempt: int, num_csx: int) -> bool:
    return (attempt, num_csx) in calls(cluster)


def await_compile(cluster: ManagedCluster, attempt: int, num_csx: int) -> None:
    begun = partial(has_begun, cluster, attempt, num_csx)
    await_(begun, f"the compile for {num_csx} systems in attempt {attempt}")


def processes(cluster: ManagedCluster, job_id: int, word: str) -> list[int]:
    """The processes of a job with a word in their command line or their environment."""
    return [
        process.pid
        for process in job_processes(cluster, job_id)
        if any(word in text for text in (*process.words, *process.environment.values()))
    ]


def records(cluster: ManagedCluster) -> list[tuple[int, str]]:
    lines = (cluster.run_dir() / "compiles.jsonl").read_text().splitlines()
    return [(record["num_csx"], record["outcome"]) for record in map(json.loads, lines)]


def compiles(cluster: ManagedCluster, job_id: int, attempt: int) -> list[int]:
    """The processes of the compiles of an attempt."""
    return processes(cluster, job_id, f"attempts/{attempt}/compiles/")


def assert_nothing_left(cluster: ManagedCluster, job_id: int) -> None:
    await_(lambda: not processes(cluster, job_id, ""), "the end of all processes of the job")


def test_a_requeue_with_fewer_nodes_leaves_out_a_size_that_does_not_compile(
    cluster: ManagedCluster,
) -> None:
    cluster.trainer_does("wait@35/restart=0")
    job_id = submit(cluster, **{"slurm.recovery": "requeue"})
    await_compile(cluster, 0, 2)
    output = (cluster.run_dir() / "attempts/0/output.log").read_text()
    assert "Step=1," in output
    assert "ApplianceCompilationError" not in output
    show = partial(cluster.run, "scontrol", "show", "job", "-o", str(job_id))
    await_(lambda: ";nocomp=3;" in show(), "the size in the Comment")
    status = cluster.run("csx-restart", "status", str(job_id))
    assert "compiled ahead num_csx 3 does not compile" in status
    nodes = cluster.nodes_of(job_id)
    cluster.fault("node-down", nodes[-1])
    await_compile(cluster, 1, 1)
    assert compiles(cluster, job_id, 0) == []
    assert cluster.await_end(job_id) == "COMPLETED"
    assert [run["num_csx"] for run in cluster.summary()["runs"]] == [4, 2]
    # What has failed in the compiler is not tried again.
    assert calls(cluster) == [(0, 3), (0, 2), (1, 1)]
    assert records(cluster)[0] == (3, "refused")
    assert_nothing_left(cluster, job_id)


def test_in_place_a_killed_trainer_ends_the_compile_and_a_lost_node_leaves_out_the_size(
    cluster: ManagedCluster,
) -> None:
    cluster.trainer_does("wait@35")
    job_id = submit(cluster, **{"slurm.recovery": "auto"})
    await_compile(cluster, 0, 2)
    for pid in processes(cluster, job_id, "attempts/0/params.yaml"):
        os.kill(pid, signal.SIGKILL)
    await_compile(cluster, 1, 2)
    assert compiles(cluster, job_id, 0) == []
    lost = cluster.nodes_of(job_id)[-1]
    cluster.fault("node-down", lost)
    await_compile(cluster, 2, 1)
    assert compiles(cluster, job_id, 1) == []
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert [run["num_csx"] for run in cluster.summary()["runs"]] == [4, 4, 2]
    assert cluster.job(job_id)["Restarts"] == "0"
    assert calls(cluster) == [(0, 3), (0, 2), (1, 2), (2, 1)]
    assert_nothing_left(cluster, job_id)


def test_it_can_be_switched_off(cluster: ManagedCluster) -> None:
    job_id = submit(cluster, steps=40, **{"slurm.compile_prefetch": False})
    assert cluster.await_end(job_id) == "COMPLETED"
    assert calls(cluster) == []
