"""Restarts in place: the supervisor starts the next attempt in the same allocation."""

import os
import re
import signal
from collections.abc import Iterator
from pathlib import Path

import pytest

from contrib.testing.json_output import read_json
from contrib.testing.managed_cluster import FAST, KNOWN_CAUSE, ManagedCluster
from contrib.testing.waiting import await_


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 4}


FAIL = f"echo {KNOWN_CAUSE}; exit 3"
"""Commands of the shell: fail with a cause that is not tied to a node."""


def submit(
    cluster: ManagedCluster,
    command: str,
    *,
    restarts: int = 3,
    min_nodes: int = 1,
    recovery: str | None = "auto",
    nodes: int = 2,
    **settings: object,
) -> int:
    """Submit a run of two nodes that restarts in place; `recovery` None: by default."""
    changes = {f"slurm.{key}": value for key, value in settings.items()}
    config = cluster.config(
        command=command, nodes=nodes, min_nodes=min_nodes, restarts=restarts, **changes
    )
    option = () if recovery is None else ("--recovery", recovery)
    [job_id] = cluster.csx_sbatch(config, *option)
    return job_id


def submit_until_told(cluster: ManagedCluster, then: str) -> tuple[int, Path]:
    """Submit a run that fails once `go` exists, and wait until it runs.

    Args:
        cluster: where.
        then: what later attempts do.

    Returns:
        The job id, and the file that is there once the first attempt's end has been judged.
    """
    wait = f"touch {cluster.work}/waits; until test -e {cluster.work}/go; do sleep 0.1; done"
    job_id = submit(
        cluster, f"sh -c 'test $CSX_RESTART_ATTEMPT = 0 || exec {then}; {wait}; {FAIL}'"
    )
    await_((cluster.work / "waits").exists, "the first attempt runs")
    return job_id, cluster.run_dir() / "attempts/0/end.json"


@pytest.mark.parametrize("restarts", [0, 1, pytest.param(3, marks=pytest.mark.core)])
def test_without_progress_exactly_so_many_restarts_in_place(
    cluster: ManagedCluster, restarts: int
) -> None:
    job_id = submit(cluster, f"sh -c '{FAIL}'", restarts=restarts)
    assert cluster.await_end(job_id) == "FAILED"
    assert cluster.job(job_id)["Restarts"] == "0"
    [end] = cluster.ends(job_id)
    assert (end["action"], end["failures"], end["attempt"]) == ("leave", restarts + 1, restarts)
    assert end["total"] == restarts
    in_place = end.get("in_place", {"restarts": 0, "failures": 0})
    assert (in_place["restarts"], in_place["failures"]) == (restarts, restarts)
    runs = cluster.summary()["runs"]
    assert [run["in_place"] for run in runs] == list(range(restarts + 1))
    assert [run["restart_count"] for run in runs] == [0] * (restarts + 1)
    log = (cluster.run_dir() / "run.log").read_text()
    decisions = re.findall(r"decision: (\w+)", log)
    assert decisions == ["relaunch"] * restarts + ["leave"]
    explained = cluster.run("csx-restart", "explain", str(job_id))
    relaunched = r"on 2 nodes ended [\d: -]+( after \d+ s)?: .*; attempt \d started in place"
    assert len(re.findall(relaunched, explained)) == restarts
    assert len(re.findall(r"timing .*, next started \+\d", explained)) == restarts
    assert "max_num_restarts" in explained
    told = read_json("explain", cluster.run("csx-restart", "explain", str(job_id), "--json"))
    assert [end["attempt"] for end in told["ends"]] == list(range(restarts + 1))
    assert [end["action"] for end in told["ends"]] == ["relaunch"] * restarts + ["leave"]
    assert {end["found_by"] for end in told["ends"][:-1]} <= {"supervisor"}


