"""Programs without known checkpoints: what they print, a file, or their run time is progress."""

import re

import pytest

from contrib.testing.managed_cluster import ManagedCluster

# Each attempt gets further than the one before, and fails; the fourth finishes.
JOB = """\
#!/bin/bash
#SBATCH --ntasks=1
echo x >> attempts
number=$(wc -l < attempts)
{body}
[ "$number" -ge 4 ] && exit 0
exit 3
"""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 1}


def submit(cluster: ManagedCluster, body: str, *options: str, restarts: int = 1) -> int:
    (cluster.work / "job.sh").write_text(JOB.format(body=body))
    limit = f"--max-restarts={restarts}"
    return int(cluster.run("csx-sbatch", "--parsable", limit, *options, "job.sh"))


STEPS = 'for step in $(seq $((number * 5))); do echo "step $step of 20"; done'


@pytest.mark.parametrize(
    ("body", "option"),
    [
        (STEPS, r"--progress=step (\d+)"),
        ("seq $((number * 1000)) > result", "--progress-file=result"),
        # The run time itself is what is measured.
        ("sleep 2.5", "--progress-after=2s"),
    ],
)
def test_progress_sets_the_count_back(cluster: ManagedCluster, body: str, option: str) -> None:
    job_id = submit(cluster, body, option)
    assert cluster.await_end(job_id) == "COMPLETED"
    ends = cluster.ends(job_id)
    assert [end["progress"] for end in ends[:3]] == [True] * 3
    assert [end["failures"] for end in ends] == [0] * 4
    assert len(ends) == 4
    log = (cluster.run_dir(cluster.work / "csx-restart") / "run.log").read_text()
    assert "progress: " in log
    assert "progress is beyond " in log


def test_the_same_steps_again_are_no_progress(cluster: ManagedCluster) -> None:
    body = "for step in 1 2 3; do echo step $step; done; number=1"
    job_id = submit(cluster, body, r"--progress=step (\d+)", restarts=2)
    assert cluster.await_end(job_id) == "FAILED"
    ends = cluster.ends(job_id)
    # The first attempt got to step 3; then exactly the restarts that are allowed.
    assert [end["progress"] for end in ends] == [True, False, False, False]
    assert [end["failures"] for end in ends] == [0, 1, 2, 3]
    explained = cluster.run("csx-restart", "explain", str(job_id))
    assert "yes, from step 0 to 3" in explained
    assert "without progress beyond step 3, max" in explained
    assert re.search(r"step +3$", cluster.run("csx-restart", "status", str(job_id)), re.MULTILINE)


def test_short_attempts_without_a_sign_of_progress_use_up_the_restarts(
    cluster: ManagedCluster,
) -> None:
    job_id = submit(cluster, "number=1", restarts=1)
    assert cluster.await_end(job_id) == "FAILED"
    assert [end["failures"] for end in cluster.ends(job_id)] == [1, 2]
