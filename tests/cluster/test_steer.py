"""People steer runs with csx-restart stop, release and set: what they want holds, whatever dies."""

import json
import os
import re
import signal
import subprocess
import sys
from typing import Any

import pytest

from contrib.testing.dev_cluster import AS_ROOT
from contrib.testing.json_output import read_json, validate_json
from contrib.testing.managed_cluster import FAST, SHORT_DELAY, SOON, ManagedCluster
from contrib.testing.waiting import await_

EVERY = 5
PHASE = {"init": {"model_dir": "model_dir"}, "fit": {}}


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 4, "options": SOON, "requeued_after": SHORT_DELAY}


def start(cluster: ManagedCluster, *options: str, **changes: object) -> int:
    """Submit a run of two nodes."""
    wanted = {"nodes": 2, "min_nodes": 1, "steps": 40, "every": EVERY} | changes
    wanted.setdefault("command", "cszoo fit {config}")
    [job_id] = cluster.csx_sbatch(cluster.config(**wanted), *options)
    return job_id


def start_waiting(cluster: ManagedCluster) -> int:
    """Submit a run that fails once, before its first checkpoint, and then waits an hour."""
    cluster.configure(policy={"backoff": [3600], "short_wait": 3600})
    cluster.trainer_does("exit:3@3/restart=0")
    try:
        job_id = start(cluster)
        await_(lambda: any(e["event"] == "applied" for e in cluster.journal(job_id)), "the end")
        cluster.await_state(job_id, "PENDING")
        cluster.await_helper()
    finally:
        cluster.configure(policy=FAST)
    return job_id


def restart(cluster: ManagedCluster, *words: str, **how: Any) -> dict[str, Any]:
    """What a command says as JSON about the only job that it is about."""
    data = json.loads(cluster.run("csx-restart", *words, "--json", **how))
    validate_json(words[0], data)
    [job] = data["jobs"]
    return dict(job)


def refused(cluster: ManagedCluster, *words: str, user: int | None = None) -> tuple[int, str]:
    """The exit code and the message of a command that has to fail."""
    identity = {} if not AS_ROOT else {"user": user or cluster.user.pw_uid, "extra_groups": []}
    done = subprocess.run(
        ["csx-restart", *words],
        env=cluster.environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        **identity,
    )
    assert done.returncode != 0, done.stdout
    return done.returncode, done.stderr


def is_left(cluster: ManagedCluster, job_id: int) -> None:
    """Nothing starts the run again."""
    cluster.await_helper()
    state = cluster.state(job_id)
    for _ in range(3):
        cluster.reconcile()
    assert cluster.state(job_id) == state
    assert cluster.ends(job_id)[-1]["action"] in {"leave", "cancel"}


# --- stop ----------------------------------------------------------------------------------------


def test_a_running_run_ends_after_its_next_checkpoint(cluster: ManagedCluster) -> None:
    # The second fault: the steps that are left must not be over before the checkpoint is seen.
    cluster.trainer_does("wait@7", f"hang@{2 * EVERY + 2}")
    job_id = start(cluster)
    log = cluster.run_dir() / "run.log"
    # A checkpoint that the supervisor has not seen before the request is the next one for it.
    await_(lambda: f"checkpoint at step {EVERY}:" in log.read_text(), "the supervisor has seen it")
    said = restart(cluster, "stop", str(job_id), "--after-checkpoint")
    assert (said["result"], said["state"]) == ("will_end", "RUNNING")
    assert cluster.state(job_id) == "RUNNING"
    cluster.let_go()
    assert cluster.await_end(job_id) == "FAILED"
    is_left(cluster, job_id)
    [end] = cluster.ends(job_id)
    assert (end["category"], end["action"]) == ("cancelled", "leave")
    assert "csx-restart stop" in end["reason"]
    assert end["step"] >= 2 * EVERY
    assert end["step"] < 40
    text = log.read_text()
    assert f"{cluster.user.pw_name}: stop after the next checkpoint" in text
    assert "stopped after checkpoint" in text
    # Of a run that has ended, neither settings nor anything else can be changed.
    assert refused(cluster, "set", str(job_id), "max_num_restarts=5")[0] == 2
    assert restart(cluster, "stop", str(job_id))["result"] == "had_ended"


def test_a_supervisor_that_is_killed_before_the_checkpoint_ends_the_run(
    cluster: ManagedCluster,
) -> None:
    cluster.trainer_does("wait@7")
    job_id = start(cluster)
    cluster.await_step(EVERY)
    cluster.run("csx-restart", "stop", str(job_id), "--after-checkpoint")
    os.kill(cluster.batch_pid(job_id), signal.SIGKILL)
    cluster.await_end(job_id)
    is_left(cluster, job_id)
    [end] = cluster.ends(job_id)
    assert end["action"] == "leave"
    assert "csx-restart stop" in end["reason"]


