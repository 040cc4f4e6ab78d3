"""Runs on a cluster without the hook: their jobs requeue themselves, with their owner's rights."""

import json
import os
import re
import signal
from collections.abc import Iterator

import pytest

from contrib.testing.hookless_cluster import (
    HooklessCluster,
    await_attempt,
    decisions,
    submit,
    supervisor_of,
)
from contrib.testing.managed_cluster import KNOWN_CAUSE


@pytest.fixture(scope="module")
def _booted() -> Iterator[HooklessCluster]:
    with HooklessCluster() as cluster:
        yield cluster


@pytest.mark.parametrize("restarts", [0, 1, 3])
def test_without_progress_exactly_so_many_restarts(cluster: HooklessCluster, restarts: int) -> None:
    job_id = submit(cluster, "sh -c 'kill -9 $$'", restarts=restarts)
    assert cluster.await_end(job_id) == "FAILED"
    assert cluster.job(job_id)["Restarts"] == str(restarts)
    runs = cluster.summary()["runs"]
    assert [run["restart_count"] for run in runs] == list(range(restarts + 1))
    assert decisions(cluster.run_dir()) == ["requeue"] * restarts + ["leave"]
    assert f"max_num_restarts is {restarts}" in runs[-1]["expected_decision"]


@pytest.mark.parametrize("restarts", [0, 2])
def test_a_supervisor_that_is_killed_each_time(cluster: HooklessCluster, restarts: int) -> None:
    job_id = submit(cluster, "sleep 300", restarts=restarts)
    for number in range(restarts + 1):
        await_attempt(cluster, number)
        os.kill(supervisor_of(cluster, job_id), signal.SIGKILL)
    assert cluster.await_end(job_id) == "FAILED"
    assert cluster.job(job_id)["Restarts"] == str(restarts)
    runs = cluster.summary()["runs"]
    assert len(runs) == restarts + 1
    assert {run["rule"] for run in runs} == {"supervisor.no_exit_record"}
    assert decisions(cluster.run_dir()) == ["requeue"] * restarts + ["leave"]


def test_a_killed_rank_goes_on_from_the_checkpoint(cluster: HooklessCluster) -> None:
    cluster.trainer_does("wait@15")
    job_id = submit(cluster, None)
    nodes = cluster.await_running(job_id)
    cluster.await_step(10)
    cluster.fault("kill-step", nodes[1])
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    first, second = cluster.summary()["runs"]
    assert first["progress"] is True
    assert second["starting_step"] >= 10
    assert cluster.job(job_id)["Restarts"] == "1"


def test_a_named_node_is_excluded_and_the_run_goes_on_from_its_checkpoint(
    cluster: HooklessCluster,
) -> None:
    lost = "srun: error: Node failure on csx2"
    first = f"test $CSX_RESTART_ATTEMPT != 0 || {{ echo {lost}; exit 3; }}"
    job_id = submit(cluster, f"sh -c '{first}; exec cszoo fit \"$1\"' run {{config}}")
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["ExcNodeList"] == "csx2"
    assert decisions(cluster.run_dir())[0] == "requeue"
    explained = cluster.run("csx-restart", "explain", str(job_id))
    assert "csx2" in explained
    assert "requeue (" in explained


def test_a_wrong_config_is_not_restarted(cluster: HooklessCluster) -> None:
    assert "self=1;" in cluster.run("csx-sbatch", "--print", "--wrap=true")
    job_id = submit(cluster, "sh -c 'echo \"ModuleNotFoundError: No module named x\" >&2; exit 1'")
    assert cluster.await_end(job_id) == "FAILED"
    assert cluster.job(job_id)["Restarts"] == "0"
    assert decisions(cluster.run_dir()) == ["leave"]
    reason = cluster.summary()["runs"][-1]["expected_decision"].removeprefix("leave (")[:-1]
    assert (
        f"nothing: the run has ended: {reason}"
        in json.loads(cluster.run("csx-restart", "status", str(job_id), "--json"))["next"]
    )
    stopped = cluster.run("csx-restart", "stop", str(job_id))
    assert stopped == f"job {job_id}: FAILED: it had ended before\n"


