"""Runs on a cluster without the hook that lose a node, or leave one: no privileges are needed."""

import json
from collections.abc import Iterator

import pytest

from contrib.testing.hookless_cluster import (
    CHANGES_TAKEN,
    HooklessCluster,
    await_attempt,
    await_ranks,
    decisions,
    submit,
    submit_waiting,
    supervisor_of,
)
from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import SHORT_BATCH_START
from contrib.testing.waiting import await_


@pytest.fixture(scope="module")
def _booted() -> Iterator[HooklessCluster]:
    with HooklessCluster(*SHORT_BATCH_START) as cluster:
        yield cluster


@pytest.mark.parametrize("restarts", [0, 1])
def test_everything_on_the_batch_host_is_killed_each_time(
    cluster: HooklessCluster, restarts: int
) -> None:
    job_id = submit(cluster, "sleep 300", restarts=restarts, recovery="requeue")
    for number in range(restarts + 1):
        await_attempt(cluster, number)
        host = cluster.nodes_of(job_id)[0]
        cluster.fault("kill-slurmd", host)
        if restarts:
            cluster.fault("node-down", host)  # of the other loss Slurm finds out by itself
    assert cluster.await_end(job_id) == "FAILED"
    # Slurm itself requeues the job; the attempt after the last one starts no program.
    assert cluster.job(job_id)["Restarts"] == str(restarts + 1)
    runs = cluster.summary()["runs"]
    assert [run["category"] for run in runs] == ["hardware.node"] * (restarts + 1)
    assert all(len(run["blamed_nodes"]) == 1 for run in runs)
    assert decisions(cluster.run_dir()) == ["adjust"] * restarts + ["cancel", "leave"]
    log = (cluster.run_dir() / "run.log").read_text()
    assert f"max_num_restarts is {restarts}" in log


@pytest.mark.parametrize("how", ["dead", "set down"])
def test_a_lost_node_is_excluded(cluster: HooklessCluster, how: str) -> None:
    cluster.trainer_does("wait@15")
    job_id = submit(cluster, None, recovery="requeue")
    nodes = cluster.await_running(job_id)
    cluster.await_step(10)
    if how == "dead":
        cluster.fault("kill-slurmd", nodes[1])
    else:
        down = ("scontrol", "update", f"NodeName={nodes[1]}", "State=DOWN", "Reason=test")
        cluster.run(*down, as_root=True)
    await_attempt(cluster, 1)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    first, second = cluster.summary()["runs"]
    assert (first["category"], first["blamed_nodes"]) == ("hardware.node", [nodes[1]])
    assert nodes[1] not in second["nodes"]
    assert cluster.job(job_id)["ExcNodeList"] == nodes[1]


# Slurm carries the update out, and nobody gets its answer.
KILLED_SCONTROL = """\
#!/bin/sh
case "$*" in
*update*ExcNodeList=csx3*) {scontrol} "$@"; kill -9 $$ ;;
esac
exec {scontrol} "$@"
"""


def test_a_node_is_let_back_in_although_the_command_that_asked_for_it_was_killed(
    cluster: HooklessCluster, monkeypatch: pytest.MonkeyPatch
) -> None:
    programs = cluster.work / "programs"
    programs.mkdir()
    real = cluster.run("sh", "-c", "command -v scontrol").strip()
    (programs / "scontrol").write_text(KILLED_SCONTROL.format(scontrol=real))
    (programs / "scontrol").chmod(0o755)
    monkeypatch.setitem(cluster.environment, "PATH", f"{programs}:{cluster.environment['PATH']}")
    # Of four nodes three are needed: the second exclusion lets the first one back in.
    lost = "srun: error: Node failure on csx$((CSX_RESTART_ATTEMPT + 2))"
    first = f'test $CSX_RESTART_ATTEMPT = 2 || {{ echo "{lost}"; exit 3; }}'
    job_id = submit(cluster, str(cluster.script(first)), nodes=3, min_nodes=3)
    assert cluster.await_end(job_id) == "COMPLETED"
    runs = cluster.summary()["runs"]
    assert [run["nodes"] for run in runs] == [
        ["csx1", "csx2", "csx3"],
        ["csx1", "csx3", "csx4"],
        ["csx1", "csx2", "csx4"],
    ]
    assert runs[0]["requeue"]["accepted"] is True
    assert runs[1]["requeue"]["accepted"] is None
    assert cluster.job(job_id)["ExcNodeList"] == "csx3"
    assert (
        "not known whether Slurm has accepted: ExcNodeList=csx3"
        in (cluster.run_dir() / "run.log").read_text()
    )


