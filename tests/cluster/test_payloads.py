"""Real programs that fail in real ways, submitted as users do: the wired-up whole, without a hint.

All of them run side by side on one cluster. A run that is restarted ends well in its next attempt.
"""

import json
import os
import re
import shutil
import subprocess
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from typing import Any

import pytest

from contrib.testing.dev_cluster import DEAD_NODE_NOTICED
from contrib.testing.managed_cluster import ManagedCluster
from contrib.testing.waiting import await_

HERE = Path(__file__).parent / "payloads"
PROGRAMS = Path(__file__).parents[1] / "data" / "payloads"
SRUN = "srun --label --kill-on-bad-exit=0"
ENDS_OTHERS = "--kill-on-bad-exit=0 --wait=3"
"""srun ends all tasks after the first end. With --kill-on-bad-exit=1 it does so at once, and mostly
does not print the last words of the task that failed (measured: 53 of 60 runs)."""
GO = "launch-now"
Act = Callable[[ManagedCluster, list[str]], None]


@cache
def torch_python() -> str | None:
    """An interpreter with torch."""
    for python in (os.environ.get("CSX_TORCH_PYTHON"), "/usr/bin/python3"):
        if python and subprocess.run([python, "-c", "import torch"], check=False).returncode == 0:
            return python
    return None


@dataclass(frozen=True, kw_only=True)
class Payload:
    """A way to fail, and what is to become of it. `{torch}` in a command needs torch."""

    name: str
    command: str
    category: str
    restarted: bool
    why: str
    """Part of the reason that is given for the decision."""
    root: str | None = None
    """Regular expression of the root cause; None: nothing in the log tells it."""
    nodes: int = 1
    excludes: bool = False
    """Whether the job's second node is left out afterwards."""
    act: Act | None = None

    @property
    def needs(self) -> str | None:
        """Why this payload cannot run here; None: it can."""
        if "{torch}" in self.command and torch_python() is None:
            return "no interpreter with torch: neither CSX_TORCH_PYTHON nor /usr/bin/python3"
        if "faulty_disk" in self.command and shutil.which("gcc") is None:
            return "gcc is not installed"
        return None


def single(name: str, program: str, category: str, **more: Any) -> Payload:
    """One process."""
    return Payload(
        name=name, command=f"{SRUN} python {PROGRAMS}/{program}", category=category, **more
    )


def ranks(name: str, what: str, category: str, **more: Any) -> Payload:
    """Two ranks over gloo."""
    before = more.pop("before", SRUN)
    command = f"{before} --ntasks=2 {{torch}} {PROGRAMS}/ranks.py {what}"
    return Payload(name=name, command=command, category=category, nodes=2, **more)


def device(name: str, tasks: str, what: str) -> Payload:
    """Several tasks on two nodes; the last, on the second node, meets a faulty device."""
    return Payload(
        name=name,
        command=f"srun --overcommit {tasks} python {PROGRAMS}/devices.py {what}",
        category="hardware.accelerator",
        restarted=True,
        why="hardware.accelerator: restart 1/2",
        root="uncorrectable ECC error",
        nodes=2,
        excludes=True,
    )


def fault(what: str) -> Act:
    """Break the job's second node."""
    return lambda cluster, nodes: cluster.fault(what, nodes[1])


def lose_slurmd_and_go(cluster: ManagedCluster, nodes: list[str]) -> None:
    """Kill the slurmd of the job's second node, and let the job go on."""
    cluster.fault("kill-slurmd-only", nodes[1])
    (cluster.work / GO).touch()


