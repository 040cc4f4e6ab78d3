"""What every back end can make Slurm do, on a real cluster."""

import time
from collections.abc import Callable

import pytest

from contrib.testing.dev_cluster import DevCluster
from contrib.testing.waiting import await_
from slurm_restart.core.job import JobState
from slurm_restart.errors import SlurmError, SlurmUnavailableError
from slurm_restart.slurm.interface import Slurm
from tests.contract.test_jobs import EPILOG_SECONDS, HOSTILE

pytestmark = pytest.mark.cluster
SLACK = 30.0
"""Seconds that a busy machine may need to end what is late. Without a deadline a command waits for
MessageTimeout, which is a minute here."""


@pytest.fixture
def held(cluster: DevCluster) -> int:
    return cluster.submit("sleep 300", "-H", "-N1", "--comment=before")


@pytest.mark.parametrize(
    ("fields", "shown"),
    [
        ({"ExcNodeList": "csx1,csx3"}, {"exc_nodes": ("csx1", "csx3")}),
        ({"ExcNodeList": "csx[1-2]"}, {"exc_nodes": ("csx1", "csx2")}),
        ({"ExcNodeList": ""}, {"exc_nodes": ()}),
        ({"NumNodes": "2-2", "NumCPUs": "2-2"}, {"num_nodes": 2}),
        ({"Comment": "after"}, {"comment": "after"}),
        ({"Comment": ""}, {"comment": ""}),
        ({"AdminComment": "restart 1/3, excluded csx1"}, None),
        ({"Requeue": "0"}, {"requeue": False}),
        ({"TimeLimit": "30"}, {"time_limit": 1800}),
        ({"Partition": "high"}, {"partitions": ("high",)}),
        ({"StartTime": "uts4000000000"}, {"eligible_time": 4_000_000_000}),
        ({}, {"comment": "before"}),
    ],
)
def test_update(
    slurm: Slurm, held: int, fields: dict[str, str], shown: dict[str, object] | None
) -> None:
    slurm.update(held, fields)
    job = slurm.job(held)
    wanted = shown or {"admin_comment": fields["AdminComment"]}
    assert {name: getattr(job, name) for name in wanted} == wanted


def test_update_replaces_the_whole_list(slurm: Slurm, held: int) -> None:
    slurm.update(held, {"ExcNodeList": "csx1"})
    slurm.update(held, {"ExcNodeList": "csx2", "Comment": "two fields at once"})
    job = slurm.job(held)
    assert (job.exc_nodes, job.comment) == (("csx2",), "two fields at once")


@pytest.mark.parametrize("text", [*HOSTILE, " JobId=1 Comment=y", "-x", "=", "a=b", " x "])
def test_a_value_stays_a_value(slurm: Slurm, held: int, text: str) -> None:
    slurm.update(held, {"AdminComment": text, "Comment": text})
    job = slurm.job(held)
    assert job.comment == text
    assert job.admin_comment.rstrip(" ") == text.rstrip(" ")
    assert (job.state, job.num_nodes, job.exc_nodes) == (JobState.PENDING, 1, ())


@pytest.mark.parametrize(
    "fields",
    [
        {"ExcNodeList": "csx1,nosuch"},
        {"NumNodes": "x"},
        {"NumNodes": "2-2", "TimeLimit": "soon"},
        {"NoSuchField": "1"},
        {"StartTime": "whenever"},
        {"JobId": "1"},
        {"Comment=x JobId": "1"},
        {"": "1"},
        {"Comment": "a\0b"},
        {"Comment": "x" * 1025},
    ],
)
def test_a_refused_update_is_an_error(slurm: Slurm, held: int, fields: dict[str, str]) -> None:
    with pytest.raises(SlurmError) as caught:
        slurm.update(held, fields)
    assert not isinstance(caught.value, SlurmUnavailableError)
    assert str(held) in str(caught.value) or "null byte" in str(caught.value)
    job = slurm.job(held)
    assert (job.exc_nodes, job.comment, job.num_nodes) == ((), "before", 1)


def test_update_of_a_running_and_of_an_ended_job(cluster: DevCluster, slurm: Slurm) -> None:
    job_id = cluster.submit("sleep 300")
    cluster.await_state(job_id, "RUNNING")
    slurm.update(job_id, {"Comment": "while running"})
    with pytest.raises(SlurmError, match="no longer pending"):
        slurm.update(job_id, {"ExcNodeList": "csx1"})
    slurm.cancel(job_id)
    cluster.await_state(job_id, "CANCELLED")
    with pytest.raises(SlurmError, match="already finished"):
        slurm.update(job_id, {"Comment": "afterwards"})
    assert slurm.job(job_id).comment == "while running"


def test_requeue(cluster: DevCluster, slurm: Slurm) -> None:
    job_id = cluster.submit("sleep 300", "-x", "csx3")
    cluster.await_state(job_id, "RUNNING")
    first = slurm.job(job_id)
    slurm.requeue(job_id)
    slurm.requeue(job_id)  # while COMPLETING or PENDING: no error, nothing more
    cluster.await_state(job_id, "PENDING")
    slurm.requeue(job_id)
    job = slurm.job(job_id)
    assert (job.state, job.restarts, job.exc_nodes) == (JobState.PENDING, 1, ("csx3",))
    assert job.submit_time is not None
    assert first.submit_time is not None
    assert job.submit_time >= first.submit_time
    assert job.eligible_time is not None
    assert job.eligible_time > job.submit_time + 60  # the ordinary delay of two minutes


