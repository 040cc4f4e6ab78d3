"""The example jobs, killed while a checkpoint is half written: each ends as an undisturbed run.

Those that need more than numpy run with `contrib/test --trainers`, where CSX_TRAINERS names a
virtual environment with their packages.
"""

import os
import re
import signal
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.job_processes import job_processes
from contrib.testing.managed_cluster import EXAMPLES, ManagedCluster
from contrib.testing.waiting import LONG_DEADLINE, await_

TRAINERS = os.environ.get("CSX_TRAINERS")
STEP_SECONDS = "0.1"
"""Long enough for a busy machine to stop a run of 100 steps before its end."""


@dataclass(frozen=True)
class Example:
    """A job in contrib/examples/jobs."""

    name: str
    checkpoints: str
    """Pattern of the paths that it writes, with the step as the last number."""
    program: str = "train.py"
    result: str = "result.txt"
    most_attempts: int = 2
    """Attempts of a run that is killed once, at most."""


PLAIN = (
    Example("numpy", "checkpoints/step-*.npz"),
    # Only the solver itself can tell that a state is too short: it fails with it, once.
    Example("c", "state-*.bin", program="./solver", result="result.bin", most_attempts=3),
)
HEAVY = (
    Example("torchrun", "checkpoints/step-*.pt"),
    Example("dcp", "checkpoints/step-*"),
    Example("huggingface", "out/checkpoint-*"),
    Example("lightning", "lightning_logs/version_*/checkpoints/epoch=*-step=*.ckpt"),
    # What is cut off under its final name looks committed if the mark of the commit is left.
    Example("orbax", "checkpoints/*", most_attempts=3),
)


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 1}


@pytest.mark.parametrize("example", PLAIN, ids=lambda example: example.name)
def test_killed_while_saving_it_ends_as_undisturbed(
    cluster: ManagedCluster, example: Example
) -> None:
    check(cluster, example)


@pytest.mark.skipif(TRAINERS is None, reason="contrib/test --trainers runs it")
@pytest.mark.parametrize("example", HEAVY, ids=lambda example: example.name)
def test_a_trainer_killed_while_saving_ends_as_undisturbed(
    cluster: ManagedCluster, monkeypatch: pytest.MonkeyPatch, example: Example
) -> None:
    monkeypatch.setitem(
        cluster.environment, "PATH", f"{TRAINERS}/bin:{cluster.environment['PATH']}"
    )
    check(cluster, example)


def check(cluster: ManagedCluster, example: Example) -> None:
    """Kill the job once, cut its newest checkpoint, and compare the result."""
    expected = undisturbed(cluster, example)
    place = prepare(cluster, example, "disturbed")
    cluster.environment["STEP_SECONDS"] = STEP_SECONDS
    job_id = int(cluster.run("sh", "-c", f"cd {place} && csx-sbatch --parsable job.sh"))
    await_(
        lambda: len(checkpoints(place, example)) >= 3, "three checkpoints", timeout=LONG_DEADLINE
    )
    killed = processes(cluster, job_id, example)
    assert killed, "the program had ended before it could be killed"
    for pid in killed:
        os.kill(pid, signal.SIGSTOP)
    *_, before, newest = checkpoints(place, example)
    cut_in_half(newest)
    for pid in killed:
        os.kill(pid, signal.SIGKILL)
    state = cluster.await_end(job_id)
    run_dir = cluster.run_dir(place / "csx-restart")
    runs: list[dict[str, Any]] = cluster.summary(run_dir)["runs"]
    log = (run_dir / "run.log").read_text()
    assert state == "COMPLETED", (place / f"slurm-{job_id}.out").read_text()
    assert 2 <= len(runs) <= example.most_attempts, log
    assert runs[-1]["checkpoint"] == str(before), log
    assert runs[-1]["starting_step"] == step_of(before), log
    assert f"checkpoint {newest} is not used" in log
    assert (place / example.result).read_bytes() == expected


def undisturbed(cluster: ManagedCluster, example: Example) -> bytes:
    """Run the job with plain sbatch; the content of its result."""
    place = prepare(cluster, example, "undisturbed")
    cluster.environment.pop("STEP_SECONDS", None)
    cluster.run("sbatch", "--wait", f"--chdir={place}", f"{place}/job.sh", timeout=LONG_DEADLINE)
    return (place / example.result).read_bytes()


def prepare(cluster: ManagedCluster, example: Example, name: str) -> Path:
    """Copy the example, as the user who submits it; the C program is compiled."""
    place = cluster.work / name
    cluster.run("cp", "-r", str(EXAMPLES / "jobs" / example.name), str(place))
    for source in place.glob("*.c"):
        program = source.with_suffix("")
        cluster.run("cc", "-O2", "-ffp-contract=off", "-o", str(program), str(source), "-lm")
    return place


def checkpoints(place: Path, example: Example) -> list[Path]:
    """The checkpoints, complete or not, in order."""
    found = [path for path in place.glob(example.checkpoints) if path.stem[-1].isdigit()]
    return sorted((path for path in found if "tmp" not in path.name), key=step_of)


def step_of(path: Path) -> int:
    return int(re.findall(r"\d+", path.name)[-1])


def processes(cluster: ManagedCluster, job_id: int, example: Example) -> list[int]:
    """The processes of the program, launchers among them."""
    found = job_processes(cluster, job_id)
    return [process.pid for process in found if example.program in process.words]


def cut_in_half(path: Path) -> None:
    """Leave of a checkpoint what a kill in the middle of its writing leaves."""
    files = sorted(
        (file for file in path.rglob("*") if file.is_file()), key=lambda file: file.stat().st_mtime
    )
    for file in files[len(files) // 2 + 1 :]:
        file.unlink()
    half = files[len(files) // 2] if files else path
    if half.is_file():
        os.truncate(half, half.stat().st_size // 2)
