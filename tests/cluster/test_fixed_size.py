"""Jobs with task counts and totals of GPUs, on nodes that they share: restarted at their size."""

from collections.abc import Iterator

import pytest

from contrib.testing.managed_cluster import FAST
from contrib.testing.scripted_runs import (
    BLAMES_LAST_NODE,
    DONE,
    ScriptedCluster,
    ScriptedRun,
    fails,
)
from contrib.testing.waiting import await_

pytestmark = pytest.mark.cluster


@pytest.fixture(scope="module")
def cluster() -> Iterator[ScriptedCluster]:
    shared = ("--cpus", "4", "--gpus", "2", "--partition-set", "OverSubscribe=NO")
    with ScriptedCluster(options=shared, policy=FAST) as booted:
        yield booted


@pytest.fixture(autouse=True)
def _mended(cluster: ScriptedCluster) -> Iterator[None]:
    yield
    cluster.heal()


def written_sizes(run: ScriptedRun) -> list[str]:
    """Requests of the run's journal that change its size."""
    events = run.cluster.journal(run.job_id)
    asked = [text for event in events for text in event.get("operations", ())]
    return [text for text in asked if "NumNodes" in text or "NumCPUs" in text]


@pytest.mark.parametrize(
    ("geometry", "size"),
    [
        (("-n3", "--ntasks-per-node=1", "--gres=gpu:1"), 3),
        (("-n6",), 2),
        (("--gpus=4", "-n4"), 2),
        (("-N3", "-n6"), 3),
    ],
    ids=["tasks per node", "tasks", "total of gpus", "nodes and tasks"],
)
def test_a_run_restarts_at_its_size_without_the_blamed_node(
    cluster: ScriptedCluster, geometry: tuple[str, ...], size: int
) -> None:
    others = [
        cluster.submit("sleep 600", "-n1", f"-w{name}", "-o/dev/null")
        for name in cluster.node_names
    ]
    for other in others:
        cluster.await_state(other, "RUNNING")
    run = cluster.submit_run(BLAMES_LAST_NODE, DONE, geometry=geometry, fields="fixed=1")
    run.signal("submitted")
    first = run.await_attempt(0)
    assert cluster.await_end(run.job_id) == "COMPLETED"
    _, second = run.attempts()
    assert (len(first.nodes), len(second.nodes)) == (size, size)
    assert first.nodes[-1] not in second.nodes
    assert cluster.excluded(run.job_id) == {first.nodes[-1]}
    assert written_sizes(run) == []
    assert {cluster.state(other) for other in others} == {"RUNNING"}


@pytest.mark.parametrize("geometry", [("-n9",), ("-n3", "--ntasks-per-node=1")])
def test_a_run_waits_for_as_many_nodes_as_it_needs(
    cluster: ScriptedCluster, geometry: tuple[str, ...]
) -> None:
    # A cause that no node has: one that is resumed shows `IDLE*` for a moment, and would be blamed.
    failure = fails("oom_host")
    run = cluster.submit_run(failure, DONE, geometry=geometry, fields="fixed=1")
    first = run.await_attempt(0)
    for name in first.nodes[1:]:
        cluster.fault("node-drain", name)
    run.signal("submitted")

    def is_waiting() -> bool:
        cluster.reconcile()
        shown = cluster.run("scontrol", "show", "job", "-o", str(run.job_id), as_root=True)
        # Before 24.11, Slurm shows one node for tasks of one node each, and waits itself.
        reasons = ("2 usable nodes, 3 are needed at least", "Reason=ReqNodeNotAvail")
        return "JobState=PENDING" in shown and any(reason in shown for reason in reasons)

    await_(is_waiting, "the run waits for nodes", interval=0.5)
    cluster.mend_nodes()
    assert cluster.await_end(run.job_id) == "COMPLETED"
    assert [len(attempt.nodes) for attempt in run.attempts()] == [3, 3]
    assert written_sizes(run) == []