def test_a_cancelled_job_stays_ended(cluster: HooklessCluster) -> None:
    job_id = submit(cluster, "sleep 300")
    await_attempt(cluster, 0)
    cluster.run("scancel", str(job_id))
    assert cluster.await_end(job_id) == "CANCELLED"
    assert cluster.job(job_id)["Restarts"] == "0"
    [run] = cluster.summary()["runs"]
    assert run["category"] == "cancelled"
    assert decisions(cluster.run_dir()) == ["leave"]


def test_a_person_who_requeues_the_job_costs_no_restart(cluster: HooklessCluster) -> None:
    job_id = submit(cluster, "sleep 300", restarts=0)
    await_attempt(cluster, 0)
    cluster.run("scontrol", "requeue", str(job_id))
    await_attempt(cluster, 1)
    first = cluster.summary()["runs"][0]
    assert first["category"] == "requeued"
    assert decisions(cluster.run_dir()) == ["adjust"]


def test_a_held_job_stays_held(cluster: HooklessCluster) -> None:
    wait = f"until test -e {cluster.work}/go; do sleep 0.1; done"
    job_id = submit(cluster, f"sh -c '{wait}; exit 3'")
    await_attempt(cluster, 0)
    cluster.run("scontrol", "hold", str(job_id))
    cluster.let_go()
    cluster.await_state(job_id, "PENDING")
    assert cluster.job(job_id)["Priority"] == "0"
    assert decisions(cluster.run_dir()) == ["requeue"]


def test_the_time_limit_restarts_the_run(cluster: HooklessCluster) -> None:
    job_id = submit(cluster, "sleep 600", "--time=2", "--signal=B:USR1@90", restarts=1)
    assert cluster.await_end(job_id) == "FAILED"
    first, second = cluster.summary()["runs"]
    assert {first["category"], second["category"]} == {"timeout"}
    assert cluster.job(job_id)["Restarts"] == "1"


@pytest.mark.parametrize("ends_well", [True, False])
def test_later_jobs_wait_for_the_end(cluster: HooklessCluster, ends_well: bool) -> None:
    end = "test $CSX_RESTART_ATTEMPT = 1" if ends_well else "exit 3"
    job_id = submit(cluster, f"sh -c '{end}'", restarts=1)
    kill = "--kill-on-invalid-dep=yes"
    after = cluster.submit("true", f"--dependency=afterok:{job_id}", kill)
    assert cluster.await_end(job_id) == ("COMPLETED" if ends_well else "FAILED")
    assert cluster.job(job_id)["Restarts"] == "1"
    assert cluster.await_end(after, "COMPLETED", "CANCELLED") == (
        "COMPLETED" if ends_well else "CANCELLED"
    )


def test_in_place_where_that_is_right_else_a_requeue(cluster: HooklessCluster) -> None:
    lost = "srun: error: Node failure on csx2"
    wait = f"until test -e {cluster.work}/go; do sleep 0.1; done; echo {lost}; exit 3"
    ends = f"0) echo {KNOWN_CAUSE}; exit 3;; 1) {wait};; 2) exit 0"
    command = f"sh -c 'case $CSX_RESTART_ATTEMPT in {ends};; esac'"
    job_id = submit(cluster, command, recovery=None)
    await_attempt(cluster, 1)
    told = cluster.run("csx-restart", "status", str(job_id))
    assert "restarts       1, 1 of them in place; 1 of 3 without progress" in told
    assert "its supervisor restarts it in place, or else requeues the job: 2 more" in told
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "1"
    assert decisions(cluster.run_dir()) == ["relaunch", "requeue", "leave"]
    told = cluster.run("csx-restart", "status", str(job_id))
    assert "restarts       2, 1 of them in place; 2 of 3 without progress" in told
    assert len(re.findall(r"attempt 1 +failed, .*, started in place: ", told)) == 1
    assert [run["in_place"] for run in cluster.summary()["runs"]] == [0, 1, 0]
