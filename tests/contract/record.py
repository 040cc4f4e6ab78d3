"""Records what Slurm's commands print, for the unit tests: `python -m tests.contract.record DIR`.

CSX_SLURM_PREFIX=/opt/slurm records another Slurm than the system's. The files are what the commands
printed, except that runs of more than two spaces, squeue's padding, are cut to two, and that the
work directory is `WORK`. Where pyslurm of that release is installed, `*.pyslurm.json` holds what it
shows of the same jobs and nodes: the attributes that the package reads.
"""

import importlib
import json
import os
import re
import sys
import time
from collections.abc import Callable
from functools import partial
from pathlib import Path
from typing import Any

from contrib.testing.dev_cluster import DevCluster
from slurm_restart.slurm import parse, pyslurm_facts
from slurm_restart.slurm.choose_backend import pyslurm_obstacle
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.queries import BASE_STATES_SINCE
from tests.contract.conftest import OPTIONS, PREFIX

WORK = "/scratch/nobody/work"
"""Stands for the cluster's own work directory, which has another path each time."""
MARK = "~0123456789abcdef~"
HOSTILE = "a|b\nJobId=9 JobState=COMPLETED Restarts=99"


class Reads:
    """An object of pyslurm's that notes the attributes that are read of it, with their values."""

    def __init__(self, shown: object) -> None:
        self.shown = shown
        self.values: dict[str, Any] = {}

    def __getattr__(self, name: str) -> object:
        self.values[name] = getattr(self.shown, name)
        return self.values[name]


class Recorder:
    """Writes the answers about jobs of one cluster into a directory."""

    def __init__(self, cluster: DevCluster, directory: Path) -> None:
        self.cluster = cluster
        self.directory = directory / "{}.{:02}".format(*cluster.release)
        self.directory.mkdir(parents=True, exist_ok=True)
        cluster.environment["SLURM_TIME_FORMAT"] = "%s"
        os.environ["SLURM_CONF"] = str(cluster.conf)  # pyslurm reads it when it is imported
        obstacle = pyslurm_obstacle(Commands(cluster.bin_dir, cluster.conf))
        self.pyslurm: Any = None if obstacle else importlib.import_module("pyslurm")

    def write(self, name: str, *command: str, **env: str) -> None:
        before = dict(self.cluster.environment)
        self.cluster.environment.update(env)
        text = self.cluster.run(*command, as_root=True)
        self.cluster.environment = before
        text = text.replace(str(self.cluster.work), WORK)
        (self.directory / name).write_text(re.sub(" {3,}", "  ", text))

    def job(self, name: str, job_id: int) -> None:
        squeue = ("squeue", "-h", "-a", "-t", "all", "-j", str(job_id))
        self.write(f"{name}.rows", *squeue, SQUEUE_FORMAT=parse.job_format(MARK))
        self.write(f"{name}.details", *squeue, SQUEUE_FORMAT2=parse.detail_format(MARK))
        if self.cluster.release >= BASE_STATES_SINCE:
            only_state = ("squeue", "-j", str(job_id), "--only-job-state", "--json")
            self.write(f"{name}.state.json", *only_state)
        if self.pyslurm:
            to_job = partial(pyslurm_facts.to_job, now=time.time())
            self.write_values(name, to_job, self.pyslurm.Job.load(job_id))

    def nodes(self) -> None:
        self.write("nodes.txt", "scontrol", "show", "node", "-o")
        for node in self.pyslurm.Nodes.load().values() if self.pyslurm else ():
            self.write_values(node.name, pyslurm_facts.to_node, node)

    def write_values(self, name: str, convert: Callable[[Any], object], shown: object) -> None:
        reads = Reads(shown)
        convert(reads)
        text = json.dumps(reads.values, indent=1).replace(str(self.cluster.work), WORK)
        (self.directory / f"{name}.pyslurm.json").write_text(text + "\n")

    def while_completing(self, name: str, script: str, end: Callable[[int], object]) -> None:
        self.cluster.fault("slow-epilog", "csx1", "60")
        job_id = self.cluster.submit(script, "-w", "csx1", "-o", "/dev/null")
        self.cluster.await_state(job_id, "RUNNING", "COMPLETING")
        end(job_id)
        self.cluster.await_state(job_id, "COMPLETING")
        self.job(name, job_id)
        self.cluster.fault("mend-epilog", "csx1")


