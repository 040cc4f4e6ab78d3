"""One run of a soak: submitted, struck at a random moment, watched until it has ended for good."""

import random
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import Any

import yaml

from contrib.soak_parts.cluster import SoakCluster
from contrib.testing.managed_cluster import EXAMPLES

STEPS, SECOND_STEPS, EVERY = 120, 150, 5
PACE = 0.1
MOMENT = 10.0
"""A fault strikes at most so many seconds after the start."""
PATIENCE = 300.0
STABLE = 6.0
"""A final state that lasts so long, three sweeps, is believed."""


FINAL = frozenset({"COMPLETED", "FAILED", "CANCELLED", "TIMEOUT", "NODE_FAIL"})
Strike = Callable[["Run"], None]


class TooLateError(Exception):
    """The run ended before the fault could strike it."""


@dataclass(frozen=True, kw_only=True)
class Fault:
    """A fault and what it demands.

    `restarts`: how many a run has that must stop, by its max_num_restarts; None: it must finish.
    `fails`: what the example trainer does to itself. `nodes`: the smallest run that it needs.
    """

    strike: Strike | None = None
    mend: Strike | None = None
    nodes: int = 1
    state: str = "COMPLETED"
    restarts: Callable[[int], int] | None = None
    fails: str | None = None
    config: tuple[tuple[str, Any], ...] = ()
    submits: bool = False
    """`strike` submits the run itself."""
    forgettable: bool = False
    """Slurm may forget what was done before the plugin hears of it; then the run finishes."""


@dataclass(kw_only=True)
class Run:
    """A run, its fault, and what became of it."""

    number: int
    name: str
    fault: Fault
    cluster: SoakCluster
    draw: random.Random
    nodes: int = 1
    phases: int = 1
    most: int = 3
    """max_num_restarts."""
    jobs: list[int] = field(default_factory=list)
    struck: list[str] = field(default_factory=list)
    """Nodes that the fault has broken."""
    states: list[str] = field(default_factory=list)
    moment: float | None = None
    seconds: float = 0.0
    deaths: int = 0
    """How often slurmctld died or came back during the run."""
    wrong: list[str] = field(default_factory=list)

    @property
    def job(self) -> int:
        """The job of the first phase, which the fault strikes."""
        return self.jobs[0]

    @property
    def model_dir(self) -> Path:
        """Where its checkpoints are."""
        return self.cluster.work / f"run-{self.number}"

    def ends(self) -> list[dict[str, Any]]:
        """The first phase's ends on record, each once: as it was judged last."""
        if not self.jobs:
            return []
        ends = self.cluster.ends(self.job)
        return list({(end["submit_time"], end.get("attempt")): end for end in ends}.values())

    # --- nodes -----------------------------------------------------------------------------------

    def _held(self) -> list[str]:
        """Its nodes, the batch host first."""
        self.await_state("RUNNING")
        nodes = self.cluster.nodes_of(self.job)
        if not nodes:
            raise TooLateError(self.job)
        return nodes

    def a_node(self) -> str:
        """One of the run's nodes."""
        return self.draw.choice(self._held())

    def batch_host(self) -> str:
        """The node of the supervisor."""
        return self._held()[0]

    def another_node(self) -> str:
        """A node that is not the batch host."""
        return self.draw.choice(self._held()[1:])

    def harm(self, node: str) -> str:
        """Note that a node is struck."""
        self.struck.append(node)
        self.cluster.harmed.add(node)
        return node

    # --- its life --------------------------------------------------------------------------------

    @cached_property
    def config(self) -> Path:
        """The trainer's config."""
        path = self.cluster.config(
            f"run-{self.number}.yaml",
            command=self._command(),
            nodes=self.nodes,
            min_nodes=1,
            steps=STEPS,
            every=EVERY,
            restarts=self.most,
            model_dir=str(self.model_dir),
            **dict(self.fault.config),
        )
        if self.phases > 1:
            data = yaml.safe_load(path.read_text())
            first, second = data["trainer"], yaml.safe_load(path.read_text())["trainer"]
            second["init"]["loop"]["max_steps"] = SECOND_STEPS
            data["trainer"] = [{"trainer": first}, {"trainer": second}]
            path.write_text(yaml.safe_dump(data))
        return path

    def _command(self) -> str:
        srun = "srun --nodes={nodes} --ntasks-per-node=1 --kill-on-bad-exit=1 --wait=15 "
        fails = f"CSX_EXAMPLE_FAIL={self.fault.fails} " if self.fault.fails else ""
        pace = f"env OMP_NUM_THREADS=1 CSX_EXAMPLE_STEP_SECONDS={PACE} {fails}"
        return f"{pace}{srun if self.nodes > 1 else ''}{EXAMPLES}/cszoo fit {{config}}"

    def live(self) -> None:
        """From the submission to the end."""
        begun, deaths = time.monotonic(), self.cluster.deaths
        if not self.fault.submits:
            self.jobs = self.cluster.submit_run(self.config)
        try:
            self._strike()
            self.states = [self.await_end(job) for job in self.jobs]
        finally:
            self.seconds = time.monotonic() - begun
            self.deaths = self.cluster.deaths - deaths
            if self.fault.mend:
                self.fault.mend(self)

    def _strike(self) -> None:
        strike = self.fault.strike
        if strike is None:
            return
        if self.fault.submits:
            strike(self)
            return
        self.await_state("RUNNING")
        # Every moment of an attempt has its own way to go wrong.
        self.moment = self.draw.uniform(0, MOMENT)
        time.sleep(self.moment)
        try:
            strike(self)
        except TooLateError:
            self.moment = None

    def await_state(self, *states: str) -> None:
        """Wait until the first phase is in one of the states, or in a final one."""
        deadline = time.monotonic() + PATIENCE
        while (state := self.cluster.state(self.job)) not in {*states, *FINAL}:
            if time.monotonic() > deadline:
                raise AssertionError(f"job {self.job} stays {state}, is not {'|'.join(states)}")
            time.sleep(0.3)

    def await_end(self, job: int) -> str:
        """The state in which a job has ended for good."""
        deadline, since, last = time.monotonic() + PATIENCE, time.monotonic(), ""
        while True:
            state, now = self.cluster.state(job), time.monotonic()
            if state != last:
                since, last = now, state
            if state in FINAL and now - since > STABLE:
                return state
            if now > deadline:
                raise AssertionError(f"job {job} does not end: {state or 'unknown to Slurm'}")
            time.sleep(0.5)
