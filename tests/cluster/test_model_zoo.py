"""The Model Zoo's own `cszoo fit` as the trainer, where there is one: killed at random.

CSX_CSZOO names the executable (CONTRIBUTING.md says how to get it), CSX_CSZOO_CONFIG another config
than tests/data/model_zoo.yaml that it trains on CPU within minutes, and CSX_CSZOO_SEED the moments
of the deaths.
"""

import itertools
import os
import random
import re
import signal
import subprocess
import time
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import pytest
import yaml

from contrib.testing.dev_cluster import DEAD_NODE_NOTICED
from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

CSZOO = os.environ.get("CSX_CSZOO")
CONFIG = Path(
    os.environ.get("CSX_CSZOO_CONFIG") or Path(__file__).parents[1] / "data" / "model_zoo.yaml"
)
STEPS, EVERY = 200, 10
KEPT, KILLS, STEPS_KEPT = 2, 10, 300
LOSS = re.compile(r"\| Train Device=\S+, Step=(\d+), Loss=([\d.]+)")
REMOVED = re.compile(rf"removed \S+/(\S+): the config keeps {KEPT} checkpoints")
SAME = """
import sys, h5py, hdf5plugin
one, other = (h5py.File(path) for path in sys.argv[1:])
empty = [name for name in one if one[name].shape is None]
assert set(one) == set(other)
assert [name for name in other if other[name].shape is None] == empty
differing = [n for n in one if n not in empty and (one[n][()] != other[n][()]).any()]
sys.exit(f"differing: {differing}" if differing else 0)
"""

pytestmark = [
    pytest.mark.skipif(not CSZOO, reason="CSX_CSZOO names no cszoo of the Model Zoo"),
    pytest.mark.timeout(1200),
]


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 4, "hook": {"stale_running_after": 10}, "options": DEAD_NODE_NOTICED}


def config(cluster: ManagedCluster, *, plain: bool, keep: int | None = None) -> Path:
    """The config; with the shapes that a resume has to see through, and `plain` without Slurm.

    It keeps all checkpoints, or the newest `keep`.
    """
    data = yaml.safe_load(CONFIG.read_text())
    init = data["trainer"]["init"]
    init["loop"] = {"max_steps": STEPS if keep is None else STEPS_KEPT}
    init["checkpoint"] = {"steps": EVERY}
    init["logging"] = {"log_steps": 1}
    init["model_dir"] = "./undisturbed" if plain else "./model_dir"
    # Meant for a start from other weights, and there are none here.
    init["callbacks"] = [{"LoadCheckpointStates": {"load_checkpoint_states": "model"}}]
    data["trainer"]["fit"]["ckpt_path"] = None
    if keep is not None:
        init["callbacks"].append({"KeepNCheckpoints": {"n": keep}})
    if not plain:
        init["autorestart"] = {"max_num_restarts": 5}
        setup = "export OMP_NUM_THREADS=1 PYTHONWARNINGS=ignore"
        data["slurm"] = {"command": f"{CSZOO} fit {{config}}", "setup": setup}
    path = cluster.work / f"{'plain' if plain else 'managed'}.yaml"
    path.write_text(yaml.safe_dump(data))
    return path


def losses(text: str) -> dict[int, str]:
    """The loss of each step, as printed."""
    return {int(step): loss for step, loss in LOSS.findall(text)}


def undisturbed(cluster: ManagedCluster) -> dict[int, str]:
    """The losses of the same training without Slurm and without a death."""
    command = ("env", "OMP_NUM_THREADS=1", "PYTHONWARNINGS=ignore", str(CSZOO), "fit")
    cluster.run(*command, str(config(cluster, plain=True)), timeout=600)
    log = cluster.work / "undisturbed" / "latest_run.log"
    return losses(log.read_text())


def trainer_pids(cluster: ManagedCluster, job_id: int) -> Iterator[int]:
    """The trainer's processes: cszoo itself, not the shell that started it."""
    for process in job_processes(cluster, job_id):
        if str(CSZOO) in process.words[:2]:
            yield process.pid


def kill_trainer(cluster: ManagedCluster, job_id: int) -> None:
    await_(lambda: list(trainer_pids(cluster, job_id)), "the trainer", timeout=60)
    for pid in trainer_pids(cluster, job_id):
        os.kill(pid, signal.SIGKILL)


