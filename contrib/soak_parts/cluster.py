"""The cluster of a soak: several threads use it, and its slurmctld is killed now and then."""

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any

from tests.managed import FAST, ManagedCluster

if TYPE_CHECKING:
    from contrib.soak_parts.run import Run

SWEEP_EVERY = 2.0
PATIENCE = 90.0
SETTLED = 6.0
"""Seconds after a submission in which a killed slurmctld may forget it (measured: a few)."""


class SoakCluster(ManagedCluster):
    """A managed cluster whose commands wait while its slurmctld is known to be dead."""

    def __init__(self, nodes: int) -> None:
        # The facts of every job are wanted at the end, and a lost end soon.
        options = ("--set", "MinJobAge=7200")
        super().__init__(
            nodes=nodes, policy=FAST, hook={"stale_running_after": 10}, options=options
        )
        self.answering = threading.Event()
        self.answering.set()
        self.quiet = threading.Lock()
        """Held by whoever submits, or must not have others submit."""
        self.harmed: set[str] = set()
        """Nodes that some fault has struck."""
        self.sweeps = 0
        self.failed_sweeps: list[str] = []
        self.deaths = 0
        """Counts up when slurmctld dies, and when it is back."""

    def run(self, *command: str, **options: Any) -> str:
        """As the parent; once more where slurmctld was killed meanwhile."""
        return self._patiently(lambda: super(SoakCluster, self).run(*command, **options))

    def fault(self, *arguments: str) -> None:
        """As the parent; once more where slurmctld was killed meanwhile."""
        self._patiently(lambda: super(SoakCluster, self).fault(*arguments))

    def _patiently(self, act: Callable[[], Any]) -> Any:
        while True:
            self.answering.wait(PATIENCE)
            deaths = self.deaths
            try:
                return act()
            except AssertionError:
                if deaths == self.deaths:
                    raise

    def submit_run(self, config: Path) -> list[int]:
        """Submit with csx-sbatch, one run at a time."""
        with self.quiet:
            return self.csx_sbatch(config)

    @contextmanager
    def without_slurmctld(self, run: "Run") -> Iterator[None]:
        """Submit, and kill slurmctld after what the body does; it is back within seconds."""
        with self.quiet:
            run.jobs = self.csx_sbatch(run.config)
            run.await_state("RUNNING")
            time.sleep(SETTLED)
            yield
            time.sleep(run.draw.uniform(0, 1.2))
            self._bear_without(run.draw.uniform(0, 3))

    def _bear_without(self, seconds: float) -> None:
        self.answering.clear()
        self.deaths += 1
        try:
            super().fault("kill-ctld")
            time.sleep(seconds)
            super().fault("start-ctld")
        finally:
            self.deaths += 1
            self.answering.set()

    def sweep_until(self, finished: threading.Event) -> None:
        """What the systemd timer does on a site."""
        while not finished.wait(SWEEP_EVERY):
            self.answering.wait(PATIENCE)
            deaths = self.deaths
            try:
                found = self.reconcile()
                self.sweeps += 1
                if found["problems"]:
                    self.failed_sweeps.append(f"{found['problems']} problems")
            except AssertionError as error:
                if deaths == self.deaths:
                    self.failed_sweeps.append(str(error))

    def processes_of(self, job_id: int) -> dict[int, str]:
        """The processes of a job that are alive, by their environment."""
        wanted = f"SLURM_JOB_ID={job_id}".encode()
        found = {}
        for process in Path("/proc").iterdir():
            if not process.name.isdecimal():
                continue
            try:
                environment = (process / "environ").read_bytes()
                command = (process / "cmdline").read_bytes()
            except OSError:
                continue  # it has ended
            ours = os.fsencode(self.root) in environment
            if ours and wanted in environment.split(b"\0") and command:
                found[int(process.name)] = command.replace(b"\0", b" ").decode(errors="replace")
        return found
