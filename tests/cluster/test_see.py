"""What users see and steer of 30 runs of two users, which really are in all states.

Real deaths: the nodes of the lost runs are powered off, Slurm ends a run at its time limit, and the
kernel one that uses more memory than it has.
"""

import itertools
import os
import pwd
import subprocess
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.dev_cluster import DEAD_NODE_NOTICED
from contrib.testing.json_output import read_json
from contrib.testing.managed_cluster import AS_ROOT, SOON, ManagedCluster
from contrib.testing.waiting import DEADLINE, LONG_DEADLINE, await_

pytestmark = pytest.mark.skipif(not AS_ROOT, reason="a second user is needed")
OTHER = pwd.getpwnam("mail")
WIDTHS = (60, 80, 200)
NODES = 10
MEMORY_CGROUPS = Path("/sys/fs/cgroup/memory/memory.limit_in_bytes")
"""There where cgroup v1 limits memory: without it no job ends as OUT_OF_MEMORY."""
LIMITS_MEMORY = MEMORY_CGROUPS.exists()
RUNS: dict[str, tuple[str, ...]] = {
    # It takes longest, so that it is submitted first.
    "timed out": ("-t1", "--max-restarts=0", "--wrap=trap '' TERM; while :; do sleep 1; done"),
    "completed": ("--wrap=true",),
    "failed": ("--max-restarts=0", "--wrap=exit 3"),
    "failed twice": ("--max-restarts=1", "--wrap=exit 4"),
    "restarted": ("--wrap=[ $CSX_RESTART_ATTEMPT -gt 0 ] || exit 5",),
    "cancelled": ("--wrap=sleep 3600",),
    "array": ("--array=0-1", "--wrap=true"),
    "lost": ("--hold", "--wrap=sleep 3600"),
    "out of memory": ("--mem=500M", "--max-restarts=0", "--wrap=python3 -c 'b\"x\" * (1 << 30)'"),
    "running": ("--wrap=echo begun; sleep 3600",),
    "suspended": ("--wrap=sleep 3600",),
    "later": ("--begin=now+1hour", "--wrap=true"),
    "held": ("--hold", "--wrap=true"),
}
STATES = {
    "completed": "COMPLETED",
    "failed": "FAILED",
    "failed twice": "FAILED",
    "restarted": "COMPLETED",
    "cancelled": "CANCELLED",
    "array": "COMPLETED",
    "timed out": "TIMEOUT",
    "lost": "NODE_FAIL",
    "out of memory": "OUT_OF_MEMORY",
    "running": "RUNNING",
    "suspended": "SUSPENDED",
    "later": "PENDING",
    "held": "PENDING",
    "depends": "PENDING",
    "waits": "PENDING",
}
REASONS = {
    "later": {"BeginTime"},
    "held": {"JobHeldUser"},
    "depends": {"Dependency"},
    "waits": {"Resources", "Priority"},
}
"""Of the runs that wait; the second of two that need more nodes than are free has Priority."""
CATEGORIES = {
    "completed": "completed",
    "restarted": "completed",
    "timed out": "timeout",
    "lost": "hardware.node",
    "out of memory": "oom_host",
}
if not LIMITS_MEMORY:
    del RUNS["out of memory"], STATES["out of memory"], CATEGORIES["out of memory"]


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    limits = ("--memory-limits",) if LIMITS_MEMORY else ()
    # No job is forgotten before it has been looked at.
    options = (*DEAD_NODE_NOTICED, *SOON, "--set", "MinJobAge=7200", *limits)
    return {"nodes": NODES, "options": options}