def kill_supervisor(cluster: ManagedCluster, job_id: int) -> None:
    os.kill(cluster.batch_pid(job_id), signal.SIGKILL)


def kill_stepd(cluster: ManagedCluster, job_id: int) -> None:
    cluster.fault("kill-stepd", cluster.nodes_of(job_id)[0])


def node_down(cluster: ManagedCluster, job_id: int) -> None:
    cluster.fault("node-down", cluster.nodes_of(job_id)[0])


def node_gone(cluster: ManagedCluster, job_id: int) -> None:
    cluster.fault("kill-slurmd", cluster.nodes_of(job_id)[0])


DEATHS: list[Callable[[ManagedCluster, int], None]] = [
    kill_trainer,
    kill_supervisor,
    node_down,
    node_gone,
]
LAST_DEATH = kill_stepd
"""slurmd finds out late: what the step had started may well train to the end."""


def said(output: Path) -> dict[int, str]:
    """The losses so far of an attempt, which may have begun without output yet."""
    return losses(output.read_text()) if output.exists() else {}


def attempts(run_dir: Path) -> list[Path]:
    """The attempts that have begun, in order."""
    begun = run_dir.glob("attempts/*/start.json")
    return sorted((path.parent for path in begun), key=lambda path: int(path.name))


def await_attempts(cluster: ManagedCluster, job_id: int, run_dir: Path, count: int) -> None:
    """Wait for so many attempts, sweeping as the timer would."""
    deadline = time.monotonic() + 180
    while len(attempts(run_dir)) < count:
        assert time.monotonic() < deadline, f"job {job_id}: {cluster.hook_log()}"
        cluster.reconcile()
    cluster.await_running(job_id)


def await_moment(output: Path, draw: random.Random) -> str:
    """Wait for a random moment of an attempt: while it starts, or trains and saves."""
    steps = draw.randint(-10, 30)
    if steps < 0:
        seconds = draw.uniform(0, 6)
        time.sleep(seconds)
        return f"{seconds:.1f} s after its start"
    await_(lambda: len(said(output)) >= steps, f"{steps} steps", timeout=120)
    time.sleep(draw.uniform(0, 0.5))  # within a step, or a saving
    return f"after step {max(said(output), default=None)}"


def check_summary(runs: list[dict[str, Any]]) -> None:
    """Every attempt goes on from where the one before had got to."""
    status = [run["status"] for run in runs]
    assert status[:-2] == ["failed"] * len(DEATHS)
    assert status[-2] in {"failed", "success"}  # see LAST_DEATH
    assert status[-1] == "success"
    assert runs[0]["starting_step"] == 0
    assert runs[-1]["ending_step"] == STEPS
    for before, run in itertools.pairwise(runs[:-1]):
        assert run["starting_step"] == before["ending_step"]
    # The one before may have saved once more until it saw that another one has begun.
    assert runs[-2]["starting_step"] <= runs[-1]["starting_step"] <= runs[-2]["ending_step"]


def test_killed_five_times_it_trains_as_if_it_never_was(cluster: ManagedCluster) -> None:
    seed = int(os.environ.get("CSX_CSZOO_SEED") or random.randrange(10**6))
    draw = random.Random(seed)
    # Printed: a death that goes wrong has to be repeated at its moment.
    print(f"CSX_CSZOO_SEED={seed}")  # noqa: T201
    expected = undisturbed(cluster)
    assert sorted(expected) == list(range(1, STEPS + 1))
    [job_id] = cluster.csx_sbatch(config(cluster, plain=False))
    run_dir = cluster.run_dir()
    deaths = [*draw.sample(DEATHS, len(DEATHS)), LAST_DEATH]
    for number, death in enumerate(deaths, 1):
        await_attempts(cluster, job_id, run_dir, number)
        reached = await_moment(attempts(run_dir)[-1] / "output.log", draw)
        story = f"attempt {number - 1}: {death.__name__} {reached}"
        print(story)  # noqa: T201
        death(cluster, job_id)
    assert cluster.await_end(job_id, timeout=300) == "COMPLETED"
    check_summary(cluster.summary(run_dir)["runs"])
    # An attempt that finds the last step reached starts no trainer.
    outputs = [one / "output.log" for one in attempts(run_dir)]
    seen = [said(output) for output in outputs]
    assert len(seen) == len(deaths) + 1
    for attempt in seen:
        assert attempt == {step: expected[step] for step in attempt}
    assert set().union(*seen) == set(expected)
    final = f"checkpoint_{STEPS}.mdl"
    python = Path(CSZOO or "").with_name("python")
    folders = ("undisturbed", "model_dir")
    paths = [str(cluster.work / folder / final) for folder in folders]
    subprocess.run([python, "-c", SAME, *paths], check=True, timeout=120)


