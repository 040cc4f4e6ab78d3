"""Two supervisors of one run: an attempt goes on, on a node that Slurm has given up."""

import json
import os
import signal
from functools import partial
from pathlib import Path

import pytest

from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

# Saves the steps that the test asks for, and ends when it asks; the third attempt succeeds. All
# nodes of a test cluster are this machine: without another run directory in its environment, the
# next attempt would find the program and end it, which it cannot do on a node that is lost.
JOB = """\
#!/bin/bash
#SBATCH --ntasks=1
#CSX --checkpoint=ckpt/step-{step}.dat --max-restarts=1
#CSX --health-check=./check.sh --health-check-timeout=10min
if [ "$CSX_RESTART_RUN_DIR" != /elsewhere ]; then
    name=${CSX_RESTART_CHECKPOINT##*/}
    echo "${name:-none}" >> starts
    exec env CSX_RESTART_RUN_DIR=/elsewhere bash "$0"
fi
attempt=$CSX_RESTART_ATTEMPT
mkdir -p ckpt
[ "$attempt" = 2 ] && exit 0
while :; do
    for request in please-"$attempt"-*; do
        step=${request##*-}
        case $step in
            "*") continue;;
            end) exit 1;;
        esac
        # The first program does not say what it writes.
        [ "$attempt" = 0 ] || echo "saved step-$step.dat"
        echo "$step" > "new-$attempt" && mv "new-$attempt" "ckpt/step-$step.dat"
        rm "$request"
    done
    sleep 0.05
done
"""
# Runs after an attempt has taken its fence, and before it chooses a checkpoint.
CHECK = """\
cd {work}
while [ -e hold ]; do sleep 0.05; done
"""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 2}


def test_an_attempt_left_over_on_a_lost_node_is_not_taken_for_the_current_one(
    cluster: ManagedCluster,
) -> None:
    check = cluster.script(CHECK.format(work=cluster.work))
    (cluster.work / "job.sh").write_text(JOB.replace("./check.sh", str(check)))
    job_id = int(cluster.run("csx-sbatch", "--parsable", "job.sh"))

    def please(attempt: int, *steps: int) -> None:
        for step in steps:
            request = cluster.work / f"please-{attempt}-{step}"
            request.touch()
            await_(partial(is_gone, request), f"step {step} of attempt {attempt}")

    please(0, 10)
    [lost] = cluster.await_running(job_id)
    attempts = cluster.run_dir(cluster.work / "csx-restart") / "attempts"
    await_((attempts / "0/progress.jsonl").exists, "the supervisor has seen step 10")
    supervisor = cluster.batch_pid(job_id)
    os.kill(supervisor, signal.SIGSTOP)
    hold = cluster.work / "hold"
    hold.touch()
    cluster.fault("kill-slurmd-only", lost)
    cluster.fault("node-down", lost)
    await_((attempts / "1/fence.json").exists, "the second attempt")
    please(0, 20)
    hold.unlink()
    please(1, 30)
    assert starts(cluster) == ["none", "step-10.dat"]
    please(0, 40)
    assert cluster.nodes_of(job_id) != [lost]
    os.kill(supervisor, signal.SIGCONT)
    # The second attempt has written a record of that end, as nobody else had.
    await_(partial(is_superseded, attempts / "0/end.json"), "the first program is ended")
    await_(partial(is_gone, Path(f"/proc/{supervisor}")), "the end of the first supervisor")
    assert cluster.state(job_id) == "RUNNING"
    # Both are told of while the run goes on.
    shown = cluster.run("csx-restart", "status", str(job_id))
    for step in (20, 40):
        assert f"step-{step}.dat is not used: " in " ".join(shown.split())
    assert "step-30.dat" not in shown
    (cluster.work / "please-1-end").touch()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert starts(cluster) == ["none", "step-10.dat", "step-30.dat"]
    found = sorted(path.name for path in (cluster.work / "ckpt").iterdir())
    assert found == [f"step-{step}.dat" for step in (10, 20, 30, 40)]
    log = (attempts.parent / "run.log").read_text()
    assert "step-20.dat is not used: an earlier attempt wrote it after this one had begun" in log
    assert "step-40.dat will not be used: written while both attempt 0 and 1 ran" in log


def is_superseded(end: Path) -> bool:
    return json.loads(end.read_text())["rule"] == "supervisor.superseded"


def is_gone(path: Path) -> bool:
    return not path.exists()


def starts(cluster: ManagedCluster) -> list[str]:
    return (cluster.work / "starts").read_text().split()