def test_slurms_own_requeue_after_a_lost_node_ends_the_run(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@7")
    job_id = start(cluster)
    cluster.await_step(EVERY)
    cluster.run("csx-restart", "stop", str(job_id), "--after-checkpoint")
    cluster.fault("node-down", cluster.nodes_of(job_id)[-1])
    assert cluster.await_end(job_id) == "CANCELLED"
    is_left(cluster, job_id)
    assert cluster.ends(job_id)[0]["action"] == "cancel"


def test_a_hook_that_is_killed_is_made_up_for_by_a_sweep(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@7")
    job_id = start(cluster)
    cluster.await_step(EVERY)
    hook = cluster.hook.read_text()
    begun = cluster.state_dir / "begun"
    cluster.hook.write_text(f"#!/bin/sh\n: >{begun}\nkill -9 $$\n")
    try:
        cluster.run("csx-restart", "stop", str(job_id), "--after-checkpoint")
        os.kill(cluster.batch_pid(job_id), signal.SIGKILL)
        await_(begun.exists, "the hook was killed")
        cluster.await_state(job_id, "FAILED")
        assert cluster.ends(job_id) == []
        cluster.reconcile()
    finally:
        cluster.hook.write_text(hook)
    is_left(cluster, job_id)
    assert [end["action"] for end in cluster.ends(job_id)] == ["leave"]


def test_a_running_run_ends_at_once(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@7")
    job_id = start(cluster)
    cluster.await_step(EVERY)
    said = restart(cluster, "stop", str(cluster.run_dir()))
    assert (said["job"], said["result"], said["state"]) == (str(job_id), "ended", "CANCELLED")
    is_left(cluster, job_id)


@pytest.mark.parametrize("option", [(), ("--after-checkpoint",)])
def test_a_waiting_run_ends_at_once(cluster: ManagedCluster, option: tuple[str, ...]) -> None:
    job_id = start_waiting(cluster)
    assert restart(cluster, "stop", str(job_id), *option)["state"] == "CANCELLED"
    for _ in range(2):
        cluster.reconcile()
    assert cluster.state(job_id) == "CANCELLED"


def test_a_request_whose_command_died_ends_a_waiting_run(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster)
    comment = cluster.run("squeue", "-h", "-a", "-j", str(job_id), "-o", "%k").strip()
    record, _, rest = comment.partition(" ")[2].partition(" ")
    text = f"csx-restart/1 {record};stop=1 {rest}".rstrip()
    cluster.run("scontrol", "update", f"JobId={job_id}", f"Comment={text}")
    assert cluster.await_end(job_id) == "CANCELLED"
    assert "csx-restart stop" in cluster.run("scontrol", "show", "job", str(job_id), as_root=True)


def test_a_persons_requeue_after_a_stop_counts(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@7/restart=0", f"hang@{2 * EVERY + 2}/restart=0")
    job_id = start(cluster)
    cluster.await_step(EVERY)
    cluster.run("csx-restart", "stop", str(job_id), "--after-checkpoint")
    cluster.let_go()
    assert cluster.await_end(job_id) == "FAILED"
    is_left(cluster, job_id)
    cluster.run("scontrol", "requeue", str(job_id))
    assert cluster.await_end(job_id, "COMPLETED", "CANCELLED") == "COMPLETED"


# --- another user, an administrator --------------------------------------------------------------


@pytest.mark.skipif(not AS_ROOT, reason="needs root, for other users")
def test_only_the_owner_and_administrators_steer_a_run(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@7")
    job_id = start(cluster)
    cluster.await_step(EVERY)
    for words in (("stop",), ("stop", "--after-checkpoint"), ("set", "max_num_restarts=9")):
        command, *options = words
        code, message = refused(cluster, command, str(job_id), *options, user=1)
        assert code == 4
        assert "only the owner of the run" in message
    assert cluster.state(job_id) == "RUNNING"
    as_slurm = {"user": cluster.slurm_user.pw_uid, "group": cluster.slurm_user.pw_gid}
    done = subprocess.run(
        [sys.executable, "-m", "slurm_restart.cli.restart", "set", str(job_id), "max_restarts=9"],
        env=cluster.environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=False,
        extra_groups=[],
        **as_slurm,
    )
    assert done.returncode == 0, done.stderr
    assert "max=9;" in comment(cluster, job_id)
    assert restart(cluster, "stop", str(job_id), as_root=True)["state"] == "CANCELLED"
    # They have written nothing into the owner's directory, but into the journal.
    assert ": stop" not in (cluster.run_dir() / "run.log").read_text()
    notes = [event for event in cluster.journal(job_id) if event["event"] == "note"]
    who = cluster.slurm_user.pw_name
    assert [(note["who"], note["text"]) for note in notes] == [
        (who, "set max_restarts=9"),
        ("root", "stop"),
    ]
    said = cluster.run("csx-restart", "explain", str(job_id))
    assert re.search(rf"^[\d-]+ [\d:]+ {who}: set max_restarts=9$", said, re.MULTILINE)
    told = read_json("explain", cluster.run("csx-restart", "explain", str(job_id), "--json"))
    assert [note["who"] for note in told["notes"]] == [who, "root"]


@pytest.mark.skipif(not AS_ROOT, reason="needs root, for other users")
def test_an_administrator_is_told_where_nothing_can_be_recorded(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@7")
    job_id = start(cluster)
    cluster.await_step(EVERY)
    done = subprocess.run(
        ["csx-restart", "set", str(job_id), "max_restarts=9", "--site", "/nonexistent/site.toml"],
        env=cluster.environment,
        cwd="/",
        capture_output=True,
        text=True,
        check=True,
    )
    assert "from its next end on" in done.stdout
    assert "done, but not recorded with your name" in done.stderr
    cluster.run("csx-restart", "stop", str(job_id))


def comment(cluster: ManagedCluster, job_id: int) -> str:
    return cluster.run("squeue", "-h", "-a", "-t", "all", "-j", str(job_id), "-o", "%k").strip()


# --- set and release -----------------------------------------------------------------------------


def test_more_restarts_for_a_running_run(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@3/restart=0", "exit:3@4/restart=0", "exit:3@3/restart=1")
    job_id = start(cluster, restarts=0)
    cluster.await_running(job_id)
    await_(lambda: "attempt=0" in comment(cluster, job_id), "the first report")
    said = restart(cluster, "set", str(job_id), "max_num_restarts=2")
    assert (said["result"], said["text"]) == ("set", "max_num_restarts 2, from its next end on")
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    reasons = [end["reason"] for end in cluster.ends(job_id)]
    assert "restart 1/2" in reasons[0]
    assert "restart 2/2" in reasons[1]


def test_settings_of_a_waiting_run(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster)
    restart(cluster, "set", str(job_id), "min_num_csx=2", "exclude_for=2h", "give_up_after=1h")
    record = comment(cluster, job_id)
    assert all(text in record for text in ("min=2;", "exclude=7200", "giveup=3600"))
    code, message = refused(cluster, "set", str(job_id), "min_num_csx=3")
    assert (code, "expected at most the 2 CSX systems" in message) == (2, True)
    assert restart(cluster, "set", str(job_id), "exclude_for=default")["result"] == "set"
    assert "exclude=" not in comment(cluster, job_id)


def test_settings_of_a_completing_run_wait_until_it_is_requeued(cluster: ManagedCluster) -> None:
    cluster.trainer_does("exit:3@3/restart=0")
    begun, go_on = cluster.state_dir / "begun", cluster.state_dir / "go-on"
    hook = cluster.hook.read_text()
    real = cluster.hook.with_name("csx-epilog.real")
    real.write_text(hook)
    real.chmod(0o755)
    wait = f"while [ ! -e {go_on} ]; do sleep 0.1; done"
    # The end of an earlier test's job may come now, too.
    cluster.hook.write_text(f'#!/bin/sh\n: >{begun}.$SLURM_JOB_ID\n{wait}\nexec {real} "$@"\n')
    try:
        job_id = start(cluster)
        await_(begun.with_name(f"{begun.name}.{job_id}").exists, "the hook begins")
        assert cluster.state(job_id) == "COMPLETING"
        code, message = refused(cluster, "set", str(job_id), "max_num_restarts=7", "--timeout", "5")
        assert (code, "COMPLETING" in message) == (75, True)
        go_on.touch()
        restart(cluster, "set", str(job_id), "max_num_restarts=8", "--timeout", "600")
    finally:
        go_on.touch()
        cluster.hook.write_text(hook)
    assert "max=8;" in comment(cluster, job_id)
    assert cluster.await_end(job_id) == "COMPLETED"


def test_a_held_run_is_released_and_one_that_waits_is_left(cluster: ManagedCluster) -> None:
    job_id = start_waiting(cluster)
    code, message = refused(cluster, "release", str(job_id))
    assert (code, "is not held" in message) == (2, True)
    cluster.run("scontrol", "hold", str(job_id))
    assert restart(cluster, "release", str(job_id))["result"] == "released"
    assert cluster.job(job_id)["Priority"] != "0"
    cluster.run("scontrol", "hold", str(job_id), as_root=True)
    assert refused(cluster, "release", str(job_id))[0] == 4
    assert restart(cluster, "stop", str(job_id))["state"] == "CANCELLED"
    assert refused(cluster, "release", str(job_id))[0] == 2
    assert refused(cluster, "stop", "999999")[0] == 5
