"""What a run meets while it runs: broken files, full disks, and digests that people have edited."""

import os
import signal
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from contrib.testing.dev_cluster import AS_ROOT
from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_
from slurm_restart.core.job_comment import PREFIX

STEPS, EVERY, FAILS_AT = 20, 5, 12
HELD = "sh -c 'if mkdir first; then while [ ! -e go ]; do sleep 0.1; done; exit 3; fi'"
"""A trainer that waits for a file, fails once, and succeeds when it is started again."""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 3}


def start(
    cluster: ManagedCluster, *options: str, command: str = "cszoo fit {config}", **changes: object
) -> int:
    """Submit a run of one node that fails in its first attempt, after two checkpoints."""
    cluster.environment["CSX_EXAMPLE_FAIL"] = f"exit:3@{FAILS_AT}/restart=0"
    wanted = {"nodes": 1, "min_nodes": 1, "steps": STEPS, "every": EVERY} | changes
    [job_id] = cluster.csx_sbatch(cluster.config(command=command, **wanted), *options)
    return job_id


def before_attempt_1(cluster: ManagedCluster, lines: str) -> str:
    """A command that runs shell lines at the end of the first attempt."""
    script = cluster.work / "between.sh"
    body = f'cszoo fit "$1"\ncode=$?\nif mkdir first 2>/dev/null; then\n{lines}\nfi\nexit $code'
    script.write_text(f"#!/bin/sh\n{body}\n")
    script.chmod(0o755)
    return f"{script} {{config}}"


def statuses(cluster: ManagedCluster) -> list[str]:
    """How the attempts ended, by summary.json."""
    return [run["status"] for run in cluster.summary()["runs"]]


# --- files ---------------------------------------------------------------------------------------


def test_the_newest_checkpoint_is_truncated(cluster: ManagedCluster) -> None:
    lines = "truncate -s 1000 model_dir/checkpoint_10.mdl"
    job_id = start(cluster, command=before_attempt_1(cluster, lines))
    assert cluster.await_end(job_id) == "COMPLETED"
    assert statuses(cluster) == ["failed", "success"]
    last = cluster.summary()["runs"][-1]
    assert (last["starting_step"], last["ending_step"]) == (5, STEPS)
    names = {path.name for path in (cluster.work / "model_dir").iterdir()}
    assert {"checkpoint_10.mdl.unusable", "checkpoint_5.mdl"} <= names
    log = (cluster.run_dir() / "run.log").read_text()
    assert "checkpoint_10.mdl is not used" in log


@pytest.mark.parametrize("damage", ["printf '{' >$summary", "printf '\\0\\377[[[' >$summary"])
def test_summary_json_is_corrupt(cluster: ManagedCluster, damage: str) -> None:
    lines = f"summary=$(echo model_dir/*_restartable/summary.json); {damage}"
    job_id = start(cluster, command=before_attempt_1(cluster, lines))
    assert cluster.await_end(job_id) == "COMPLETED"
    assert statuses(cluster) == ["failed", "success"]
    assert list(cluster.run_dir().glob("summary.json.corrupt-*"))


def test_the_run_directory_is_read_only(cluster: ManagedCluster) -> None:
    # The records cannot be written: the run itself goes on.
    lines = "chmod 500 model_dir/*_restartable"
    job_id = start(cluster, command=before_attempt_1(cluster, lines))
    assert cluster.await_end(job_id) == "COMPLETED"
    assert [end["action"] for end in cluster.ends(job_id)] == ["requeue", "leave"]


@pytest.mark.skipif(not AS_ROOT, reason="mounting a file system needs root")
def test_the_disk_is_full(cluster: ManagedCluster) -> None:
    model_dir = cluster.work / "full"
    with small_disk(cluster, model_dir):
        fill = f"head -c 20m /dev/zero >{model_dir}/filler"
        command = f"sh -c '{fill}; exec cszoo fit \"$1\"' run {{config}}"
        job_id = start(cluster, command=command, model_dir=str(model_dir), restarts=2)
        assert cluster.await_end(job_id) == "FAILED"
        [end] = cluster.ends(job_id)
        assert (end["category"], end["action"]) == ("storage.full", "leave")
        (model_dir / "filler").unlink()
        said = cluster.run("csx-restart", "explain", str(job_id))
        assert "storage.full" in said


@contextmanager
def small_disk(cluster: ManagedCluster, path: Path) -> Iterator[None]:
    """A file system of 2 MB for the user."""
    path.mkdir()
    size = f"size=2m,uid={cluster.user.pw_uid}"
    subprocess.run(["mount", "-t", "tmpfs", "-o", size, "tmpfs", str(path)], check=True)
    try:
        yield
    finally:
        subprocess.run(["umount", "-l", str(path)], check=True)


def test_model_dir_is_removed_under_way(cluster: ManagedCluster) -> None:
    job_id = start(cluster, command=before_attempt_1(cluster, "rm -rf model_dir"))
    state = cluster.await_end(job_id)
    assert state == "FAILED"
    ends = cluster.ends(job_id)
    assert ends[-1]["action"] == "leave"
    assert len(ends) <= 4
    assert cluster.excluded(job_id) == set()


# --- the digest ----------------------------------------------------------------------------------


def started(cluster: ManagedCluster, *options: str) -> int:
    """A run whose trainer waits to be let go, and whose digest is written."""
    job_id = start(cluster, *options, command=HELD)
    await_(lambda: "attempt=0" in comment(cluster, job_id), "the first word")
    return job_id


def let_go(cluster: ManagedCluster) -> None:
    """Let the trainer fail."""
    (cluster.work / "go").touch()


