"""Runs that hang: found, their stacks kept, ended and restarted; and one that is only slow."""

import json
import os
import signal

import pytest

from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

STEPS, EVERY = 40, 10


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 4}


def ranks(cluster: ManagedCluster, job_id: int) -> dict[int, int]:
    """The process ids of the ranks of the example trainer, by rank."""
    return {
        int(process.environment["SLURM_PROCID"]): process.pid
        for process in job_processes(cluster, job_id)
        if process.is_rank and process.program == "cszoo"
    }


def test_a_stopped_rank_is_found_and_the_run_goes_on_elsewhere(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@25/restart=0")
    config = cluster.config(steps=STEPS, every=EVERY, nodes=3, min_nodes=2)
    # A busy machine may take some seconds until the rank is stopped: that alone is no hang.
    thresholds = r"floor=15s,start_floor=2min,busy_factor=3,steps=Step=(\d+)"
    [job_id] = cluster.csx_sbatch(config, f"--watchdog={thresholds}")
    cluster.await_step(20)
    node = cluster.nodes_of(job_id)[2]
    await_(lambda: len(ranks(cluster, job_id)) == 3, "three ranks")
    os.kill(ranks(cluster, job_id)[2], signal.SIGSTOP)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    run_dir = cluster.run_dir()
    end = json.loads((run_dir / "attempts/0/end.json").read_text())
    assert (end["category"], end["blamed_nodes"]) == ("hang", [node])
    assert end["stuck"][0].startswith("rank 2, process ")
    assert end["stuck"][0].endswith(f"on {node}: stopped by a signal (T)")
    stacks = (run_dir / "attempts/0/hang/stacks.txt").read_text()
    # All three ranks, on all nodes.
    assert stacks.count("Python v3") >= 3
    [first, last] = cluster.ends(job_id)
    assert (first["category"], last["category"]) == ("hang", "completed")
    assert cluster.excluded(job_id) == {node}
    starts = [run["starting_step"] for run in cluster.summary()["runs"]]
    assert starts == [0, 20]


PROGRAM = """\
import os, signal, sys, time
signal.signal(signal.SIGTERM, signal.SIG_IGN)
def train(first, last, pause):
    for step in range(first, last):
        print("step", step, flush=True)
        time.sleep(pause)
train(0, 100, 0.05)
if os.environ["CSX_RESTART_ATTEMPT"] == "0":
    while True:
        pass
warnings, step = os.environ["CSX_RESTART_RUN_DIR"] + "/attempts/1/warnings.jsonl", 100
while not (os.path.exists(warnings) and "slowdown: " in open(warnings).read()):
    train(step, step + 1, 1.0)
    step += 1
"""
SCRIPT = """\
#!/bin/bash
#SBATCH --ntasks=1
#CSX --watchdog='floor=10s,busy_factor=2,slow_after=4s,steps=step (\\d+)'
srun python3 program.py
"""


def test_a_rank_that_spins_and_ignores_term_is_ended_and_a_slow_one_is_not(
    cluster: ManagedCluster,
) -> None:
    (cluster.work / "program.py").write_text(PROGRAM)
    (cluster.work / "job.sh").write_text(SCRIPT)
    job_id = int(cluster.run("csx-sbatch", "--parsable", "job.sh"))
    assert cluster.await_end(job_id) == "COMPLETED"
    run_dir = cluster.run_dir(cluster.work / "csx-restart")
    end = json.loads((run_dir / "attempts/0/end.json").read_text())
    assert end["category"] == "hang"
    assert "no new step and no checkpoint for" in end["reason"]
    assert "<module> (program.py" in (run_dir / "attempts/0/hang/stacks.txt").read_text()
    assert [one["category"] for one in cluster.ends(job_id)] == ["hang", "completed"]
    # It ends once the slowdown is reported.
    assert "slowdown: a step takes" in (run_dir / "attempts/1/warnings.jsonl").read_text()
    assert "slowdown: a step takes" in cluster.run("csx-restart", "status", str(job_id))