PAYLOADS = (
    single(
        "missing_module",
        "program.py missing_module",
        "code",
        restarted=False,
        why="an error in the program",
        root="^0: ModuleNotFoundError",
    ),
    single(
        "bug_after_a_retry",
        "crash.py retry_then_bug",
        "code",
        restarted=False,
        why="an error in the program",
        root="^0: TypeError: object of type 'int' has no len",
    ),
    single(
        "unknown_option",
        "program.py unknown_option",
        "config",
        restarted=False,
        why="the configuration is wrong",
        root="error: unrecognized arguments: --sequence-paralel",
    ),
    Payload(
        name="missing_program",
        command=f"{SRUN} trainer-2.1",
        category="config",
        restarted=False,
        why="the configuration is wrong",
        root=r"execve\(\): trainer-2.1: No such file",
    ),
    single(
        "silent_exit",
        "crash.py silent_exit 7",
        "unknown",
        restarted=True,
        why="unknown: restart 1/2",
        root="task 0: Exited with exit code 7",
    ),
    single(
        "segfault",
        "crash.py segfault",
        "software.crash",
        restarted=True,
        why="software.crash: restart 1/2",
        root="^0: Fatal Python error: Segmentation fault|task 0: Segmentation fault",
    ),
    Payload(
        name="rank_killed",
        # Each rank runs until it is killed: the second by the test, the first by srun after that.
        command=f"srun --label --kill-on-bad-exit=1 python -u {PROGRAMS}/crash.py long 6000",
        category="unknown",
        restarted=True,
        why="unknown: restart 1/2",
        root="task 1: Killed",
        nodes=2,
        act=fault("kill-step"),
    ),
    single(
        "size_limit",
        "files.py limited",
        "storage.full",
        restarted=False,
        why="no space or quota is left",
        root=r"^0: OSError: \[Errno 27\]",
    ),
    Payload(
        name="disk_error",
        command=f"{HERE}/faulty_disk {PROGRAMS}/faulty_disk.c 5 python {PROGRAMS}/files.py write",
        category="storage.io",
        restarted=True,
        why="storage.io: restart 1/2",
        root=r"^OSError: \[Errno 5\]",
    ),
    single(
        "out_of_memory",
        "files.py memory_error",
        "oom_host",
        restarted=True,
        why="oom_host: restart 1/2",
        root="^0: MemoryError",
    ),
    single(
        "bad_record",
        "data.py not_utf8",
        "data.corrupt",
        restarted=True,
        why="data.corrupt: restart 1/2",
        root="^0: UnicodeDecodeError",
    ),
    single(
        "not_a_number",
        "data.py own_nan_check",
        "numeric.nan",
        restarted=True,
        why="numeric.nan: restart 1/2",
        root="^0: FloatingPointError: loss is nan at step 41",
    ),
    single(
        "truncated_checkpoint",
        "files.py hdf5_truncated",
        "checkpoint.corrupt",
        restarted=True,
        why="checkpoint.corrupt: restart 1/2",
        root="truncated file",
    ),
    Payload(
        name="unauthorized",
        command=f"{SRUN} python {HERE}/answered.py 401",
        category="auth",
        restarted=False,
        why="a credential was refused",
        root="HTTP Error 401",
    ),
    Payload(
        name="service_down",
        command=f"{SRUN} python {HERE}/answered.py 503",
        category="dependency.service",
        restarted=True,
        why="dependency.service: restart 1/2",
        root="HTTP Error 503",
    ),
    Payload(
        name="node_down",
        command=f"{SRUN} python -u {PROGRAMS}/crash.py long 6000",
        category="hardware.node",
        restarted=True,
        why="hardware.node: ",
        nodes=2,
        excludes=True,
        act=fault("kill-slurmd"),
    ),
    Payload(
        name="launch_failed",
        command=f"{HERE}/launch_late ../{GO} --label python {PROGRAMS}/crash.py long",
        category="hardware.node",
        restarted=True,
        why="hardware.node: ",
        root="Task launch for .* failed on node",
        nodes=2,
        excludes=True,
        act=lose_slurmd_and_go,
    ),
    device("device_of_a_rank", f"--ntasks=4 {ENDS_OTHERS}", "rank"),
    device("device_of_a_labelled_task", "--ntasks=4 --label --kill-on-bad-exit=0", "peers"),
    device("device_in_torchruns_table", f"--ntasks=2 {ENDS_OTHERS}", "table"),
    device("device_behind_a_host_name", "--ntasks=4 --kill-on-bad-exit=0", "prefixed"),
    device("device_in_nccl", "--ntasks=4 --kill-on-bad-exit=0", "nccl"),
    ranks(
        "torch_bug",
        "bug",
        "code",
        restarted=False,
        why="an error in the program",
        root=r"^1: (\[rank1\]: )?AttributeError: 'dict' object has no attribute 'tokens'",
    ),
    ranks(
        "torch_segfault",
        "segfault",
        "software.crash",
        restarted=True,
        why="software.crash: restart 1/2",
        root="^1: Fatal Python error: Segmentation fault|task 1: Segmentation fault",
    ),
    ranks(
        "torch_stall",
        "stall",
        "hang",
        restarted=True,
        why="hang: restart 1/2",
        root="Timed out waiting 20000ms for recv",
        before=f"env GLOO_TIMEOUT=20 {SRUN}",
    ),
    ranks(
        "torch_port_in_use",
        "nothing",
        "network.rendezvous",
        restarted=True,
        why="network.rendezvous: restart 1/2",
        root="EADDRINUSE",
        before=f"{HERE}/port_in_use --label --kill-on-bad-exit=1",
    ),
    ranks(
        "torch_truncated_shard",
        "truncated_shard",
        "checkpoint.corrupt",
        restarted=True,
        why="checkpoint.corrupt: restart 1/2",
        root=r"^1: (\[rank1\]: )?RuntimeError: PytorchStreamReader",
    ),
)


