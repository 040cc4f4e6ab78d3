"""The state directory of a real controller: whose files it holds, and what a copy of them shows."""

import os
import subprocess
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.dev_cluster import AS_ROOT
from contrib.testing.managed_cluster import ManagedCluster

ADMIN_TEXT = "ticket 4711: ask Eve"
as_root = pytest.mark.skipif(not AS_ROOT, reason="only root can become another user")


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    # A name that is no safe name of a folder.
    return {"nodes": 2, "options": ("--set", "ClusterName=-x")}


def managed_job(cluster: ManagedCluster, script: str, run: int) -> int:
    """Submit a managed job."""
    comment = f"csx-restart/1 run={run:016x};max=3;num=1;min=1"
    return cluster.submit(script, "--requeue", "-N1", "--exclusive", f"--comment={comment}")


def reconcile(cluster: ManagedCluster, uid: int | None = None) -> subprocess.CompletedProcess[str]:
    """A sweep as another user, or as the user of this test."""
    user: dict[str, Any] = {}
    if uid is not None:
        user = {"user": uid, "group": uid, "extra_groups": []}
    return subprocess.run(
        [*cluster.csx_restart, "reconcile", "--site", str(cluster.site)],
        capture_output=True,
        text=True,
        check=False,
        cwd="/",
        env={},
        **user,
    )


def files(folder: Path) -> dict[Path, int]:
    """The files of a folder with their owners."""
    return {path: path.lstat().st_uid for path in folder.rglob("*")}


@as_root
def test_no_command_of_root_leaves_a_file_of_root(cluster: ManagedCluster) -> None:
    slurm = cluster.slurm_user.pw_uid
    missed = cluster.hook.read_text()
    cluster.hook.write_text("#!/bin/sh\n")  # so that the sweep makes the journal
    try:
        job_id = managed_job(cluster, "exit 0", run=1)
        cluster.await_state(job_id, "COMPLETED")
    finally:
        cluster.hook.write_text(missed)
    before = files(cluster.state_dir)
    assert reconcile(cluster, cluster.user.pw_uid).returncode == 2
    assert files(cluster.state_dir) == before
    done = reconcile(cluster)
    assert done.returncode == 0, done.stderr
    [end] = cluster.ends(job_id)
    assert end["source"] == "sweep"
    for folder in (cluster.state_dir, cluster.export_dir):
        found = files(folder)
        assert found
        assert set(found.values()) == {slurm}


@as_root
def test_a_file_of_root_is_named_with_the_remedy(cluster: ManagedCluster) -> None:
    job_id = managed_job(cluster, "exit 0", run=2)
    cluster.await_state(job_id, "COMPLETED")
    [journal] = cluster.state_dir.glob(f"journal/*/{job_id}-*.jsonl")
    os.chown(journal, 0, 0)
    remedy = f"{journal}: belongs to root, not to slurm: chown slurm {journal}"
    first, second = reconcile(cluster), reconcile(cluster)
    assert remedy in first.stderr
    assert remedy not in second.stderr
    assert remedy in cluster.hook_log()
    os.chown(journal, cluster.slurm_user.pw_uid, cluster.slurm_user.pw_gid)
    assert "problems 0" in reconcile(cluster).stdout


def test_a_cluster_of_any_name_and_a_copy_without_admin_comment(cluster: ManagedCluster) -> None:
    go = cluster.work / "go"
    script = (
        f'[ -z "$SLURM_RESTART_COUNT" ] || exit 0; until [ -e {go} ]; do sleep 0.1; done; exit 3'
    )
    job_id = managed_job(cluster, script, run=3)
    cluster.run("scontrol", "update", f"JobId={job_id}", f"AdminComment={ADMIN_TEXT}", as_root=True)
    go.touch()
    assert cluster.await_end(job_id, "COMPLETED") == "COMPLETED"
    assert [end["action"] for end in cluster.ends(job_id)] == ["requeue", "leave"]
    [journal] = cluster.state_dir.glob(f"journal/*/{job_id}-*.jsonl")
    assert journal.parent.name == "%2Dx"
    assert ADMIN_TEXT in journal.read_text()
    [copy] = cluster.export_dir.glob(f"*/{job_id}-*.jsonl")
    assert copy.parent.name == "%2Dx"
    assert "AdminComment" not in copy.read_text()
    assert copy.read_text().count("\n") == journal.read_text().count("\n")
    explained = cluster.run("csx-restart", "explain", str(job_id))
    assert str(copy) in explained
    assert ADMIN_TEXT not in explained
