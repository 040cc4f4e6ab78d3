"""Batch scripts as people have them: submitted with csx-sbatch, and nothing else."""

import json
import os
import re
import signal
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

# An existing job script. It counts in a file, and goes on from it; `steps` has a line a start.
JOB = """\
#!/bin/bash
# A simulation: its state is the number in `state`.
#SBATCH --job-name=simulation
#SBATCH --nodes=1            # one node
#SBATCH --ntasks=1
#SBATCH --time=30
#SBATCH --output=sim-%j.out

set -eu
cd "$SLURM_SUBMIT_DIR"
last=${1:-60}
state=$(cat state 2> /dev/null || echo 0)
echo "start at $state of $last on $(hostname), job $SLURM_JOB_ID"
echo "$state" >> starts
while [ "$state" -lt "$last" ]; do
    while [ "$state" -eq 20 ] && [ ! -e go ]; do sleep 0.05; done
    state=$((state + 1))
    echo "$state" > state.new && mv state.new state
done
echo "done at $state"
"""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 3}


def submit_script(cluster: ManagedCluster, *arguments: str, text: str = JOB) -> int:
    """Submit a script as it is; the job's id."""
    (cluster.work / "job.sh").write_text(text)
    out = cluster.run("csx-sbatch", "--parsable", "--max-restarts", "3", "job.sh", *arguments)
    return int(out)


def await_state(cluster: ManagedCluster, state: int) -> None:
    await_(lambda: read(cluster.work / "state") == str(state), f"state {state} of the simulation")


def read(path: Path) -> str:
    return path.read_text().strip() if path.exists() else ""


def runs(cluster: ManagedCluster) -> list[dict[str, Any]]:
    """The attempts of the newest run that have ended."""
    run_dir = cluster.run_dir(cluster.work / "csx-restart")
    return list(json.loads((run_dir / "summary.json").read_text())["runs"])


def program_pid(cluster: ManagedCluster, job_id: int) -> int:
    """The process of the user's script in a job."""
    for process in Path("/proc").iterdir():
        try:
            words = (process / "cmdline").read_bytes().split(b"\0")
            mine = f"SLURM_JOB_ID={job_id}".encode() in (process / "environ").read_bytes()
        except OSError:
            continue
        script = words[1].decode() if len(words) > 1 else ""
        if mine and script.endswith("/job.sh") and script.startswith(str(cluster.work)):
            return int(process.name)
    raise AssertionError(f"job {job_id}: its script is not running")


@pytest.mark.core
def test_a_script_whose_process_is_killed_goes_on(cluster: ManagedCluster) -> None:
    job_id = submit_script(cluster, "50")
    await_state(cluster, 20)
    os.kill(program_pid(cluster, job_id), signal.SIGKILL)
    (cluster.work / "go").touch()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert (cluster.work / "starts").read_text().split() == ["0", "20"]
    assert read(cluster.work / "state") == "50"
    out = (cluster.work / f"sim-{job_id}.out").read_text()
    assert out.count("start at") == 2
    assert "done at 50" in out
    assert [run["status"] for run in runs(cluster)] == ["failed", "success"]
    # Such a user has never heard of Cerebras.
    shown = [out, (cluster.run_dir(cluster.work / "csx-restart") / "run.log").read_text()]
    shown += [cluster.run("csx-restart", word, str(job_id)) for word in ("status", "explain")]
    for text in shown:
        assert not re.search(r"num_csx|Cerebras|CSX system|trainer|phase", text, re.IGNORECASE), (
            text
        )