@pytest.mark.parametrize("least", [1, 2])
def test_a_node_that_fails_the_health_check_is_not_started_on_again(
    cluster: ManagedCluster, least: int
) -> None:
    """The run goes on with the other node if that is enough, else after a requeue."""
    broken = cluster.work / "broken"
    check = f'test ! -e {broken}.$SLURMD_NODENAME || {{ echo "fan 3 stands still"; exit 9; }}'
    command = f"sh -c 'test $CSX_RESTART_ATTEMPT != 0 || {{ touch {broken}.csx2; {FAIL}; }}'"
    job_id = submit(cluster, command, restarts=1, min_nodes=least, health_check=check)
    assert cluster.await_end(job_id) == "COMPLETED"
    if least == 1:
        [end] = cluster.ends(job_id)
        assert (end["category"], end["attempt"], end["in_place"]["restarts"]) == ("completed", 1, 1)
        assert [run["nodes"] for run in cluster.summary()["runs"]] == [["csx1", "csx2"], ["csx1"]]
        return
    unhealthy, completed = cluster.ends(job_id)
    assert (unhealthy["category"], unhealthy["action"]) == ("health_check", "requeue")
    assert unhealthy["in_place"]["failures"] == 1
    assert (completed["category"], completed["attempt"]) == ("completed", 2)
    assert cluster.excluded(job_id) == {"csx2"}
    first, second, third = cluster.summary()["runs"]
    assert first["nodes"] == unhealthy["nodes"] == ["csx1", "csx2"]
    # Nothing was started.
    assert second["nodes"] == []
    assert "csx2" not in third["nodes"]


def test_a_flood_of_output_hides_no_cause(cluster: ManagedCluster) -> None:
    """As fast as a program can print: the supervisor keeps up, and finds what the end says."""
    flood = "yes the same line again and again, as fast as a pipe takes it | head -c 300000000"
    command = f"sh -c 'test $CSX_RESTART_ATTEMPT != 0 || {{ {flood}; {FAIL}; }}'"
    job_id = submit(cluster, command, restarts=1)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "0"
    first, second = cluster.summary()["runs"]
    assert (first["status"], second["status"], second["in_place"]) == ("failed", "success", 1)
    [end] = cluster.ends(job_id)
    assert end["in_place"]["failures"] == 1
    output = cluster.run_dir() / "attempts" / "0" / "output.log"
    # What a slow file system does not take in time is counted there.
    lost = re.findall(rb"\[csx-restart: (\d+) bytes of output lost\]", output.read_bytes())
    assert output.stat().st_size + sum(map(int, lost)) > 300_000_000
    assert KNOWN_CAUSE in (cluster.run_dir() / "run.log").read_text()


def test_a_rank_that_fails_ends_its_step_unless_it_is_to_save(cluster: ManagedCluster) -> None:
    """By itself srun would let the other rank go on, which does not notice."""
    first = f"test $SLURM_PROCID = 0 || {{ sleep 1; {FAIL}; }}; exec sleep 600"
    # Each rank saves as long as it needs, and does not end well.
    saves = "trap 'trap : TERM; sleep $SLURM_PROCID; touch saved.$SLURM_PROCID; exit 9' TERM"
    second = f"{saves}; touch runs.$SLURM_PROCID; while :; do sleep 0.1; done"
    ranks = cluster.script(f"test $CSX_RESTART_ATTEMPT = 0 || {{ {second}; }}; {first}")
    job_id = submit(cluster, f"srun -N2 {ranks}", restarts=1)
    work = cluster.work
    await_(lambda: len(list(work.glob("runs.*"))) == 2, "the second attempt")
    log = (cluster.run_dir() / "run.log").read_text()
    assert "task 1: Exited with exit code 3: the other tasks of its step are ended" in log
    assert cluster.job(job_id)["Restarts"] == "0"
    os.kill(cluster.batch_pid(job_id), signal.SIGUSR1)
    await_(lambda: len(list(work.glob("saved.*"))) == 2, "both ranks have saved")


def test_a_rank_that_dies_at_once_ends_its_step_though_others_print(
    cluster: ManagedCluster,
) -> None:
    """Its srun may not be the next one of the script: what it reports was written since it began.

    On a busy machine that may not be known of an attempt; it says so, and takes as long as rank 0.
    """
    prints = "for _ in $(seq 300); do echo trains; sleep 0.1; done"
    dies = f"test $SLURM_PROCID = 0 || kill -9 $$; {prints}"
    ranks = cluster.script(f"test $CSX_RESTART_ATTEMPT = 2 || {{ {dies}; }}")
    job_id = submit(cluster, f"sh -c 'date; srun -N2 {ranks}'", restarts=2, recovery="in-place")
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "0"
    log = (cluster.run_dir() / "run.log").read_text()
    ended = log.count("task 1: Killed: the other tasks of its step are ended")
    doubted = log.count("the srun that runs may be the next one of the script")
    assert ended + doubted == 2, log


