"""The warning of the time limit: the trainer saves on its signal, and goes on from there."""

import json

import pytest

from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

LEAD = 50
"""Seconds; Slurm sends the warning within half a minute to a job that is to end in a minute."""
SAVES_ON = """
import os, signal, sys, time
from pathlib import Path
directory, checkpoint, (name, seconds) = Path(sys.argv[1]), sys.argv[2], sys.argv[3].split(":")
if checkpoint:
    print("resumed from", checkpoint, flush=True)
    sys.exit(0)
def save(*_):
    partial = directory / "partial"
    partial.write_text("7")
    time.sleep(float(seconds))
    partial.rename(directory / "step-7.pt")
    sys.exit(0)
directory.mkdir()
signal.signal(signal.Signals[f"SIG{name}"], save)
(directory / "ready").touch()
while True:
    signal.pause()
"""


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 3}


def submit(
    cluster: ManagedCluster, name: str, signal: str, seconds: float, launcher: str = ""
) -> int:
    """Submit a trainer that needs that long to save, and does so on that signal only."""
    (cluster.work / "train.py").write_text(SAVES_ON)
    config = cluster.config(
        f"{name}.yaml",
        command=f'{launcher} python3 train.py {name} "$CSX_RESTART_CHECKPOINT" {signal}:{seconds};'
        " exit $?",
        nodes=1,
        min_nodes=1,
        restarts=0,
        model_dir=f"model-{name}",
        **{
            "slurm.stop_signal": signal,
            "slurm.checkpoint.directory": name,
            "slurm.checkpoint.pattern": "step-{step}.pt",
        },
    )
    [job_id] = cluster.csx_sbatch(config, "--time=60", f"--signal=B:USR1@{LEAD}")
    return job_id


@pytest.mark.core
def test_what_was_saved_on_the_signal_is_where_the_run_goes_on(cluster: ManagedCluster) -> None:
    """One needs almost the whole lead to save; one saves on USR1 only; one is a task of srun."""
    jobs = {
        "slow": submit(cluster, "slow", "TERM", LEAD - 15),
        "usr1": submit(cluster, "usr1", "USR1", 0.5),
        "task": submit(cluster, "task", "TERM", 5, "srun --nodes=1 --ntasks=1"),
    }
    for name, job_id in jobs.items():
        await_((cluster.work / name / "ready").exists, f"{name}: the trainer is ready")
        cluster.warn_of_time_limit(job_id)
    for job_id in jobs.values():
        cluster.await_requeue_and_lift_limit(job_id)
    for name, job_id in jobs.items():
        assert cluster.await_end(job_id) == "COMPLETED", cluster.hook_log()
        assert [end["category"] for end in cluster.ends(job_id)] == ["timeout", "completed"]
        run_dir = cluster.run_dir(cluster.work / f"model-{name}")
        end = json.loads((run_dir / "attempts/0/end.json").read_text())
        assert end["rule"] == "supervisor.time_limit"
        output = (run_dir / "attempts/1/output.log").read_text()
        assert output == f"resumed from {cluster.work}/{name}/step-7.pt\n"
        runs = cluster.summary(run_dir)["runs"]
        assert [run["starting_step"] for run in runs] == [0, 7]


def test_slurm_signals_the_tasks_of_the_steps_alone(cluster: ManagedCluster) -> None:
    """What the supervisor uses in place of --signal without `B:`."""
    waits = "trap 'echo {0} >> got; exit' USR1; touch {0}; while :; do sleep 0.1; done"
    child, task = (cluster.script(waits.format(name)) for name in ("child", "task"))
    job_id = cluster.submit(
        f"trap 'echo script >> got' USR1; {child} & srun -n1 {task} & wait; wait; wait"
    )
    await_(lambda: all((cluster.work / name).exists() for name in ("child", "task")), "both")
    cluster.run("scancel", "--signal=USR1", str(job_id))
    await_((cluster.work / "got").exists, "the signal")
    cluster.run("scancel", str(job_id))
    cluster.await_state(job_id, "CANCELLED")
    assert (cluster.work / "got").read_text() == "task\n"
