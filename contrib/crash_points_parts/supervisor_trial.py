"""One trial of a supervisor's crash point: a run of a trainer config, interrupted at one point."""

import json
import re
import shlex
import shutil
import time
from dataclasses import dataclass
from functools import cached_property
from pathlib import Path

import h5py

from contrib.crash_points_parts.points import Mode, Point
from contrib.crash_points_parts.supervisor_scenarios import EVERY, FOLLOWED, Followed
from contrib.crash_points_parts.trial import ABSENT, ShownJob, format_details
from contrib.testing.crash_points import CrashPoints, Interruption
from contrib.testing.dev_cluster import AS_ROOT
from contrib.testing.job_processes import job_processes
from contrib.testing.supervised_cluster import SupervisedCluster

STABLE = 1.0
"""Seconds for which nothing may change before a trial is over."""
STUCK = 30.0
"""The same where something is wrong: nothing more is to be expected after it."""
LIMIT = 180.0
"""Seconds after which a trial is over in any case: more than ten times of what one takes."""


@dataclass(kw_only=True)
class SupervisorTrial:
    """A point that is being tried. Times are seconds of the monotonic clock."""

    point: Point
    cluster: SupervisedCluster
    partition: int
    job_id: int
    dependent: int
    folder: Path
    """Where the trainer leaves its traces."""
    begun: float
    broken: str | None = None
    """The node that was set DOWN."""
    lost: bool = False
    """Never: slurmctld is not killed."""
    shown: bool = False
    """Whether the owner has looked at the run after its end, which completes its records."""
    seen: tuple[object, ...] = ()
    seen_since: float = 0.0

    @property
    def scenario(self) -> Followed:
        """What is tried."""
        return FOLLOWED[self.point.scenario]

    @property
    def points(self) -> CrashPoints:
        """The records of what the supervisor has done."""
        points = self.cluster.crash_points
        assert points is not None
        return points

    @property
    def reached(self) -> bool:
        """Whether the planned interruption has happened."""
        return self.points.reached(self.job_id, self.point.mode.caller) is not None

    @cached_property
    def run_dir(self) -> Path:
        """The run directory."""
        return next((self.folder / "model_dir").glob("*_restartable"))

    def lines(self, name: str) -> list[str]:
        """Return the lines of a file in the trainer's folder."""
        path = self.folder / name
        return path.read_text().splitlines() if path.exists() else []

    def starts(self) -> list[tuple[int, int]]:
        """Return the trainers that were started: number of the attempt, and step."""
        rows = (line.split() for line in self.lines("started"))
        return [(int(row[0]), int(row[1])) for row in rows]

    def processes(self) -> list[str]:
        """Return what still runs of the job."""
        return [" ".join(process.words) for process in job_processes(self.cluster, self.job_id)]

    def step(self, jobs: dict[int, ShownJob]) -> None:
        """Do what the scenario wants to be done now."""
        job = jobs.get(self.job_id, ABSENT)
        waits = self.scenario.node_down and (self.folder / "waits").exists()
        if waits and not self.broken and job.state == "RUNNING" and len(self.starts()) == 1:
            nodes = self.cluster.nodes_of(self.job_id)
            self.broken = nodes[self.scenario.nodes - 1]
            self.cluster.fault("node-down", self.broken)

    def at_rest(self, jobs: dict[int, ShownJob], *, wrong: bool) -> bool:
        """Whether nothing happens any more.

        Args:
            jobs: all jobs.
            wrong: whether something is not as it has to be; then the wait is longer.
        """
        now = time.monotonic()
        seen = (*self._shown(jobs), len(self.starts()))
        if seen != self.seen:
            self.seen, self.seen_since = seen, now
        stable = now - self.seen_since > (STUCK if wrong else STABLE)
        return (self.is_final(jobs) and stable) or now - self.begun > LIMIT

    def is_final(self, jobs: dict[int, ShownJob]) -> bool:
        """Whether both jobs have ended."""
        return all(job.final or job is ABSENT for job in self._shown(jobs))

    def show(self) -> None:
        """Look at the run as its owner does: what a killed supervisor has not written is written.

        Raises:
            AssertionError: a command fails.
        """
        if not self.shown:
            self.cluster.run("csx-restart", "status", str(self.job_id))
            self.shown = True

    def _shown(self, jobs: dict[int, ShownJob]) -> tuple[ShownJob, ShownJob]:
        return jobs.get(self.job_id, ABSENT), jobs.get(self.dependent, ABSENT)

    def slurmctld_restarted(self, jobs: dict[int, ShownJob]) -> None:
        """Nothing: slurmctld is not killed in these trials."""

    def lose_start(self) -> None:
        """Nothing, as above."""

    def clear(self) -> None:
        """Cancel what is left."""
        jobs = (str(self.job_id), str(self.dependent))
        self.cluster.run("scancel", *jobs, as_root=True, check=False)

    def details(self, jobs: dict[int, ShownJob]) -> str:
        """Return what there is to find out why a result is wrong."""
        parts = {
            "operations": self.points.trace(self.job_id),
            "squeue": [f"{number}: {jobs.get(number)}" for number in (self.job_id, self.dependent)],
            "starts": self.lines("started"),
            "processes": self.processes(),
            "journal": [json.dumps(event) for event in self.cluster.journal(self.job_id)],
        }
        files = [*self.folder.glob("*.out"), *sorted(self.run_dir.rglob("*"))]
        for path in files:
            if path.suffix in {".out", ".json", ".jsonl", ".log"} and path.is_file():
                parts[str(path)] = path.read_text(errors="replace").splitlines()
        log = self.cluster.hook_log().splitlines()
        parts["hook's log"] = [line for line in log if f"job {self.job_id}:" in line]
        return format_details(parts)