def test_a_run_in_place_only_is_not_requeued(cluster: ManagedCluster) -> None:
    lost = "srun: error: Node failure on csx2"
    command = f"sh -c 'test $CSX_RESTART_ATTEMPT = 0 || echo {lost}; exit 3'"
    job_id = submit(cluster, command, min_nodes=2, recovery="in-place")
    assert cluster.await_end(job_id) == "FAILED"
    assert cluster.job(job_id)["Restarts"] == "0"
    [end] = cluster.ends(job_id)
    assert (end["action"], end["attempt"]) == ("leave", 1)
    assert end["reason"] == "the job's Requeue flag is off"
    log = (cluster.run_dir() / "run.log").read_text()
    assert re.findall(r"decision: (\w+)", log) == ["relaunch", "leave"]
    assert "the job's Requeue flag is off; not in place: " in log


def test_a_node_that_is_drained_meanwhile_leads_to_a_requeue(cluster: ManagedCluster) -> None:
    cluster.trainer_does("wait@15")
    job_id = submit(cluster, "sh -c 'cszoo fit \"$1\"; exit 3' run {config}")
    nodes = cluster.await_running(job_id)
    cluster.await_step(10)
    drain = ("scontrol", "update", f"NodeName={nodes[1]}", "State=DRAIN", "Reason=test")
    cluster.run(*drain, as_root=True)
    cluster.let_go()
    await_(lambda: cluster.ends(job_id), "the first end")
    assert cluster.ends(job_id)[0]["action"] == "requeue"
    log = (cluster.run_dir() / "run.log").read_text()
    assert f"not in place: {nodes[1]} is " in log


def test_a_supervisor_killed_on_the_way_leaves_a_requeue(cluster: ManagedCluster) -> None:
    job_id, relaunched = submit_until_told(cluster, "sleep 300")
    supervisor = cluster.batch_pid(job_id)
    (cluster.work / "go").touch()
    await_(relaunched.exists, "the end of the first attempt", interval=0.001)
    os.kill(supervisor, signal.SIGKILL)
    await_(lambda: cluster.ends(job_id), "the end of the job")
    assert cluster.ends(job_id)[0]["action"] == "requeue"
    cluster.await_running(job_id)
    assert cluster.job(job_id)["Restarts"] == "1"


def test_slurmctld_killed_on_the_way_loses_no_attempt(cluster: ManagedCluster) -> None:
    job_id, relaunched = submit_until_told(cluster, "true")
    saved = cluster.root / "state" / "job_state"

    def is_saved() -> bool:
        record = cluster.job(job_id)["run"]
        return ";attempt=0" in record and record.encode() in saved.read_bytes()

    # Before that, slurmctld would forget that the job has started.
    await_(is_saved, "the start is saved")
    (cluster.work / "go").touch()
    await_(relaunched.exists, "the end of the first attempt", interval=0.001)
    cluster.fault("kill-ctld")
    cluster.fault("start-ctld")
    assert cluster.await_end(job_id) == "COMPLETED"
    first, *_, last = cluster.summary()["runs"]
    assert first["expected_decision"].startswith("relaunch")
    assert last["category"] == "completed"
    assert [end["action"] for end in cluster.ends(job_id)].count("leave") == 1


def test_no_hook_is_needed(cluster: ManagedCluster) -> None:
    cluster.hook.write_text("#!/bin/sh\n")
    try:
        job_id = submit(cluster, "sh -c 'kill -9 $$'", restarts=2, nodes=4, min_nodes=4)
        assert cluster.await_state(job_id, "FAILED") == "FAILED"
    finally:
        cluster.install_hook()
    assert cluster.job(job_id)["Restarts"] == "0"
    assert cluster.journal(job_id) == []
    assert len(cluster.summary()["runs"]) == 3


