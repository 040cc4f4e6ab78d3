"""csx-restart resume takes up a run that has ended, once, from its last checkpoint."""

import json
import os
import subprocess
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.dev_cluster import AS_ROOT
from contrib.testing.json_output import validate_json
from contrib.testing.managed_cluster import ManagedCluster

EVERY = 5
MENDED = "[ -e mended ] && unset CSX_EXAMPLE_FAIL; exec cszoo fit {config}"


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 4}


def start(cluster: ManagedCluster, *options: str, **changes: object) -> int:
    """Submit a run of two nodes."""
    wanted = {"nodes": 2, "min_nodes": 1, "steps": 20, "every": EVERY} | changes
    wanted.setdefault("command", "cszoo fit {config}")
    [job_id] = cluster.csx_sbatch(cluster.config(**wanted), *options)
    return job_id


def resume(cluster: ManagedCluster, *words: str, user: int | None = None) -> tuple[int, Any, str]:
    """Exit code, JSON and message of the command."""
    identity: dict[str, Any] = {}
    if AS_ROOT:
        uid = cluster.user.pw_uid if user is None else user
        identity = {"user": uid, "extra_groups": []}
        if uid:
            identity["group"] = cluster.user.pw_gid
    done = subprocess.run(
        ["csx-restart", "resume", "--json", *words],
        env=cluster.environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    if done.returncode != 0:
        return done.returncode, None, done.stderr
    data = json.loads(done.stdout)
    validate_json("resume", data)
    return done.returncode, data["jobs"], done.stderr


def test_a_run_whose_restarts_are_used_up_goes_on_from_its_last_checkpoint(
    cluster: ManagedCluster,
) -> None:
    cluster.trainer_does("wait@3", "exit:3@7")
    first = start(
        cluster,
        restarts=1,
        command=MENDED,
    )
    code, _, message = resume(cluster, str(first))
    assert (code, "expected a run that has ended" in message) == (2, True)
    cluster.let_go()
    assert cluster.await_end(first) == "FAILED"
    # Not mended yet: the counters go on, so that the next failure is final, too.
    code, [entry], message = resume(cluster, str(cluster.run_dir()))
    assert (code, message) == (0, "")
    assert entry["step"] == EVERY
    # The last attempt trained it anew, as it suspected the first file.
    assert Path(entry["checkpoint"]).name.startswith(f"checkpoint_{EVERY}")
    second = int(entry["job"])
    assert entry["failures"] == cluster.ends(first)[-1]["failures"]
    assert cluster.await_end(second) == "FAILED"
    [end] = cluster.ends(second)
    assert (end["action"], end["attempt"]) == ("leave", len(cluster.ends(first)))
    assert end["failures"] == entry["failures"] + 1
    (cluster.work / "mended").touch()
    os.chown(cluster.work / "mended", cluster.user.pw_uid, cluster.user.pw_gid)
    code, [entry], _ = resume(cluster, str(second), "--reset-count")
    assert (code, entry["failures"], entry["total_restarts"]) == (0, 0, 0)
    assert cluster.await_end(int(entry["job"])) == "COMPLETED"
    runs = cluster.summary()["runs"]
    assert runs[-1]["starting_step"] == EVERY
    assert runs[-1]["status"] == "success"
    assert "resume: Submitted batch job" in (cluster.run_dir() / "run.log").read_text()
    code, _, message = resume(cluster, str(cluster.run_dir()))
    assert (code, "has completed" in message) == (2, True)


def test_of_two_at_once_exactly_one_submits(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@7")
    job_id = start(cluster)
    cluster.await_step(EVERY)
    cluster.run("csx-restart", "stop", str(job_id))
    run_dir = str(cluster.run_dir())
    with ThreadPoolExecutor(4) as pool:
        results = list(pool.map(lambda _: resume(cluster, run_dir), range(4)))
    codes = sorted(code for code, _, _ in results)
    assert codes[0] == 0
    assert set(codes[1:]) <= {2, 7}
    queued = cluster.run("squeue", "-h", "-t", "PD,R,CG", "-o", "%i").split()
    [entry] = next(data for code, data, _ in results if code == 0)
    assert queued == [entry["job"]]
    cluster.let_go()
    assert cluster.await_end(int(entry["job"])) == "COMPLETED"


def test_excluded_nodes_stay_excluded_unless_they_are_cleared(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@7")
    job_id = start(cluster, "--exclude=csx4", nodes=1, min_nodes=1)
    cluster.await_step(EVERY)
    bad = cluster.nodes_of(job_id)[0]
    cluster.fault("node-down", bad)
    cluster.await_end(job_id, "PENDING", "RUNNING")
    assert cluster.excluded(job_id) == {bad}
    cluster.await_running(job_id)
    cluster.run("csx-restart", "stop", str(job_id))
    code, [entry], _ = resume(cluster, str(job_id))
    assert (code, entry["excluded"]) == (0, [bad])
    job = cluster.job(int(entry["job"]))
    listed = cluster.run("scontrol", "show", "hostnames", job["ExcNodeList"]).split()
    assert sorted(listed) == sorted(["csx4", bad])
    cluster.run("csx-restart", "stop", entry["job"])
    code, [entry], _ = resume(cluster, str(cluster.run_dir()), "--clear-nodes")
    assert (code, entry["excluded"]) == (0, [])
    assert cluster.job(int(entry["job"]))["ExcNodeList"] == "csx4"
    cluster.let_go()
    assert cluster.await_end(int(entry["job"])) == "COMPLETED"


def test_later_phases_are_submitted_too(cluster: ManagedCluster) -> None:
    cluster.trainer_does("raise:ImportError@7")
    config = cluster.config(
        nodes=1,
        min_nodes=1,
        steps=10,
        every=EVERY,
        command=MENDED,
    )
    second = cluster.in_two_phases(config)
    first, later = cluster.csx_sbatch(config)
    assert cluster.await_end(first) == "FAILED"
    assert cluster.await_end(later) == "CANCELLED"
    second_dir = cluster.run_dir(second)
    code, _, message = resume(cluster, str(second_dir))
    assert (code, "resume that one" in message) == (2, True)
    (cluster.work / "mended").touch()
    code, entries, message = resume(cluster, str(first))
    assert code == 0, message
    assert [entry["phase"] for entry in entries] == [0, 1]
    assert entries[1]["after"] == entries[0]["job"]
    assert [cluster.await_end(int(entry["job"])) for entry in entries] == ["COMPLETED"] * 2


@pytest.mark.skipif(not AS_ROOT, reason="needs root, for other users")
def test_others_are_refused(cluster: ManagedCluster) -> None:
    cluster.trainer_does("exit:3@7")
    job_id = start(cluster, restarts=0)
    assert cluster.await_end(job_id) == "FAILED"
    run_dir = str(cluster.run_dir())
    for user in (0, cluster.slurm_user.pw_uid, 1):
        code, _, message = resume(cluster, run_dir, user=user)
        assert (code, "expected its owner" in message) == (2, True), message


def test_an_end_that_no_hook_has_judged_is_not_restarted_after_a_resume(
    cluster: ManagedCluster,
) -> None:
    cluster.trainer_does("exit:3@7/restart=0", "wait@8")
    hook = cluster.hook.read_text()
    cluster.hook.write_text("#!/bin/sh\nkill -9 $$\n")
    try:
        job_id = start(cluster)
        cluster.await_state(job_id, "FAILED")
    finally:
        cluster.hook.write_text(hook)
    assert cluster.ends(job_id) == []
    cluster.environment.pop("CSX_EXAMPLE_FAIL")
    code, [entry], message = resume(cluster, str(job_id))
    assert code == 0, message
    for _ in range(2):
        cluster.reconcile()
    assert cluster.state(job_id) == "FAILED"
    [end] = cluster.ends(job_id)
    assert (end["action"], entry["job"] in end["reason"]) == ("leave", True)
    assert cluster.await_end(int(entry["job"])) == "COMPLETED"
    assert Path(entry["run_dir"]) == cluster.run_dir()
