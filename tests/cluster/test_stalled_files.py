"""A file system that does not answer: Slurm's log says so, and scancel ends the job."""

import subprocess
from pathlib import Path

import pytest

from contrib.testing.dev_cluster import AS_ROOT
from contrib.testing.hanging_files import hanging
from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

pytestmark = pytest.mark.skipif(not AS_ROOT, reason="mounts a file system")
NO_ANSWER = "the file system has not answered for"
SERVED = 60.0
"""Seconds that scancel may take on a busy machine; it takes 5 (measured)."""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 1}


@pytest.fixture
def log(cluster: ManagedCluster) -> Path:
    """Slurm's log, outside of the directory that hangs."""
    return cluster.work / "slurm.log"


def submit(cluster: ManagedCluster, command: str, *options: str) -> int:
    config = cluster.config(command=command, nodes=1, min_nodes=1, restarts=3)
    [job_id] = cluster.csx_sbatch(config, "--output", str(cluster.work / "slurm.log"), *options)
    return job_id


@pytest.mark.parametrize("moment", ["before", "running", "end"])
def test_a_message_and_scancel_wherever_it_hangs(
    cluster: ManagedCluster, log: Path, moment: str
) -> None:
    command = "echo ready; while [ ! -e go ]; do sleep 0.1; done; exit 5"
    held = ("--hold",) if moment == "before" else ()
    job_id = submit(cluster, command, *held)
    if not held:
        await_(lambda: log.exists() and "ready" in log.read_text(), "the trainer")
    try:
        with hanging(cluster.run_dir().parent):
            if moment == "before":
                cluster.run("scontrol", "release", str(job_id))
                await_(lambda: cluster.state(job_id) == "RUNNING", "the job")
            if moment == "end":
                (cluster.work / "go").touch()
            await_(lambda: log.exists() and NO_ANSWER in log.read_text(), NO_ANSWER)
            cluster.run("scancel", str(job_id))
            cluster.await_state(job_id, "CANCELLED", timeout=SERVED)
    finally:
        (cluster.work / "go").touch()
    assert "Traceback" not in log.read_text()
    nothing = subprocess.run(
        ["pgrep", "-f", f"run-dir {cluster.work}"], stdout=subprocess.DEVNULL, check=False
    )
    assert nothing.returncode == 1