@pytest.mark.parametrize(("spares", "decision"), [(1, "swap"), (0, "relaunch_smaller")])
def test_after_the_loss_of_a_node_the_run_goes_on_in_its_allocation(
    cluster: HooklessCluster, spares: int, decision: str
) -> None:
    job_id = submit_waiting(cluster, nodes=3, spares=spares)
    lost = cluster.nodes_of(job_id)[1]
    assert lost in await_ranks(cluster, 0, 3)
    cluster.fault("node-down", lost)
    assert lost not in await_ranks(cluster, 1, 2 + spares)
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "0"
    assert decisions(cluster.run_dir()) == [decision, "leave"]


def test_lost_nodes_use_up_the_restarts_in_a_row_without_progress(
    cluster: HooklessCluster,
) -> None:
    job_id = submit_waiting(cluster, nodes=4, spares=0, restarts=2)
    first, *others = cluster.nodes_of(job_id)
    for attempt, lost in enumerate(others):
        await_ranks(cluster, attempt, 4 - attempt)
        cluster.fault("node-down", lost)
    # On 22.05 the supervisor cancels a job whose end it cannot report.
    assert cluster.await_end(job_id, "FAILED", "CANCELLED")
    assert cluster.nodes_of(job_id) == [first]
    assert cluster.job(job_id)["Restarts"] == "0"
    assert decisions(cluster.run_dir()) == ["relaunch_smaller"] * 2 + ["leave"]
    assert [run["category"] for run in cluster.summary()["runs"]] == ["hardware.node"] * 3
    assert "max_num_restarts is 2" in (cluster.run_dir() / "run.log").read_text()


@pytest.mark.parametrize("command", ["stop", "cancel"])
def test_a_person_ends_a_job_that_has_lost_a_node(cluster: HooklessCluster, command: str) -> None:
    job_id = submit_waiting(cluster, nodes=3, spares=0)
    cluster.fault("node-down", cluster.nodes_of(job_id)[1])
    await_ranks(cluster, 1, 2)
    cluster.run("csx-restart", command, str(job_id))
    assert cluster.state(job_id) == "CANCELLED"
    assert cluster.job(job_id)["Restarts"] == "0"


def test_a_person_changes_the_settings_of_a_job_that_has_lost_a_node(
    cluster: HooklessCluster,
) -> None:
    job_id = submit_waiting(cluster, nodes=3, spares=0)
    cluster.fault("node-down", cluster.nodes_of(job_id)[1])
    await_ranks(cluster, 1, 2)
    change = ("csx-restart", "set", str(job_id), "max_num_restarts=7", "--timeout=2")
    cluster.run(*change, check=False)
    shown = cluster.run("scontrol", "show", "job", str(job_id), as_root=True)
    assert (";max=7;" in shown) is (cluster.release >= CHANGES_TAKEN)


def test_without_a_spare_and_below_the_minimum_it_waits_for_a_replacement(
    cluster: HooklessCluster,
) -> None:
    cluster.fault("node-drain", "csx4")
    job_id = submit_waiting(cluster, nodes=3, min_nodes=3, spares=0)
    cluster.fault("node-down", "csx2")
    cluster.await_end(job_id, "PENDING")
    cluster.fault("node-resume", "csx4")
    assert await_ranks(cluster, 1, 3) == {"csx1", "csx3", "csx4"}
    cluster.let_go()
    assert cluster.await_end(job_id) == "COMPLETED"
    assert cluster.job(job_id)["Restarts"] == "1"
    assert decisions(cluster.run_dir()) == ["adjust", "leave"]