@dataclass(frozen=True, kw_only=True)
class Outcome:
    """What has become of a payload."""

    classified: dict[str, Any]
    """What `csx-restart classify --job` says of the job as it has ended."""
    state: str
    told: dict[str, Any]
    """What `csx-restart explain --json` says."""
    nodes: list[str]
    """The nodes of the first attempt."""
    excluded: set[str]

    @property
    def ends(self) -> list[dict[str, Any]]:
        return self.told["ends"]

    @property
    def root(self) -> str | None:
        cause = self.told["attempts"][0].get("root_cause")
        return cause["text"] if cause else None


@pytest.fixture(scope="module")
def cluster_options() -> dict[str, object]:
    return {"nodes": 24, "options": DEAD_NODE_NOTICED}


@pytest.fixture(scope="module")
def outcomes(_booted: ManagedCluster) -> Iterator[dict[str, Outcome]]:
    cluster = _booted
    mine = [payload for payload in PAYLOADS if payload.needs is None]
    # Those whose node is broken come first, so that no other job has been on such a node: one that
    # ended there shortly before would be classified as the node's failure.
    mine.sort(key=lambda payload: payload.act is None)
    jobs = {payload.name: submit(cluster, payload) for payload in mine}
    for one in mine:
        if one.act:
            act(cluster, one, jobs[one.name])
    found = {}
    for name, job_id in jobs.items():
        state = cluster.await_end(job_id)
        told = json.loads(cluster.run("csx-restart", "explain", str(job_id), "--json"))
        found[name] = Outcome(
            classified=json.loads(
                cluster.run("csx-restart", "classify", "--json", "--job", str(job_id))
            ),
            state=state,
            told=told,
            nodes=told["ends"][0]["nodes"],
            excluded=cluster.excluded(job_id),
        )
    return found


def submit(cluster: ManagedCluster, payload: Payload) -> int:
    command = payload.command.replace("{torch}", torch_python() or "")
    config = cluster.config(
        f"{payload.name}.yaml",
        command=f"{HERE}/once {command}",
        nodes=payload.nodes,
        min_nodes=payload.nodes,
        restarts=2,
        model_dir=f"./{payload.name}",
    )
    [job_id] = cluster.csx_sbatch(config)
    return job_id


def act(cluster: ManagedCluster, payload: Payload, job_id: int) -> None:
    """Do to a payload what it needs once it has said that it is at step 3."""
    assert payload.act is not None
    nodes = cluster.await_running(job_id)

    def ready() -> bool:
        output = cluster.run_dir(cluster.work / payload.name) / "attempts" / "0" / "output.log"
        return output.exists() and "step 3 " in output.read_text()

    await_(ready, f"{payload.name}: step 3")
    payload.act(cluster, nodes)


def test_there_are_twenty_ways_to_fail() -> None:
    assert len({payload.name for payload in PAYLOADS}) >= 20
    assert len({payload.category for payload in PAYLOADS}) >= 12


@pytest.mark.parametrize("payload", PAYLOADS, ids=lambda payload: payload.name)
def test_a_payload(payload: Payload, outcomes: dict[str, Outcome]) -> None:
    if payload.needs is not None:
        pytest.skip(payload.needs)
    outcome = outcomes[payload.name]
    first = outcome.ends[0]
    restarted = first["action"] in {"requeue", "adjust"}
    assert (first["category"], restarted) == (payload.category, payload.restarted), first
    assert payload.why in first["reason"]
    assert outcome.state == ("COMPLETED" if payload.restarted else "FAILED")
    assert len(outcome.ends) == 1 + payload.restarted
    ended = payload.category if not payload.restarted else "completed"
    assert outcome.classified["category"] == ended
    expected = {outcome.nodes[1]} if payload.excludes else set()
    assert outcome.excluded == expected
    assert set(first["excluded"]) == expected
    if payload.root is not None:
        assert outcome.root is not None
        assert re.search(payload.root, outcome.root)
