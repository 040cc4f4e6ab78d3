"""How long a killed trainer is away: restarted in place, and requeued, on a cluster that is full.

The stages are read from the records of the run and from what the trainer itself writes down. Beside
that the same trainer is restarted by torchrun itself, if CSX_TORCHRUN names one.
"""

import itertools
import json
import os
import statistics
from collections.abc import Sequence
from pathlib import Path

from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

_TRAINER = (
    "say() { echo $ATTEMPT:$1:$(date +%s.%N) >> times; }; say start; "
    "sleep 0.5; say step; sleep 0.5; say death; kill -9 $$"
)
TORCHRUN = "CSX_TORCHRUN"
"""Names torchrun, such as that of a virtual environment with PyTorch for CPUs."""
STAGES = ("noticed", "judged", "relaunched", "trainer started", "first new step")
BUSY = 10
"""Seconds that each of the other jobs runs."""
WAITING = 3
"""Other jobs that wait for all nodes."""


Recovery = tuple[float, ...]
"""Seconds after the death of a trainer at which each of `STAGES` was reached."""


def _marks(times: Path) -> dict[tuple[int, str], float]:
    """What the trainers wrote down: when attempt N came to a mark."""
    found = {}
    for line in times.read_text().splitlines():
        attempt, name, at = line.split(":")
        found[int(attempt), name] = float(at)
    return found


def recoveries(times: Path, run_dir: Path) -> list[Recovery]:
    """The stages of each recovery of a run."""
    marks, found = _marks(times), []
    attempts = sorted({attempt for attempt, _ in marks})
    for before, after in itertools.pairwise(attempts):
        ended = run_dir / f"attempts/{before}/end.json"
        begun = run_dir / f"attempts/{after}/start.json"
        points = (
            json.loads(ended.read_text())["at"],
            ended.stat().st_mtime,
            json.loads(begun.read_text())["at"],
            marks[after, "start"],
            marks[after, "step"],
        )
        death = marks[before, "death"]
        found.append(tuple(point - death for point in points))
    return found


def measure(cluster: ManagedCluster, count: int, recovery: str) -> list[Recovery]:
    """Recoveries of one run of two nodes, which dies so many times."""
    times = cluster.work / "times"
    times.unlink(missing_ok=True)
    trainer = _TRAINER.replace("ATTEMPT", "CSX_RESTART_ATTEMPT").replace("{", "{{")
    command = f"sh -c '{trainer.replace('}', '}}')}'"
    config = cluster.config(command=command, nodes=2, min_nodes=2, restarts=count)
    [job_id] = cluster.csx_sbatch(config, "--recovery", recovery)
    cluster.await_running(job_id)
    for _ in range(WAITING):
        cluster.submit(f"sleep {BUSY}", "-N4", "--exclusive")
    wanted = (count, "death")
    await_(
        lambda: times.exists() and wanted in _marks(times),
        "the last recovery",
        timeout=60 + 60 * count,
        interval=0.5,
    )
    found = recoveries(times, cluster.run_dir())
    cluster.heal()
    return found


def measure_torchrun(cluster: ManagedCluster, torchrun: str, count: int) -> dict[str, object]:
    """Restarts of the trainer by torchrun in one job, with PyTorch's defaults."""
    cluster.run(torchrun, "--help")  # as the cluster's user, who may not be able to
    times = cluster.work / "times"
    times.unlink(missing_ok=True)
    trainer = cluster.script(_TRAINER.replace("ATTEMPT", "TORCHELASTIC_RESTART_COUNT"))
    options = f"--standalone --nnodes=1 --nproc-per-node=1 --max-restarts={count} --no-python"
    job_id = cluster.submit(f"cd {cluster.work}; {torchrun} {options} {trainer}")
    cluster.await_end(job_id, "FAILED")
    marks = _marks(times)
    away = [
        (marks[number, "start"] - death, marks[number, "step"] - death)
        for number in range(1, count + 1)
        for death in [marks[number - 1, "death"]]
    ]
    return _summary(away, STAGES[-2:])


def bench(count: int) -> dict[str, object]:
    """In place, and by requeue, in one cluster whose queue is full of other jobs."""
    with ManagedCluster(nodes=4, policy={"backoff": [0], "short_wait": 0}) as cluster:
        in_place = measure(cluster, count, "in-place")
        requeued = measure(cluster, 1, "requeue")
        torchrun = os.environ.get(TORCHRUN)
        other: dict[str, object] = {"skipped": f"{TORCHRUN} names no torchrun"}
        if torchrun is not None and os.access(torchrun, os.X_OK):
            other = measure_torchrun(cluster, torchrun, count)
    return {"in place": _summary(in_place), "requeue": _summary(requeued), "torchrun": other}


def _summary(found: Sequence[Recovery], names: Sequence[str] = STAGES) -> dict[str, object]:
    stages = {
        name: {"median_s": round(statistics.median(values), 3), "max_s": round(max(values), 3)}
        for name, values in zip(names, zip(*found, strict=True), strict=True)
    }
    return {"n": len(found), **stages}