def run_as(
    cluster: ManagedCluster,
    user: pwd.struct_passwd,
    *words: str,
    width: int = 0,
    check: bool = True,
) -> str:
    """Run a command of a user's in the user's own directory; it must succeed if `check`."""
    home = cluster.work / user.pw_name
    if not home.exists():
        home.mkdir(mode=0o755)
        os.chown(home, user.pw_uid, user.pw_gid)
    done = subprocess.run(
        words,
        cwd=home,
        env=cluster.environment
        | {"HOME": str(home), "CSX_RESTART_SITE": str(cluster.site)}
        | ({"COLUMNS": str(width)} if width else {}),
        capture_output=True,
        text=True,
        check=False,
        timeout=DEADLINE,
        **({} if user.pw_uid == 0 else {"user": user.pw_uid, "group": user.pw_gid}),
        **({} if user.pw_uid == 0 else {"extra_groups": []}),  # type: ignore[arg-type]
    )
    assert done.returncode == 0 or not check, done.stderr
    return done.stdout


def submit(cluster: ManagedCluster, user: pwd.struct_passwd, *options: str) -> int:
    whole = ("csx-sbatch", "--parsable", "-t", "60", *options)
    return int(run_as(cluster, user, *whole))


def as_json(cluster: ManagedCluster, user: pwd.struct_passwd, *words: str) -> Any:
    """Return what a command prints with --json, which is as its schema says."""
    return read_json(words[0], run_as(cluster, user, "csx-restart", *words, "--json"))


def states(cluster: ManagedCluster, jobs: dict[str, int]) -> dict[str, str]:
    return {name: cluster.state(job_id).split("\n")[0] for name, job_id in jobs.items()}


def begin(cluster: ManagedCluster, user: pwd.struct_passwd) -> dict[str, int]:
    """Submit a user's runs, and do to them what is done from outside."""
    jobs = {name: submit(cluster, user, "-n1", *options) for name, options in RUNS.items()}
    lost = str(jobs["lost"])
    # Slurm requeues a job whose node is lost, unless its owner has changed that.
    run_as(cluster, user, "scontrol", "update", f"JobId={lost}", "Requeue=0")
    run_as(cluster, user, "scontrol", "release", lost)
    for name in ("cancelled", "suspended", "lost"):
        cluster.await_state(jobs[name], "RUNNING")
    run_as(cluster, user, "scancel", str(jobs["cancelled"]))
    cluster.run("scontrol", "suspend", str(jobs["suspended"]), as_root=True)
    return jobs


def shorten(cluster: ManagedCluster, user: pwd.struct_passwd, job_id: int) -> None:
    """Let the time limit of a job be reached now: none is below a minute.

    Slurm refuses it for an attempt that it was done for: an owner can put off no end.
    """
    words = ("scontrol", "update", f"JobId={job_id}", "EndTime=now+1")
    run_as(cluster, user, *words, check=False)


def submit_waiting(cluster: ManagedCluster, user: pwd.struct_passwd, jobs: dict[str, int]) -> None:
    """Submit what waits for another job, and for more nodes than are free."""
    jobs["depends"] = submit(cluster, user, "-n1", f"-dafterok:{jobs['held']}", "--wrap=true")
    # Two nodes are lost, and four in use.
    jobs["waits"] = submit(cluster, user, "-N", str(NODES - 2), "--wrap=true")


def test_more_than_twenty_runs_of_two_users(cluster: ManagedCluster) -> None:
    me, root = cluster.user, pwd.getpwuid(0)
    mine, theirs = begin(cluster, me), begin(cluster, OTHER)
    for jobs in (mine, theirs):
        cluster.fault("kill-slurmd", *cluster.nodes_of(jobs["lost"]))

    def settled() -> bool:
        for user, jobs in ((me, mine), (OTHER, theirs)):
            shorten(cluster, user, jobs["timed out"])
        cluster.reconcile()
        return all(
            state == STATES[name]
            for jobs in (mine, theirs)
            for name, state in states(cluster, jobs).items()
        )

    await_(settled, "all runs are in their states", interval=1, timeout=LONG_DEADLINE)
    for user, jobs in ((me, mine), (OTHER, theirs)):
        submit_waiting(cluster, user, jobs)
    for name, reasons in REASONS.items():
        for jobs in (mine, theirs):
            cluster.await_reason(jobs[name], *reasons)
    cluster.reconcile()

    check_lists(cluster, mine, theirs)
    check_tables(cluster, (("list", "--all"), ("nodes", "--all"), ("status", "--all")), me)
    check_tables(cluster, (("list",), ("nodes",)), root)
    check_filters(cluster, mine, theirs)
    check_index(cluster)
    check_one(cluster, mine)
    check_steering(cluster, mine)
    check_watching(cluster, str(mine["running"]))


