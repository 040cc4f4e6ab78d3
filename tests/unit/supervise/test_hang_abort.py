"""SIGABRT on several nodes: nothing gets it before the processes of all nodes are stopped."""

import json
import os
import queue
import signal
import socket
import subprocess
import sys
import threading
from collections.abc import Iterator, Sequence
from pathlib import Path

import pytest

from slurm_restart.core.hang_evidence import StuckProcess
from slurm_restart.core.record_reader import to_data
from slurm_restart.errors import SlurmUnavailableError
from slurm_restart.slurm.process import Call, Completed, Interactive
from slurm_restart.supervise import hang_abort
from slurm_restart.supervise.abort_probe import ALL, Aborted
from slurm_restart.supervise.hang_abort import HangAbort
from slurm_restart.supervise.job_environment import JobEnvironment

from .conftest import await_

HANG = 240.0
JOB = JobEnvironment(
    job_id=810_000_000 + os.getpid(), restarts=0, nodes=("csx1", "csx2", "csx3"), num_nodes=3,
    node_name="csx1",
)  # fmt: skip


def process(pid: int, node: str) -> StuckProcess:
    return StuckProcess(
        node=node, pid=pid, rank=None, name="python3", command="", state="S", threads="S",
        cpu_share=0.0, wait_channel="", system_call="", stack=None, handles_abort=True,
    )  # fmt: skip


class Probe:
    """One that prints what a test says; None is its end."""

    def __init__(self) -> None:
        self.printed: queue.SimpleQueue[str | None] = queue.SimpleQueue()
        self.input_ended = threading.Event()
        self.completed = Completed(code=0, stdout="", stderr="")

    def lines(self) -> Iterator[str]:
        return iter(self.printed.get, None)

    def end_input(self) -> None:
        self.input_ended.set()

    def result(self) -> Completed:
        return self.completed

    def print(self, *lines: str | None) -> None:
        for line in lines:
            self.printed.put(line)


class World:
    """A probe here, one on the other nodes, and a thread that has processes aborted."""

    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.here, self.elsewhere = Probe(), Probe()
        self.failing = False
        self.warnings: list[str] = []
        monkeypatch.setattr(hang_abort, "Interactive", lambda *_, **__: self.here)
        self.end = HangAbort(
            job=JOB,
            reaper=5,
            slurm=lambda: self,  # type: ignore[arg-type,return-value]
            warn=self.warnings.append,
        )
        self._thread: threading.Thread | None = None

    def start_on_nodes(self, *_: object, **__: object) -> Probe:
        if self.failing:
            raise SlurmUnavailableError("srun: no answer")
        return self.elsewhere

    def start(self, patience: float = HANG) -> None:
        processes = [process(2, "csx2"), process(1, "csx1"), process(3, "csx3")]
        arguments = (processes, ALL, patience)
        self._thread = threading.Thread(target=self.end.abort, args=arguments, daemon=True)
        self._thread.start()

    def join(self) -> None:
        assert self._thread is not None
        self._thread.join(HANG)
        assert not self._thread.is_alive()

    @property
    def probes(self) -> tuple[Probe, Probe]:
        return self.here, self.elsewhere


@pytest.fixture
def world(monkeypatch: pytest.MonkeyPatch) -> World:
    return World(monkeypatch)


def aborted(pid: int, node: str) -> str:
    return json.dumps(to_data(Aborted(node=node, pid=pid)))


def test_nothing_is_aborted_before_the_processes_of_all_nodes_are_stopped(world):
    world.start()
    world.here.print("stopped csx1")
    world.elsewhere.print("stopped csx3")
    await_(world.elsewhere.printed.empty, "the line to be read")
    assert not any(probe.input_ended.wait(0.05) for probe in world.probes)
    world.elsewhere.print("slurmstepd: odd", "stopped csx2")
    assert all(probe.input_ended.wait(HANG) for probe in world.probes)
    world.elsewhere.print(aborted(2, "csx2"), aborted(3, "csx3"), None)
    world.here.print(aborted(1, "csx1"), None)
    world.join()
    assert sorted(one.pid for one in world.end.aborted) == [1, 2, 3]
    assert world.warnings == []


