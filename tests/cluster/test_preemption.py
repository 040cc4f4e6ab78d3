"""A job of higher priority takes the nodes: the run comes back, and its budget is untouched."""

import pytest

from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

STEPS, EVERY, RESTARTS = 40, 5, 0
"""No restart is allowed, and preemption restarts all the same: it never counts."""
FLAG_SURVIVES = (24, 11)
"""In this release a requeue does not remove the flag of a preemption with grace time: Slurm calls
the next end, a success, a preemption too: the job is requeued once more, or ends as PREEMPTED."""


@pytest.fixture(scope="module", params=["REQUEUE", "CANCEL", "REQUEUE-grace", "CANCEL-grace"])
def preempt(request: pytest.FixtureRequest) -> str:
    """PreemptMode, with or without a grace time."""
    return request.param


@pytest.fixture(scope="module")
def cluster_options(preempt: str) -> dict[str, object]:
    mode, _, grace = preempt.partition("-")
    # Nodes that are given up are taken by the scheduler's next round only.
    often = ("--set", "SchedulerParameters=sched_interval=1")
    options = ("--preempt", mode, "--grace", "1" if grace else "0", *often)
    return {"nodes": 2, "options": options}


@pytest.fixture
def job_id(cluster: ManagedCluster) -> int:
    """A run on both nodes that has written its first checkpoints."""
    # It hangs, as slurmctld looks only twice a minute whether a grace time is over.
    cluster.environment["CSX_EXAMPLE_FAIL"] = "hang@12/restart=0"
    config = cluster.config(
        command="cszoo fit {config}",
        nodes=2,
        min_nodes=2,
        steps=STEPS,
        every=EVERY,
        restarts=RESTARTS,
    )
    [job_id] = cluster.csx_sbatch(config)
    cluster.await_step(2 * EVERY)
    return job_id


def test_a_preempted_run_comes_back_and_nothing_is_counted(
    cluster: ManagedCluster, job_id: int, preempt: str
) -> None:
    urgent = cluster.submit("sleep 1", "-p", "high", "-N2", "--exclusive")
    await_(lambda: cluster.ends(job_id), "the preemption")
    cluster.await_end(urgent, "COMPLETED")
    flagged = cluster.release == FLAG_SURVIVES and preempt.endswith("-grace")
    final = "PREEMPTED" if flagged and preempt.startswith("CANCEL") else "COMPLETED"
    assert cluster.await_end(job_id, final) == final
    first, *again, last = cluster.ends(job_id)
    assert len(again) == (flagged and preempt.startswith("REQUEUE"))
    if preempt.startswith("REQUEUE"):
        # 22.05 does not always tell a preemption by requeue from a person's requeue.
        assert first["category"] in {"preemption", "requeued"}
        assert first["action"] == "adjust"
    else:
        assert first["category"] == "preemption"
        assert first["action"] == "requeue"
    assert last["action"] == "leave"
    assert {(end["failures"], end["total"]) for end in (first, *again, last)} == {(0, 0)}
    assert cluster.excluded(job_id) == set()
    runs = cluster.summary()["runs"]
    assert [run["status"] for run in runs] == ["failed", *["success"] * (1 + len(again))]
    assert runs[1]["starting_step"] >= 2 * EVERY
    assert runs[1]["ending_step"] == STEPS
    assert cluster.job(job_id)["Restarts"] == str(1 + len(again))