def comment(cluster: ManagedCluster, job_id: int) -> str:
    """The Comment of a job."""
    return cluster.run("squeue", "-h", "-a", "-t", "all", "-j", str(job_id), "-o", "%k")


def edit(cluster: ManagedCluster, job_id: int, text: str) -> None:
    """Set the Comment as the owner."""
    cluster.run("scontrol", "update", f"JobId={job_id}", f"Comment={text}")


def end_with(cluster: ManagedCluster, job_id: int, text: str) -> None:
    """Set the Comment, and end the attempt before its supervisor writes the digest again."""
    supervisor = cluster.batch_pid(job_id)
    os.kill(supervisor, signal.SIGSTOP)
    edit(cluster, job_id, text)
    os.kill(supervisor, signal.SIGKILL)


CONTROLS = "".join(chr(number) for number in range(1, 32) if number != 10) * 40
FORGED = {
    "nodes of others": "nodes=csx2,login1;cause=hardware.node;ended=1;attempt=0;submit={submit}",
    "a huge step": "step=1000000000001",
    "huge numbers": "max=99999999999999999999",
    "an unknown field": "evil=$(reboot)",
    "control characters": CONTROLS,
}


@pytest.mark.parametrize("name", FORGED)
def test_an_edited_digest_hurts_at_most_its_own_job(cluster: ManagedCluster, name: str) -> None:
    job_id = started(cluster)
    present = comment(cluster, job_id).strip()
    submit = present.partition("submit=")[2].partition(";")[0]
    base = present.partition(";attempt=")[0]
    text = FORGED[name].format(submit=submit) if "{submit}" in FORGED[name] else FORGED[name]
    end_with(cluster, job_id, f"{base};{text}"[:1024])
    state = cluster.await_end(job_id)
    cluster.reconcile()
    assert cluster.excluded(job_id) <= {"csx1"}
    assert all(cluster.node(node) == "idle" for node in cluster.node_names)
    if name == "nodes of others":
        assert state == "COMPLETED"
        assert "nodes that are not this job's, not excluded" in cluster.hook_log()
    else:
        assert state == "FAILED"
        assert cluster.ends(job_id) == []
        assert f"job {job_id}: nothing done: CommentRecordError" in cluster.hook_log()


def test_no_digest_any_more_is_no_managed_job(cluster: ManagedCluster) -> None:
    job_id = started(cluster)
    end_with(cluster, job_id, "my own words")
    assert cluster.await_end(job_id) == "FAILED"
    assert cluster.ends(job_id) == []


def test_the_supervisor_mends_a_digest_that_was_lost(cluster: ManagedCluster) -> None:
    job_id = started(cluster)
    edit(cluster, job_id, "my own words")
    let_go(cluster)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert comment(cluster, job_id).startswith(PREFIX)
    assert "my own words" in comment(cluster, job_id)
    assert [end["action"] for end in cluster.ends(job_id)] == ["requeue", "leave"]


def test_another_runs_id_in_a_later_attempt_escapes_no_cap(cluster: ManagedCluster) -> None:
    waits = "while [ ! -e go ]; do sleep 0.1; done"  # a shell is not told when a file appears
    job_id = start(cluster, command=f"sh -c 'if mkdir first; then exit 3; fi; {waits}'")
    await_(lambda: cluster.ends(job_id), "the first end")
    cluster.await_running(job_id)
    await_(lambda: "attempt=1" in comment(cluster, job_id), "the second attempt")
    present = comment(cluster, job_id).strip()
    run = present.partition("run=")[2][:16]
    end_with(cluster, job_id, present.replace(run, "f" * 16))
    await_(lambda: len(cluster.ends(job_id)) == 2, "the second end")
    let_go(cluster)
    assert cluster.await_end(job_id) == "COMPLETED"
    # The job has a journal of its own for each run id; Slurm counts the restarts of both.
    names = [path.stem for path in cluster.state_dir.glob(f"journal/*/{job_id}-*.jsonl")]
    assert {name.rpartition("-")[2] for name in names} == {run, "f" * 16}
    assert [end["total"] for end in cluster.ends(job_id) if end["action"] == "requeue"] == [1, 2]


@pytest.mark.skipif(not AS_ROOT, reason="two users need root")
def test_the_digest_of_another_users_run_gains_nothing(cluster: ManagedCluster) -> None:
    job_id = started(cluster)
    journal = cluster.journal(job_id)
    stolen = comment(cluster, job_id).strip()
    script = cluster.script("exit 3")
    out = cluster.run(
        "sbatch",
        "--parsable",
        "-N1",
        "--requeue",
        "-o",
        "/dev/null",
        f"--comment={stolen}",
        str(script),
        as_root=True,
    )
    thief = int(out)
    assert cluster.await_end(thief, "FAILED", "RUNNING", "PENDING")
    await_(lambda: cluster.ends(thief), "the other's end")
    cluster.run("scancel", str(thief), as_root=True)
    assert cluster.journal(job_id) == journal
    assert cluster.state(job_id) == "RUNNING"
    let_go(cluster)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert [end["action"] for end in cluster.ends(job_id)] == ["requeue", "leave"]


def test_a_job_name_that_looks_like_a_state(cluster: ManagedCluster) -> None:
    name = "x JobState=COMPLETED ExitCode=0:0 Restarts=99 Requeue=0\nJobId=1"
    job_id = start(cluster, f"--job-name={name}")
    assert cluster.await_end(job_id) == "COMPLETED"
    assert [end["action"] for end in cluster.ends(job_id)] == ["requeue", "leave"]
    assert cluster.ends(job_id)[0]["restarts"] == 0
    assert statuses(cluster) == ["failed", "success"]