def test_a_spare_takes_the_place_of_a_node_that_fails_the_health_check(
    cluster: HooklessCluster,
) -> None:
    """The requeue after the next failure, from other nodes than these, excludes it."""
    check = 'test "$SLURMD_NODENAME" != csx2 || { echo "fan 3 stands still"; exit 9; }'
    # After a full memory of the host no run is restarted in place.
    full = 'case $CSX_RESTART_ATTEMPT in 0) echo "slurmstepd: error: Detected 1 oom-kill event(s)"'
    script = cluster.script(f"{full}; exit 1;; esac")
    options = ("--spares=1", f"--health-check={check}")
    job_id = submit(cluster, str(script), *options, recovery=None)
    assert cluster.await_end(job_id) == "COMPLETED"
    first, second = cluster.summary()["runs"]
    assert (first["nodes"], second["nodes"]) == (["csx1", "csx3"], ["csx1", "csx3"])
    assert first["unhealthy_nodes"] == {"csx2": "command: fan 3 stands still (exit code 9)"}
    assert (first["category"], first["requeue"]["excluded"]) == ("oom_host", ["csx2"])
    assert cluster.job(job_id)["ExcNodeList"] == "csx2"


def test_the_batch_slurmstepd_is_killed(cluster: HooklessCluster) -> None:
    """What it had started lives on, and is ended by the next attempt before that starts."""
    job_id = submit(cluster, "sleep 600")
    await_attempt(cluster, 0)
    supervisor, host = supervisor_of(cluster, job_id), cluster.nodes_of(job_id)[0]
    cluster.fault("kill-stepd", host)

    def is_requeued() -> bool:
        # Slurm finds out when the node registers: here at the start of its slurmd.
        cluster.fault("kill-slurmd-only", host)
        cluster.fault("start-slurmd", host)
        return cluster.job(job_id)["Restarts"] == "1"

    await_(is_requeued, "Slurm finds that the batch step is gone", interval=5)
    await_attempt(cluster, 1)
    await_(
        lambda: supervisor not in {process.pid for process in job_processes(cluster, job_id)},
        "the first supervisor is ended",
    )
    assert cluster.state(job_id) == "RUNNING"
    assert cluster.job(job_id)["Restarts"] == "1"
    assert decisions(cluster.run_dir())[0] == "adjust"
    end = json.loads((cluster.run_dir() / "attempts/0/end.json").read_text())
    assert end["rule"] == "supervisor.superseded"


def test_a_later_phase_leaves_the_nodes_that_an_earlier_one_excludes(
    cluster: HooklessCluster,
) -> None:
    """It was submitted before them: its first attempt starts no program there, uncounted."""
    lines = [
        'if [ "$CSX_RESTART_ATTEMPT" = 0 ] && mkdir first 2>/dev/null; then',
        '    echo "srun: error: Node failure on $SLURMD_NODENAME"; exit 3',
        "fi",
    ]
    script = cluster.script("\n".join(lines))
    settings = {
        "slurm.command": str(script),
        "slurm.policy.backoff": "1s",
        "slurm.recovery": "requeue",
    }
    config = cluster.config(nodes=1, min_nodes=1, restarts=1, **settings)
    second = cluster.in_two_phases(config)
    first, later = cluster.csx_sbatch(config)
    # Slurm gives the same node to both if it is idle again.
    cluster.run("scontrol", "hold", str(later))
    assert cluster.await_end(first) == "COMPLETED"
    await_(lambda: all(cluster.node(node) == "idle" for node in cluster.node_names), "idle nodes")
    cluster.run("scontrol", "release", str(later))
    assert cluster.await_end(later) == "COMPLETED"
    before, _ = cluster.summary()["runs"]
    left, done = cluster.summary(cluster.run_dir(second))["runs"]
    assert (left["rule"], left["blamed_nodes"]) == ("supervisor.excluded_node", before["nodes"])
    assert done["status"] == "success"
    assert cluster.job(later)["ExcNodeList"] == before["nodes"][0]