def check_lists(cluster: ManagedCluster, mine: dict[str, int], theirs: dict[str, int]) -> None:
    me, root = cluster.user, pwd.getpwuid(0)
    own = {row["job_id"]: row for row in as_json(cluster, me, "list")}
    everybody = {row["job_id"]: row for row in as_json(cluster, me, "list", "--all")}
    assert set(mine.values()) <= set(own)
    assert not set(theirs.values()) & set(own)
    assert {*mine.values(), *theirs.values()} <= set(everybody)
    assert {row["user"] for row in everybody.values()} == {me.pw_name, OTHER.pw_name}
    for name, job_id in mine.items():
        assert own[job_id]["state"] == STATES[name], name
        assert own[job_id]["category"] == CATEGORIES.get(name, own[job_id]["category"]), name
        assert own[job_id]["reason"] in REASONS.get(name, {own[job_id]["reason"]}), name
    assert own[mine["restarted"]]["restarts"] == 1
    assert own[mine["failed"]]["category"] == own[mine["failed twice"]]["category"]
    # An administrator sees everybody's, from the controller's own journals.
    assert {row["job_id"] for row in as_json(cluster, root, "list", "--all")} == set(everybody)
    by_node = as_json(cluster, root, "nodes")
    assert sum(node["ends"].get("completed", 0) for node in by_node) >= 2 * 4
    assert sum(node["failed"] for node in by_node) >= 2 * 6
    [lost] = cluster.nodes_of(mine["lost"])
    [told] = [node for node in by_node if node["node"] == lost]
    assert told["state"].startswith("DOWN")
    assert told["ends"]["hardware.node"] == 1


def check_tables(
    cluster: ManagedCluster, commands: tuple[tuple[str, ...], ...], user: pwd.struct_passwd
) -> None:
    for words in commands:
        whole = set(run_as(cluster, user, "csx-restart", *words).split())
        whole |= REASONS["waits"]  # from one moment to the next, Slurm shows the other one
        for width in WIDTHS:
            text = run_as(cluster, user, "csx-restart", *words, width=width)
            assert max(map(len, text.splitlines())) <= width, text
            assert set(text.replace("…", " ").split()) <= whole, text
            assert "\x1b" not in text


def check_filters(cluster: ManagedCluster, mine: dict[str, int], theirs: dict[str, int]) -> None:
    def chosen(*words: str) -> set[int]:
        return {row["job_id"] for row in as_json(cluster, cluster.user, "list", *words)}

    for state in sorted({*STATES.values()} - {"COMPLETED"}):
        expected = {
            jobs[name] for jobs in (mine, theirs) for name in STATES if STATES[name] == state
        }
        assert chosen("--all", "--state", state) == expected
    assert chosen("--user", OTHER.pw_name) >= set(theirs.values())
    assert chosen("--category", "completed") >= {mine["completed"], mine["restarted"]}
    node = cluster.nodes_of(mine["running"])[0]
    assert mine["running"] in chosen("--node", node)
    assert mine["later"] not in chosen("--node", node)


def check_index(cluster: ManagedCluster) -> None:
    root = pwd.getpwuid(0)
    before = [as_json(cluster, root, *words) for words in (("list", "--all"), ("nodes",))]
    index = cluster.state_dir / "index.sqlite"
    assert index.stat().st_uid == cluster.slurm_user.pw_uid
    index.unlink()
    after = [as_json(cluster, root, *words) for words in (("list", "--all"), ("nodes",))]
    assert after == before