def test_a_node_that_does_not_answer_delays_the_others_for_a_limited_time(world, monkeypatch):
    monkeypatch.setattr(hang_abort, "ABORT_TIMEOUT", 0.05)
    world.start(patience=0.05)
    world.here.print("stopped csx1", aborted(1, "csx1"), None)
    world.elsewhere.print("stopped csx2", aborted(2, "csx2"))
    world.join()
    # A probe that starts only now is told all the same.
    assert all(probe.input_ended.wait(HANG) for probe in world.probes)
    await_(lambda: len(world.end.aborted) == 2, "what the others have said")
    world.elsewhere.print(None)


def test_nodes_that_cannot_be_reached_are_not_waited_for(world):
    world.failing = True
    world.start()
    world.here.print("stopped csx1")
    assert world.here.input_ended.wait(HANG)
    world.here.completed = Completed(code=1, stdout="", stderr="odd\n")
    world.here.print(None)
    world.join()
    assert sorted(world.warnings) == [
        "not all stacks of csx1 can be printed: odd",
        "not all stacks of csx2, csx3 can be printed: srun: no answer",
    ]


def test_a_probe_that_starts_late_does_not_wait(world, monkeypatch):
    late = threading.Event()
    start = world.start_on_nodes
    monkeypatch.setattr(world, "start_on_nodes", lambda *_, **__: late.wait(HANG) and start())
    world.start(patience=0.05)
    world.here.print("stopped csx1", None)
    assert world.here.input_ended.wait(HANG)
    late.set()
    assert world.elsewhere.input_ended.wait(HANG)
    world.elsewhere.print(None)
    world.join()


# A rank that fails as soon as its peer is gone.
RANK = """
import os, socket, sys
peer = socket.socket(fileno=int(sys.argv[1]))
def receives():
    print(os.getpid(), flush=True)
    peer.recv(1)
    raise ConnectionError("peer went away")
receives()
"""


class Ranks:
    """Two ranks of two nodes that are both this machine, joined by a connection."""

    def __init__(self, folder: Path) -> None:
        self.errors = [folder / "errors0", folder / "errors1"]
        self.shells: list[subprocess.Popen[bytes]] = []
        """The parents of the ranks: one takes the place of the reaper."""
        self.stuck: list[StuckProcess] = []
        ends = socket.socketpair()
        for number, end in enumerate(ends):
            self._start(f"csx{number + 1}", end, self.errors[number])
        for end in ends:
            end.close()

    def _start(self, node: str, end: socket.socket, errors: Path) -> None:
        known = {"SLURM_JOB_ID": str(JOB.job_id), "SLURMD_NODENAME": node}
        with errors.open("wb") as stream:
            shell = subprocess.Popen(
                ["/bin/sh", "-c", '"$0" "$@"; :', sys.executable, "-c", RANK, str(end.fileno())],
                env={**known, "PYTHONFAULTHANDLER": "1"},
                pass_fds=[end.fileno()],
                stdout=subprocess.PIPE,
                stderr=stream,
            )
        assert shell.stdout is not None
        self.shells.append(shell)
        self.stuck.append(process(int(shell.stdout.readline()), node))

    def start_on_nodes(
        self, _job_id: int, nodes: Sequence[str], command: Sequence[str], *, timeout: float
    ) -> Interactive:
        # An srun that takes its time.
        late = ["/bin/sh", "-c", 'sleep 0.5; exec "$@"', "sh", *command]
        return Interactive(Call(late, {"SLURMD_NODENAME": nodes[0]}), timeout=timeout)

    def kill(self) -> None:
        for one, shell in zip(self.stuck, self.shells, strict=True):
            if shell.poll() is None:
                os.kill(one.pid, signal.SIGKILL)
            shell.wait()
            assert shell.stdout is not None
            shell.stdout.close()


def test_no_rank_notices_the_end_of_one_of_another_node(tmp_path):
    ranks = Ranks(tmp_path)
    try:
        warnings: list[str] = []
        end = HangAbort(
            job=JOB,
            reaper=ranks.shells[0].pid,
            slurm=lambda: ranks,  # type: ignore[arg-type,return-value]
            warn=warnings.append,
        )
        end.abort(ranks.stuck, ALL, HANG)
        assert {one.wait(HANG) for one in ranks.shells} == {0}
        assert warnings == []
        for errors in ranks.errors:
            text = errors.read_text()
            assert "in receives\n" in text
            assert "peer went away" not in text
    finally:
        ranks.kill()
