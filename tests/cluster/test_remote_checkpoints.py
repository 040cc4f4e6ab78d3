"""Checkpoints at a URL, of which only the program's own lines tell."""

import json
from pathlib import Path

import pytest

from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

URL = "s3://bucket/run/step-{}.pt"
# The directory `bucket` stands for s3://bucket/run. The first attempt dies while it saves step 40,
# the second one once it has saved step 50, of which only a part has got there.
JOB = """\
#!/bin/bash
#SBATCH --ntasks=1
#CSX --checkpoint=s3://bucket/run/step-{step}.pt --max-restarts=1
url=$CSX_RESTART_CHECKPOINT
mkdir -p bucket
echo "${url:-none}" >> starts
step=0
if [ -n "$url" ]; then
    read -r step end < "bucket/${url##*/}"
    [ "$end" = whole ] || { echo "EOFError: $url is truncated" >&2; exit 1; }
fi
while [ "$step" -lt 60 ]; do
    step=$((step + 10))
    new=s3://bucket/run/step-$step.pt
    echo "Saving checkpoint $new"
    [ "$CSX_RESTART_ATTEMPT" = 0 ] && [ "$step" = 40 ] && kill -9 $$
    echo "$step whole" > "bucket/step-$step.pt"
    echo "Saved checkpoint $new"
    if [ "$CSX_RESTART_ATTEMPT" = 1 ] && [ "$step" = 50 ]; then
        truncate -s 3 bucket/step-50.pt
        exit 9
    fi
done
"""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 1}


def submit(cluster: ManagedCluster, *options: str) -> str:
    (cluster.work / "job.sh").write_text(JOB)
    return cluster.run("csx-sbatch", *options, "job.sh")


def test_a_run_goes_on_from_what_it_says_it_has_saved(cluster: ManagedCluster) -> None:
    job_id = int(submit(cluster, "--parsable"))
    assert cluster.await_end(job_id) == "COMPLETED"
    names = (cluster.work / "starts").read_text().split()
    assert names == ["none", *(URL.format(step) for step in (30, 50, 40))]
    assert [end["failures"] for end in cluster.ends(job_id)] == [0, 0, 1, 0]
    run_dir = cluster.run_dir(cluster.work / "csx-restart")
    log = (run_dir / "run.log").read_text()
    assert "step-50.pt is not used: attempt 2 started from it and failed" in log
    assert sorted(path.name for path in (cluster.work / "bucket").iterdir()) == [
        f"step-{step}.pt" for step in (10, 20, 30, 40, 50, 60)
    ]
    saved = [json.loads(line) for line in lines(run_dir / "attempts/0/progress.jsonl")]
    assert [entry["path"] for entry in saved] == [URL.format(step) for step in (10, 20, 30)]
    status = json.loads(cluster.run("csx-restart", "status", "--json", str(job_id)))
    assert status["step"] == 60
    rows = json.loads(cluster.run("csx-restart", "list", "--json"))
    assert [row["step"] for row in rows if row["job_id"] == job_id] == [60]
    explained = cluster.run("csx-restart", "explain", str(job_id))
    assert "restart 1/1 without progress, an earlier checkpoint before step 50 is next" in explained


def lines(path: Path) -> list[str]:
    return path.read_text().splitlines()


def test_the_preview_says_which_line_is_looked_for(cluster: ManagedCluster) -> None:
    shown = submit(cluster, "--dry-run")
    assert "'s3://bucket/run', 'step-{step}.pt', as the output says that they were saved" in shown
    told = json.loads(submit(cluster, "--test-only", "--json"))
    note = "each line such as 'Saved checkpoint s3://bucket/run/step-{step}.pt' in the output"
    assert any(note in each for each in told["notes"])


# It waits after step 20, without an end of the last line; says it in words of its own.
STOPPED = """\
#!/bin/bash
#SBATCH --ntasks=1
#CSX --checkpoint=s3://bucket/run/step-{step}.pt --max-restarts=0
#CSX --checkpoint-saved='put (?P<path>.+) into the bucket'
[ -z "$CSX_RESTART_CHECKPOINT" ] || { echo "$CSX_RESTART_CHECKPOINT" > resumed; exit; }
for step in 10 20; do echo "put step-$step.pt into the bucket"; done
echo "Saved checkpoint s3://bucket/run/step-30.pt"
sleep 600
"""


def test_a_run_that_was_stopped_is_resumed_from_there(cluster: ManagedCluster) -> None:
    (cluster.work / "job.sh").write_text(STOPPED)
    job_id = int(cluster.run("csx-sbatch", "--parsable", "job.sh"))
    cluster.await_running(job_id)
    run_dir = cluster.run_dir(cluster.work / "csx-restart")
    progress = run_dir / "attempts/0/progress.jsonl"
    await_(lambda: progress.exists() and len(lines(progress)) == 2, "two checkpoints")
    assert json.loads(cluster.run("csx-restart", "status", "--json", str(job_id)))["step"] == 20
    cluster.run("scancel", str(job_id))
    assert cluster.await_end(job_id) == "CANCELLED"
    [resumed] = json.loads(cluster.run("csx-restart", "resume", "--json", str(run_dir)))["jobs"]
    assert (resumed["checkpoint"], resumed["step"]) == (URL.format(20), 20)
    assert cluster.await_end(int(resumed["job"])) == "COMPLETED"
    assert (cluster.work / "resumed").read_text() == f"{URL.format(20)}\n"