def check_one(cluster: ManagedCluster, mine: dict[str, int]) -> None:
    me = cluster.user
    for (name, job_id), width in zip(mine.items(), itertools.cycle(WIDTHS)):
        if name == "array":
            continue
        status = as_json(cluster, me, "status", str(job_id))
        assert status["state"] == STATES[name]
        as_json(cluster, me, "explain", str(job_id))
        text = run_as(cluster, me, "csx-restart", "status", str(job_id), width=width)
        longest = max(len(word) for word in text.split())
        assert max(map(len, text.splitlines())) <= max(width, 17 + longest)
    running = as_json(cluster, me, "status", str(mine["running"]))
    assert 0 < running["time_left"] <= 3600
    assert "the hook requeues the job: 3 more in a row without progress" in running["next"]
    timing = as_json(cluster, me, "explain", str(mine["restarted"]))["ends"][0]["timing"]
    stages = ["started", "ended", "judged", "Slurm asked", "next started"]
    assert [name for name in timing if name in stages] == stages
    log = run_as(cluster, me, "csx-restart", "log", str(mine["restarted"]))
    assert log.index("[run_1]") < log.index("[run_2]")


def check_text(text: str, width: int) -> None:
    """Lines fit the width, unless a line is one word that does not."""
    for line in text.splitlines():
        assert len(line) <= width or len(line.split()) <= 2, text
    assert "\x1b" not in text


def check_steering(cluster: ManagedCluster, mine: dict[str, int]) -> None:
    """Stop and resume at each width, and as JSON."""
    me = cluster.user
    for width, name in zip(WIDTHS, ("waits", "depends", "suspended"), strict=True):
        said = run_as(cluster, me, "csx-restart", "stop", str(mine[name]), width=width)
        check_text(said, width)
        assert said.startswith(f"job {mine[name]}: CANCELLED: the run ends here")
    [stopped] = as_json(cluster, me, "stop", str(mine["later"]))["jobs"]
    assert (stopped["result"], stopped["state"]) == ("ended", "CANCELLED")
    for width, name in zip(WIDTHS, ("failed", "timed out", "lost"), strict=True):
        words = ("csx-restart", "resume", str(mine[name]), "--reset-count")
        said = run_as(cluster, me, *words, width=width)
        check_text(said, width)
        assert said.startswith("Submitted batch job ")
    [resumed] = as_json(cluster, me, "resume", str(mine["cancelled"]))["jobs"]
    listed = {row["job_id"]: row for row in as_json(cluster, me, "list")}
    assert listed[int(resumed["job"])]["run"] == listed[mine["cancelled"]]["run"]


def check_watching(cluster: ManagedCluster, job_id: str) -> None:
    """Both follow a run until it has ended, at each width."""
    watching = [
        start(cluster, "status", job_id, "--watch", "--interval", "1", width=w) for w in WIDTHS
    ]
    following = [start(cluster, "log", job_id, "-f", width=w) for w in WIDTHS]
    run_as(cluster, cluster.user, "scancel", job_id)
    for width, (output, process) in zip(WIDTHS, watching, strict=True):
        assert process.wait(timeout=DEADLINE) == 0
        check_text(output.read_text(), width)
        shown = [line for line in output.read_text().splitlines() if line.startswith("job ")]
        assert len(shown) > 1
        assert shown[-1] == f"job {job_id}: CANCELLED"
    for output, process in following:
        assert process.wait(timeout=DEADLINE) == 0
        assert "begun" in output.read_text()


def start(cluster: ManagedCluster, *words: str, width: int) -> tuple[Path, subprocess.Popen[bytes]]:
    """Start a command of the first user's; return its output, which has begun, and its process."""
    user, output = cluster.user, cluster.work / f"{words[0]}-{width}.output"
    environ = {"CSX_RESTART_SITE": str(cluster.site), "COLUMNS": str(width)}
    with output.open("wb") as stream:
        process = subprocess.Popen(
            ("csx-restart", *words),
            cwd=cluster.work,
            env=cluster.environment | environ,
            stdout=stream,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
        )
    await_(lambda: output.stat().st_size > 0, f"{words[0]} prints something")
    return output, process