@pytest.fixture
def default_recovery(cluster: ManagedCluster) -> Iterator[None]:
    """A site that says nothing about recovery."""
    cluster.recovery = None
    cluster.configure(policy=FAST)
    yield
    cluster.recovery = "requeue"
    cluster.configure(policy=FAST)


@pytest.mark.usefixtures("default_recovery")
@pytest.mark.core
def test_by_default_a_run_restarts_in_place_where_that_is_right(cluster: ManagedCluster) -> None:
    lost = "srun: error: Node failure on csx2"
    ends = f"0) {FAIL};; 1) echo {lost}; exit 3;; 2) exit 0"
    command = f"sh -c 'case $CSX_RESTART_ATTEMPT in {ends};; esac'"
    job_id = submit(cluster, command, recovery=None)
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "1"
    assert [run["in_place"] for run in cluster.summary()["runs"]] == [0, 1, 0]
    assert cluster.excluded(job_id) == {"csx2"}


@pytest.mark.usefixtures("default_recovery")
def test_a_failure_at_once_without_a_cause_moves_the_run(cluster: ManagedCluster) -> None:
    # Whatever is started on csx1 fails at once.
    command = "sh -c 'test $SLURMD_NODENAME != csx1 || exit 3'"
    config = cluster.config(command=command, nodes=1, min_nodes=1, restarts=1)
    [job_id] = cluster.csx_sbatch(config)
    assert cluster.await_end(job_id) == "COMPLETED"
    first, second = cluster.summary()["runs"]
    assert (first["nodes"], second["in_place"]) == (["csx1"], 0)
    assert "other nodes are free" in (cluster.run_dir() / "run.log").read_text()
    assert cluster.excluded(job_id) == set()


@pytest.mark.usefixtures("default_recovery")
def test_while_others_wait_for_the_nodes_it_stays(cluster: ManagedCluster) -> None:
    wait = f"touch {cluster.work}/waits; until test -e {cluster.work}/go; do sleep 0.1; done"
    command = f"sh -c 'test $CSX_RESTART_ATTEMPT != 0 || {{ {wait}; exit 3; }}'"
    job_id = submit(cluster, command, recovery=None)
    await_((cluster.work / "waits").exists, "the first attempt runs")
    cluster.submit("true", "-N4", "--exclusive")
    (cluster.work / "go").touch()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "0"


@pytest.mark.usefixtures("default_recovery")
def test_with_no_kill_off_slurm_requeues_the_job_and_a_lost_node_alone_is_excluded(
    cluster: ManagedCluster,
) -> None:
    wait = f"touch {cluster.work}/waits.$SLURM_RESTART_COUNT; exec sleep 600"
    config = cluster.config(command=f"sh -c '{wait}'", nodes=4, min_nodes=2)
    [job_id] = cluster.csx_sbatch(config, "--no-kill=off")
    await_((cluster.work / "waits.").exists, "the first attempt runs")
    cluster.fault("node-down", "csx3")
    await_((cluster.work / "waits.1").exists, "the next attempt runs")
    assert cluster.excluded(job_id) == {"csx3"}
    assert cluster.nodes_of(job_id) == ["csx1", "csx2", "csx4"]
    assert cluster.job(job_id)["Restarts"] == "1"


@pytest.mark.usefixtures("default_recovery")
def test_the_tasks_of_an_array_restart_in_place(cluster: ManagedCluster) -> None:
    script = cluster.work / "tasks.sh"
    note = f"{cluster.work}/seen.$SLURM_ARRAY_TASK_ID.${{SLURM_RESTART_COUNT-0}}"
    script.write_text(
        "#!/bin/sh\n#SBATCH -n1 --array=0-1\n"
        f"touch {note}.$CSX_RESTART_ATTEMPT\n"
        f"test $CSX_RESTART_ATTEMPT != 0 || {{ {FAIL}; }}\n"
    )
    out = cluster.run("csx-sbatch", "--parsable", str(script))
    job_id = int(out.strip().partition(";")[0])
    await_(lambda: cluster.state(job_id).split() == ["COMPLETED"] * 2, "both tasks have ended")
    # Task, restart count as the program sees it, attempt.
    seen = sorted(path.name for path in cluster.work.glob("seen.*"))
    assert seen == ["seen.0.0.0", "seen.0.1.1", "seen.1.0.0", "seen.1.1.1"]