def test_the_recipe_of_the_hook(cluster: DevCluster, slurm: Slurm) -> None:
    """Requeue while COMPLETING, reshape, and start again soon, elsewhere and smaller."""
    cluster.fault("slow-epilog", "csx1", EPILOG_SECONDS)
    try:
        job_id = cluster.submit(
            "hostname; exit 3", "-N2", "--exclusive", "-w", "csx[1-2]", "-o", "/dev/null"
        )
        cluster.await_state(job_id, "COMPLETING")
        with pytest.raises(SlurmError):
            slurm.update(job_id, {"ExcNodeList": "csx3"})  # only after the requeue
        slurm.requeue(job_id)
        slurm.update(job_id, {"ReqNodeList": "", "ExcNodeList": "csx1"})
        # NumCPUs without a maximum: a maximum is too small for nodes of many CPUs.
        slurm.update(job_id, {"NumNodes": "1-1", "NumCPUs": "1"})
        # A begin time that passes before the job has left COMPLETING is replaced by Slurm's own.
        slurm.update(job_id, {"AdminComment": "restart 1/1", "StartTime": "now+30"})
    finally:
        cluster.fault("mend-epilog", "csx1")
    # Slurm shows the size of the old allocation until its scheduler has looked at the job again.
    await_(lambda: slurm.job(job_id).num_nodes == 1, "the new size")
    cluster.await_state(job_id, "FAILED")
    job = slurm.job(job_id)
    assert (job.exc_nodes, job.num_nodes, job.admin_comment) == (("csx1",), 1, "restart 1/1")
    assert job.nodes in {("csx2",), ("csx3",)}
    assert job.start_time is not None
    assert job.submit_time is not None
    assert job.start_time - job.submit_time < 100


def test_cancel_is_idempotent(cluster: DevCluster, slurm: Slurm, held: int) -> None:
    slurm.cancel(held)
    slurm.cancel(held)
    assert slurm.job(held).state is JobState.CANCELLED
    done = cluster.submit("true", "-o", "/dev/null")
    cluster.await_state(done, "COMPLETED")
    slurm.cancel(done)
    assert slurm.job(done).state is JobState.COMPLETED


def test_hold_and_release_are_idempotent(slurm: Slurm, held: int) -> None:
    slurm.hold(held)
    slurm.hold(held)
    assert slurm.job(held).held
    slurm.update(held, {"StartTime": "now+3600"})
    slurm.release_job(held)
    slurm.release_job(held)
    job = slurm.job(held)
    assert not job.held
    assert job.eligible_time is not None


def test_orders_to_an_ended_job_are_refused(cluster: DevCluster, slurm: Slurm) -> None:
    job_id = cluster.submit("true", "-o", "/dev/null")
    cluster.await_state(job_id, "COMPLETED")
    for order in (slurm.hold, slurm.release_job):
        with pytest.raises(SlurmError, match="finished"):
            order(job_id)


def test_submit(cluster: DevCluster, slurm: Slurm, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("SBATCH_TIMELIMIT", "77")
    monkeypatch.setenv("SQUEUE_FORMAT", "%i")
    monkeypatch.setenv("SLURM_TIME_FORMAT", "relative")
    script = str(cluster.script("sleep 300"))
    options = ["-H", "--job-name=a b", "--comment=x\ny", "-D", str(cluster.work)]
    job_id = int(slurm.submit(script, options))
    job = slurm.job(job_id)
    slurm.cancel(job_id)
    assert (job.time_limit, job.comment) == (77 * 60, "x\ny")


def test_submit_test_only(cluster: DevCluster, slurm: Slurm) -> None:
    before = len(slurm.jobs())
    answer = slurm.submit(str(cluster.script("true")), ["-N2"], test_only=True)
    assert "to start at" in answer
    assert len(slurm.jobs()) == before


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["-p", "nosuch"], "[Ii]nvalid partition"),
        (["-x", "nosuch"], "[Ii]nvalid node name"),
        (["--nosuch"], "unrecognized"),
    ],
)
def test_submit_refused(
    cluster: DevCluster, slurm: Slurm, options: list[str], message: str
) -> None:
    with pytest.raises(SlurmError, match=message):
        slurm.submit(str(cluster.script("true")), options)
    with pytest.raises(SlurmError):
        slurm.submit("/nonexistent/script", [])


@pytest.mark.parametrize("how", ["kill", "freeze"])
def test_no_controller(
    cluster: DevCluster, make: Callable[[float], Slurm], held: int, how: str
) -> None:
    """Every request ends within its deadline, as unavailable, and works again afterwards."""
    timeout = 1.5
    slurm, script = make(timeout), str(cluster.script("true"))
    await_(lambda: answers(slurm.release), "the release")
    calls: list[Callable[[], object]] = [
        lambda: slurm.job(held),
        slurm.jobs,
        slurm.nodes,
        slurm.partitions,
        slurm.cluster_name,
        slurm.cluster_facts,
        lambda: slurm.update(held, {"Comment": "x"}),
        lambda: slurm.requeue(held),
        lambda: slurm.hold(held),
        lambda: slurm.release_job(held),
        lambda: slurm.cancel(held),
        lambda: slurm.submit(script, []),
    ]
    cluster.fault(f"{how}-ctld")
    try:
        for call in calls:
            before = time.monotonic()
            with pytest.raises(SlurmUnavailableError):
                call()
            assert time.monotonic() - before < timeout + SLACK
        assert not slurm.ping()
    finally:
        cluster.fault("start-ctld" if how == "kill" else "thaw-ctld")
    await_(slurm.ping, "the controller answers again")
    # A killed controller may have lost the job, a frozen one may do later what it was asked.
    await_(lambda: answers(slurm.jobs), "the jobs are shown again")


def answers(call: Callable[[], object]) -> bool:
    """Whether Slurm answers within the deadline, which a busy machine may miss."""
    try:
        call()
    except SlurmUnavailableError:
        return False
    return True
