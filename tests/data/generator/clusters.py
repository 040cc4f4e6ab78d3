"""Runs cases as jobs of real Slurm clusters on this machine, side by side."""

import re
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from contrib.testing.dev_cluster import AS_ROOT, DevCluster
from tests.data.generator.case import Case, OnCluster
from tests.data.generator.run import Made, free, places, prepare
from tests.data.generator.scrub import scrub

DEADLINE = 150
FINAL = {"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL", "PREEMPTED", "OUT_OF_MEMORY"}


@dataclass
class Running:
    """A case and its job."""

    case: Case
    folder: Path
    job_id: int = 0
    acted: bool = False
    seen: dict[str, str] = field(default_factory=dict)

    @property
    def how(self) -> OnCluster:
        """How the case runs."""
        assert self.case.cluster is not None
        return self.case.cluster

    @property
    def log(self) -> str:
        """What the job has printed so far."""
        path = self.folder / "slurm.out"
        return path.read_text(errors="replace") if path.exists() else ""


@contextmanager
def _plain() -> Iterator[DevCluster]:
    with DevCluster(nodes=24, options=("--preempt", "CANCEL")) as cluster:
        yield cluster


@contextmanager
def _with_memory() -> Iterator[DevCluster]:
    """A cluster whose steps have a limit of memory, by cgroups.

    devcluster has no option for that, so its files are changed and the daemons started again.
    """
    options = ("--set", "TaskPlugin=task/cgroup", "--set", "SelectTypeParameters=CR_CPU_Memory")
    with DevCluster(nodes=2, options=options) as cluster:
        text = cluster.conf.read_text()
        cluster.conf.write_text(re.sub(r"(?m)^NodeName=.*", r"\g<0> RealMemory=4000", text))
        with (cluster.conf.parent / "cgroup.conf").open("a") as file:
            file.write("ConstrainRAMSpace=yes\n")
        cluster.fault("kill-ctld")
        cluster.fault("start-ctld")
        for node in cluster.node_names:
            cluster.fault("kill-slurmd-only", node)
            cluster.fault("start-slurmd", node)
        yield cluster


KINDS = {"plain": _plain, "memory": _with_memory}
LACKS = {"memory": "memory: only root can limit it by cgroups"}


def run(cases: Sequence[Case], python: Path) -> Iterator[tuple[Case, Made | str]]:
    """Run the cases of each kind on one cluster."""
    for kind, boot in KINDS.items():
        mine = [case for case in cases if case.cluster and case.cluster.kind == kind]
        if mine and kind in LACKS and not AS_ROOT:
            yield from ((case, LACKS[kind]) for case in mine)
        elif mine:
            with boot() as cluster:
                yield from _side_by_side(cluster, mine, python)


def _side_by_side(
    cluster: DevCluster, cases: Sequence[Case], python: Path
) -> Iterator[tuple[Case, Made]]:
    # Those that want certain nodes first: there is one free node more for each of the others.
    first = sorted(cases, key=lambda case: "--nodelist" not in str(case.cluster))
    running = [_submit(cluster, case, python) for case in first]
    deadline = time.monotonic() + DEADLINE
    while running:
        for one in list(running):
            state = _watch(cluster, one)
            if state is None and time.monotonic() > deadline:
                state = f"still running after {DEADLINE} s"
            if state is not None:
                running.remove(one)
                yield one.case, _collect(cluster, one, state, python)
                free(one.folder)
        time.sleep(0.2)


def _submit(cluster: DevCluster, case: Case, python: Path) -> Running:
    one = Running(case, cluster.work / case.name)
    environment = prepare(one.folder, python)
    cluster.run("chown", "-R", str(cluster.user.pw_uid), str(one.folder), as_root=True)
    exports = "".join(f"export {key}='{value}'\n" for key, value in environment.items())
    script = one.folder / "job.sh"
    script.write_text(f"#!/bin/bash\n{exports}{case.script}\n")
    options = (f"--chdir={one.folder}", f"--output={one.folder}/slurm.out", *one.how.options)
    line = cluster.run("sbatch", "--parsable", "--job-name=train", *options, str(script))
    one.job_id = int(line.strip().partition(";")[0])
    return one


def _watch(cluster: DevCluster, one: Running) -> str | None:
    """Act on the job if it is time for that; its state once it has ended, flushed logs included."""
    one.seen = job(cluster, one.job_id)
    state = one.seen["JobState"]
    if state == "PENDING" and one.acted:
        return "REQUEUED"
    if state == "RUNNING" and one.how.act and not one.acted and one.how.ready in one.log:
        one.acted = True
        one.how.act(cluster, one.job_id)
    return state if state in FINAL else None


def job(cluster: DevCluster, job_id: int) -> dict[str, str]:
    """Fields of `scontrol show job`."""
    text = cluster.run("scontrol", "show", "job", "-o", str(job_id), as_root=True)
    return dict(pair.partition("=")[::2] for pair in text.split())


def _collect(cluster: DevCluster, one: Running, state: str, python: Path) -> Made:
    time.sleep(1)  # the last lines of slurmstepd come after the state
    if state == "REQUEUED":
        cluster.run("scancel", str(one.job_id))
    where = places(one.folder, python) | {cluster.root: "/var/spool/slurm"}
    return Made(
        log=scrub(one.log, where),
        state=state,
        exit_code=one.seen["ExitCode"],
        slurm=cluster.run("sbatch", "--version").split()[-1],
    )
