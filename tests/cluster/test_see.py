"""`list`, `nodes`, `status --watch` and `log -f` over 22 runs of two users in all states."""

import json
import os
import pwd
import subprocess
from typing import TYPE_CHECKING, Any

import pytest

from contrib.testing.json_output import validate_json
from contrib.testing.managed_cluster import AS_ROOT, ManagedCluster
from contrib.testing.waiting import await_

if TYPE_CHECKING:
    from pathlib import Path

pytestmark = pytest.mark.skipif(not AS_ROOT, reason="a second user is needed")
OTHER = pwd.getpwnam("mail")
WIDTHS = (60, 80, 200)
RUNS: dict[str, tuple[str, ...]] = {
    "completed": ("--wrap=true",),
    "completed as well": ("--wrap=echo hello",),
    "failed": ("--max-restarts=0", "--wrap=exit 3"),
    "failed twice": ("--max-restarts=1", "--wrap=exit 4"),
    "restarted": ("--wrap=[ $CSX_RESTART_ATTEMPT -gt 0 ] || exit 5",),
    "cancelled": ("--wrap=sleep 600",),
    "running": ("--wrap=echo begun; sleep 600",),
    "running as well": ("--wrap=sleep 600",),
    "later": ("--begin=now+1hour", "--wrap=true"),
    "held": ("--hold", "--wrap=true"),
    "array": ("--array=0-1", "--wrap=true"),
}
STATES = {
    "completed": "COMPLETED",
    "completed as well": "COMPLETED",
    "failed": "FAILED",
    "failed twice": "FAILED",
    "restarted": "COMPLETED",
    "cancelled": "CANCELLED",
    "running": "RUNNING",
    "running as well": "RUNNING",
    "later": "PENDING",
    "held": "PENDING",
    "array": "COMPLETED",
}


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 6}


def run_as(cluster: ManagedCluster, user: pwd.struct_passwd, *words: str, width: int = 0) -> str:
    """Run a command of a user's in the user's own directory."""
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
        check=True,
        timeout=120,
        **({} if user.pw_uid == 0 else {"user": user.pw_uid, "group": user.pw_gid}),
        **({} if user.pw_uid == 0 else {"extra_groups": []}),  # type: ignore[arg-type]
    )
    return done.stdout


def submit(cluster: ManagedCluster, user: pwd.struct_passwd) -> dict[str, int]:
    return {
        name: int(run_as(cluster, user, "csx-sbatch", "--parsable", "-n1", "-t10", *options))
        for name, options in RUNS.items()
    }


def as_json(cluster: ManagedCluster, user: pwd.struct_passwd, *words: str) -> Any:
    """Return what a command prints with --json, which is as its schema says."""
    data = json.loads(run_as(cluster, user, "csx-restart", *words, "--json"))
    validate_json(words[0], data)
    return data


def states(cluster: ManagedCluster, jobs: dict[str, int]) -> dict[str, str]:
    return {name: cluster.state(job_id).split("\n")[0] for name, job_id in jobs.items()}


def test_twenty_runs_of_two_users(cluster: ManagedCluster) -> None:
    me, root = cluster.user, pwd.getpwuid(0)
    mine, theirs = submit(cluster, me), submit(cluster, OTHER)
    for user, jobs in ((me, mine), (OTHER, theirs)):
        cluster.await_state(jobs["cancelled"], "RUNNING")
        run_as(cluster, user, "scancel", str(jobs["cancelled"]))

    def settled() -> bool:
        cluster.reconcile()
        return states(cluster, mine) == STATES == states(cluster, theirs)

    await_(settled, "all runs are in their states", interval=1)
    cluster.reconcile()

    check_lists(cluster, mine, theirs)
    check_tables(cluster, (("list", "--all"), ("nodes", "--all")), me)
    check_tables(cluster, (("list",), ("nodes",)), root)
    check_filters(cluster, mine, theirs)
    check_index(cluster)
    check_one(cluster, mine)


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
    assert own[mine["restarted"]]["restarts"] == 1
    assert own[mine["failed"]]["category"] == own[mine["failed twice"]]["category"]
    # An administrator sees everybody's, from the controller's own journals.
    assert {row["job_id"] for row in as_json(cluster, root, "list", "--all")} == set(everybody)
    by_node = as_json(cluster, root, "nodes")
    assert sum(node["ends"].get("completed", 0) for node in by_node) >= 2 * 5
    assert sum(node["failed"] for node in by_node) >= 2 * 4


def check_tables(
    cluster: ManagedCluster, commands: tuple[tuple[str, ...], ...], user: pwd.struct_passwd
) -> None:
    for words in commands:
        whole = set(run_as(cluster, user, "csx-restart", *words).split())
        for width in WIDTHS:
            text = run_as(cluster, user, "csx-restart", *words, width=width)
            assert max(map(len, text.splitlines())) <= width, text
            assert set(text.replace("…", " ").split()) <= whole, text
            assert "\x1b" not in text


def check_filters(cluster: ManagedCluster, mine: dict[str, int], theirs: dict[str, int]) -> None:
    def chosen(*words: str) -> set[int]:
        return {row["job_id"] for row in as_json(cluster, cluster.user, "list", *words)}

    for state in ("RUNNING", "PENDING", "CANCELLED", "FAILED"):
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
    for name, job_id in mine.items():
        if name == "array":
            continue
        status = as_json(cluster, me, "status", str(job_id))
        assert status["state"] == STATES[name]
        as_json(cluster, me, "explain", str(job_id))
        for width in WIDTHS:
            text = run_as(cluster, me, "csx-restart", "status", str(job_id), width=width)
            longest = max(len(word) for word in text.split())
            assert max(map(len, text.splitlines())) <= max(width, 17 + longest)
    running = as_json(cluster, me, "status", str(mine["running"]))
    assert 0 < running["time_left"] <= 600
    assert "restarted" in running["next"]
    timing = as_json(cluster, me, "explain", str(mine["restarted"]))["ends"][0]["timing"]
    stages = ["started", "ended", "judged", "Slurm asked", "next started"]
    assert [name for name in timing if name in stages] == stages
    log = run_as(cluster, me, "csx-restart", "log", str(mine["restarted"]))
    assert log.index("[run_1]") < log.index("[run_2]")

    # Both follow a run until it has ended.
    job_id = str(mine["running"])
    watched, watching = start(cluster, "status", job_id, "--watch", "--interval", "1")
    followed, following = start(cluster, "log", job_id, "-f")
    run_as(cluster, me, "scancel", job_id)
    assert (watching.wait(timeout=120), following.wait(timeout=120)) == (0, 0)
    shown = [line for line in watched.read_text().splitlines() if line.startswith("job ")]
    assert len(shown) > 1
    assert shown[-1] == f"job {job_id}: CANCELLED"
    assert "begun" in followed.read_text()


def start(cluster: ManagedCluster, *words: str) -> "tuple[Path, subprocess.Popen[bytes]]":
    """Start a command of the first user's; return its output, which has begun, and its process."""
    user, output = cluster.user, cluster.work / f"{words[0]}.output"
    with output.open("wb") as stream:
        process = subprocess.Popen(
            ("csx-restart", *words),
            cwd=cluster.work,
            env=cluster.environment | {"CSX_RESTART_SITE": str(cluster.site)},
            stdout=stream,
            user=user.pw_uid,
            group=user.pw_gid,
            extra_groups=[],
        )
    await_(lambda: output.stat().st_size > 0, f"{words[0]} prints something")
    return output, process