def is_further(output: Path, steps: int) -> bool:
    """Whether an attempt has printed the losses of so many steps."""
    return len(said(output)) >= steps


def test_hung_killed_and_given_a_truncated_checkpoint_it_trains_all_steps(
    cluster: ManagedCluster,
) -> None:
    expected = undisturbed(cluster)
    # The second one also holds if it is stopped while it saves a checkpoint.
    thresholds = "floor=5s,start_floor=90s,busy_factor=3"
    [job_id] = cluster.csx_sbatch(config(cluster, plain=False), f"--watchdog={thresholds}")
    run_dir, model_dir = cluster.run_dir(), cluster.work / "model_dir"
    outputs = [run_dir / f"attempts/{number}/output.log" for number in range(4)]

    def reach(number: int) -> None:
        """Wait until an attempt has trained beyond a further checkpoint."""
        await_attempts(cluster, job_id, run_dir, number + 1)
        await_(partial(is_further, outputs[number], EVERY + 5), "further steps", timeout=180)

    reach(0)
    for pid in trainer_pids(cluster, job_id):
        os.kill(pid, signal.SIGSTOP)
    reach(1)
    kill_trainer(cluster, job_id)
    reach(2)
    kill_trainer(cluster, job_id)
    step = highest(model_dir)
    newest = model_dir / f"checkpoint_{step}.mdl"
    os.truncate(newest, newest.stat().st_size // 2)
    assert cluster.await_end(job_id, timeout=300) == "COMPLETED"
    runs = cluster.summary(run_dir)["runs"]
    assert [run["status"] for run in runs] == ["failed", "failed", "failed", "success"]
    assert runs[0]["category"] == "hang"
    assert runs[-1]["ending_step"] == STEPS
    # From the one before; the truncated one is kept under another name, and written anew.
    assert runs[-1]["starting_step"] == step - EVERY
    assert newest.with_name(f"{newest.name}.unusable").exists()
    seen = [said(output) for output in outputs]
    for attempt in seen:
        assert attempt == {step: expected[step] for step in attempt}
    assert set().union(*seen) == set(expected)


def highest(model_dir: Path) -> int:
    """The highest step of the checkpoints there."""
    return max((int(path.stem.split("_")[1]) for path in model_dir.glob("*.mdl")), default=0)


def has_beyond(model_dir: Path, step: int) -> bool:
    return highest(model_dir) > step


def test_of_all_attempts_so_many_checkpoints_are_left_as_the_config_keeps(
    cluster: ManagedCluster,
) -> None:
    model_dir = cluster.work / "model_dir"
    cluster.run("mkdir", str(model_dir))  # as the jobs' user
    foreign = model_dir / "checkpoint_7.mdl"
    foreign.write_bytes(b"of another run")
    [job_id] = cluster.csx_sbatch(config(cluster, plain=False, keep=KEPT))
    run_dir = cluster.run_dir()
    reached = highest(model_dir)
    for number in range(KILLS):
        await_attempts(cluster, job_id, run_dir, number + 1)
        # Each attempt writes one checkpoint, or a few: most have fewer than the config keeps.
        await_(partial(has_beyond, model_dir, reached), f"a step beyond {reached}", timeout=120)
        [kill_trainer, kill_supervisor][number % 2](cluster, job_id)
        reached = highest(model_dir)
    assert cluster.await_end(job_id, timeout=300) == "COMPLETED"
    assert len(attempts(run_dir)) == KILLS + 1
    left = {path.name for path in model_dir.glob("*.mdl")}
    newest = {f"checkpoint_{step}.mdl" for step in (STEPS_KEPT - EVERY, STEPS_KEPT)}
    assert left == {foreign.name, *newest}
    assert foreign.read_bytes() == b"of another run"
    # The trainer removes what its own process wrote, the plugin the rest.
    removed = REMOVED.findall((run_dir / "run.log").read_text())
    assert len(removed) >= KILLS
    assert not {foreign.name, *newest} & set(removed)
