"""One real cluster for the session, and every back end on it.

CSX_SLURM_PREFIX=/opt/slurm runs the suite against another Slurm than the system's.
"""

import os
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from contrib.testing.dev_cluster import DEAD_NODE_NOTICED, DevCluster, missing
from slurm_restart.slurm.backend import COMMANDS, RPC, rpc_obstacle
from slurm_restart.slurm.commands import Commands
from slurm_restart.slurm.interface import Slurm
from slurm_restart.slurm.rpc import Rpc

PREFIX = Path(os.environ["CSX_SLURM_PREFIX"]) if "CSX_SLURM_PREFIX" in os.environ else None

QUICK = "SchedulerParameters=batch_sched_delay=0,sched_interval=2"
OPTIONS = ("--preempt", "REQUEUE", "--set", "KillWait=1", "--set", QUICK, *DEAD_NODE_NOTICED)


@pytest.fixture(scope="session")
def booted() -> Iterator[DevCluster]:
    if PREFIX is None and (obstacle := missing()):
        pytest.skip(obstacle)
    with DevCluster(nodes=3, prefix=PREFIX, options=OPTIONS) as cluster:
        yield cluster


@pytest.fixture
def cluster(booted: DevCluster) -> Iterator[DevCluster]:
    """The cluster, idle and whole before and after."""
    yield booted
    booted.mend()


@pytest.fixture(scope="session")
def commands(booted: DevCluster) -> Commands:
    return Commands(booted.bin_dir, booted.conf, timeout=20)


@pytest.fixture(scope="session", params=[COMMANDS, RPC])
def backend(request: pytest.FixtureRequest, commands: Commands) -> str:
    if request.param == RPC and (obstacle := rpc_obstacle(commands)):
        pytest.skip(obstacle)
    return request.param


@pytest.fixture(scope="session")
def make(backend: str, booted: DevCluster) -> Iterator[Callable[[float], Slurm]]:
    """Makes the back end with a deadline in seconds."""
    made: list[Rpc] = []

    def build(timeout: float) -> Slurm:
        commands = Commands(booted.bin_dir, booted.conf, timeout)
        if backend == COMMANDS:
            return commands
        made.append(Rpc(commands, booted.conf, timeout))
        return made[-1]

    yield build
    for one in made:
        one.close()


@pytest.fixture(scope="session")
def slurm(make: Callable[[float], Slurm]) -> Slurm:
    return make(20)