def start(cluster: SupervisedCluster, partition: int, point: Point) -> SupervisorTrial:
    """Submit the run of a point and its dependent, with the interruption planned."""
    scenario = FOLLOWED[point.scenario]
    folder = cluster.work / re.sub(r"\W+", "-", f"{point} {time.monotonic_ns()}")
    (folder / "model_dir").mkdir(parents=True)
    for step in range(EVERY, scenario.last + 1, EVERY):
        _write_checkpoint(folder / f"checkpoint_{step}.mdl", step)
    program = folder / "trainer"
    program.write_text(scenario.trainer)
    program.chmod(0o755)
    if AS_ROOT:
        for path in (folder, *folder.rglob("*")):
            shutil.chown(path, cluster.user.pw_uid, cluster.user.pw_gid)
    where = f"--partition=p{partition}"
    job_id = _submit(cluster, scenario, folder, where, hook=point.mode is not Mode.SUPERVISOR_ALONE)
    waits = (f"--dependency=afterok:{job_id}", "--kill-on-invalid-dep=yes")
    dependent = cluster.submit("exit 0", "--nodes=1", "--output=/dev/null", *waits, where)
    cluster.record(job_id)
    trial = SupervisorTrial(
        point=point,
        cluster=cluster,
        partition=partition,
        job_id=job_id,
        dependent=dependent,
        folder=folder,
        begun=time.monotonic(),
    )
    if point.call:
        caller, act = point.mode.caller, point.mode.act
        trial.points.plan(
            job_id, Interruption(caller=caller, call=point.call, when=point.when, act=act)
        )
    cluster.run("scontrol", "release", str(job_id))
    return trial


def _submit(
    cluster: SupervisedCluster, scenario: Followed, folder: Path, where: str, *, hook: bool
) -> int:
    """Submit the run, held."""
    model_dir = folder / "model_dir"
    command = f"{shlex.join([str(folder / 'trainer'), str(folder), str(model_dir)])} {{step}}"
    changes = {"slurm.policy.backoff": "1s", "trainer.init.checkpoint.steps": EVERY}
    config = cluster.config(
        f"{folder.name}/trainer.yaml",
        command=command,
        model_dir=str(model_dir),
        nodes=scenario.nodes,
        min_nodes=scenario.min_nodes,
        steps=scenario.last,
        restarts=scenario.max_restarts,
        **changes,
    )
    options = (
        "--hold",
        where,
        f"--spares={scenario.spares}",
        f"--hook={'yes' if hook else 'no'}",
        f"--output={folder}/%j.out",
    )
    [job_id] = cluster.csx_sbatch(config, *options)
    return job_id


def _write_checkpoint(path: Path, step: int) -> None:
    """Write a small checkpoint in the Model Zoo's form."""
    name = "global_step"
    scalar = {"scalar_value": step, "__NONE__": True}
    with h5py.File(path, "w") as file:
        file["model.weight"] = [float(step)]
        entry = {"__objects__": [name], f"{name}.__metadata__": scalar}
        file.attrs[f"{name}.__metadata__"] = json.dumps(entry)
        file.attrs["__SUCCESS__"] = True
