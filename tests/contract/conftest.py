"""One real cluster for the session, and every back end on it.

CSX_SLURM_PREFIX=/opt/slurm runs the suite against another Slurm than the system's.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contrib.testing.dev_cluster import DEAD_NODE_NOTICED, DevCluster, missing
from slurm_restart.slurm.choose_backend import COMMANDS, PYSLURM, pyslurm_obstacle
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.interface import Slurm
from slurm_restart.slurm.pyslurm_backend import PyslurmBackend

PREFIX = Path(os.environ["CSX_SLURM_PREFIX"]) if "CSX_SLURM_PREFIX" in os.environ else None

PATIENCE = 120.0
"""Seconds that Slurm has for an answer, on a busy machine too."""
QUICK = "SchedulerParameters=batch_sched_delay=0,sched_interval=2"
OPTIONS = ("--preempt", "REQUEUE", "--set", "KillWait=1", "--set", QUICK, *DEAD_NODE_NOTICED)
DISK = ("--set", "GresTypes=disk", "--node-set", "Gres=disk:2048")
"""A generic resource whose count Slurm shows with a suffix."""


class OnlyPyslurm(PyslurmBackend):
    """Fails the test in place of a fall-back to the commands, which later tests would use too."""

    def _give_up(self, error: Exception) -> None:
        pytest.fail(f"pyslurm: {error}")


@pytest.fixture(scope="session")
def booted() -> Iterator[DevCluster]:
    if PREFIX is None and (obstacle := missing()):
        pytest.skip(obstacle)
    with DevCluster(nodes=3, prefix=PREFIX, options=(*OPTIONS, *DISK)) as cluster:
        yield cluster


@pytest.fixture
def cluster(booted: DevCluster) -> Iterator[DevCluster]:
    """The cluster, idle and without faults before and after each test."""
    yield booted
    booted.mend()


@pytest.fixture(scope="session")
def commands(booted: DevCluster) -> Commands:
    return Commands(booted.bin_dir, booted.conf, timeout=PATIENCE)


@pytest.fixture(scope="session", params=[COMMANDS, PYSLURM])
def backend(request: pytest.FixtureRequest, commands: Commands) -> str:
    if request.param == PYSLURM and (obstacle := pyslurm_obstacle(commands)):
        pytest.skip(obstacle)
    return request.param


@pytest.fixture(scope="session")
def make(backend: str, booted: DevCluster) -> Iterator[Callable[[float], Slurm]]:
    """Return a function that makes the back end with a deadline in seconds."""
    made: list[PyslurmBackend] = []

    def build(timeout: float) -> Slurm:
        if backend == COMMANDS:
            return Commands(booted.bin_dir, booted.conf, timeout)
        made.append(OnlyPyslurm(booted.bin_dir, booted.conf, timeout))
        return made[-1]

    yield build
    for slurm in made:
        slurm.close()


@pytest.fixture(scope="session")
def slurm(make: Callable[[float], Slurm]) -> Slurm:
    return make(PATIENCE)