def record(recorder: Recorder) -> None:
    """Jobs in all states, and nodes."""
    cluster = recorder.cluster

    def as_root(*command: str) -> str:
        return cluster.run(*command, as_root=True)

    hostile = (f"-J{HOSTILE}", f"--comment={HOSTILE}", f"--wckey={HOSTILE}")
    running = cluster.submit(
        "sleep 300", "-N2", "-xcsx3", "-t1-02:03:00", "-Aphysics", "-oout-%j-%u.log", *hostile
    )
    cluster.await_state(running, "RUNNING")
    recorder.job("running-hostile", running)
    held = cluster.submit("true", "-H", "-N2-3", "-p", "main,high", "--no-requeue", "-t", "90:00")
    as_root("scontrol", "update", f"JobId={held}", "AdminComment=held | for a test", "Comment=c")
    recorder.job("held", held)
    array = cluster.submit("true", "--array=1-3", "--begin=now+1hour")
    recorder.job("array", array)
    task_0 = cluster.submit("sleep 300", "--array=0", "-t", "60", "-o", "/dev/null")
    cluster.await_state(task_0, "RUNNING")
    recorder.job("array-task-0", task_0)
    cluster.mend()
    for name, script in (("failed-5", "exit 5"), ("killed-9", "kill -9 $$"), ("completed", "true")):
        job_id = cluster.submit(script, "-o", "/dev/null")
        cluster.await_state(job_id, "FAILED", "COMPLETED")
        recorder.job(name, job_id)
    recorder.while_completing("completing-failed", "exit 7", lambda _: None)
    recorder.while_completing(
        "completing-cancelled", "sleep 300", lambda job: as_root("scancel", str(job))
    )
    recorder.while_completing(
        "completing-requeued", "sleep 300", lambda job: as_root("scontrol", "requeue", str(job))
    )
    cluster.mend()
    shrunk = cluster.submit("sleep 300", "-N3", "--exclusive", "-o", "/dev/null")
    cluster.await_state(shrunk, "RUNNING")
    as_root("scontrol", "requeue", str(shrunk))
    cluster.await_state(shrunk, "PENDING")
    as_root(
        "scontrol", "update", f"JobId={shrunk}", "NumNodes=2-2", "NumCPUs=2", "ExcNodeList=csx1"
    )
    recorder.job("requeued-shrunk", shrunk)
    record_nodes(recorder)


def record_nodes(recorder: Recorder) -> None:
    """Nodes in several states, and a reservation."""
    cluster = recorder.cluster

    def update(node: str, *fields: str) -> None:
        cluster.run("scontrol", "update", f"NodeName={node}", *fields, as_root=True)

    update("csx1", "AvailableFeatures=ib,gen2", "ActiveFeatures=ib,gen2")
    update("csx2", "State=DRAIN", "Reason=fan 2 | [x@1] State=IDLE")
    update("csx3", "State=DOWN", "Reason=board")
    update("csx3", "State=DRAIN", "Reason=board replaced", "Comment=by hand")
    recorder.nodes()
    fields = ("Nodes=csx[1-2]", "Users=root", "StartTime=now", "Duration=10", "Flags=ignore_jobs")
    create = ("scontrol", "create", "reservation", "ReservationName=maint")
    cluster.run(*create, *fields, as_root=True)
    recorder.write("reservation.txt", "scontrol", "show", "reservation", "-o", "maint")
    recorder.write("version.txt", "scontrol", "--version")


if __name__ == "__main__":
    with DevCluster(nodes=3, prefix=PREFIX, options=OPTIONS) as booted:
        record(Recorder(booted, Path(sys.argv[1])))
