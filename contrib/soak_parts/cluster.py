"""The cluster of a soak test: several threads use it, and its slurmctld is killed at times."""

import os
import threading
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

from contrib.testing.dev_cluster import DEAD_NODE_NOTICED
from contrib.testing.managed_cluster import FAST, ManagedCluster

SWEEP_EVERY = 2.0
PATIENCE = 90.0


class SoakCluster(ManagedCluster):
    """A managed cluster whose commands wait while its slurmctld is known to be dead."""

    def __init__(self, nodes: int) -> None:
        # The facts of every job are wanted at the end, and a lost end soon.
        options = ("--set", "MinJobAge=7200", *DEAD_NODE_NOTICED)
        super().__init__(
            nodes=nodes, policy=FAST, hook={"stale_running_after": 10}, options=options
        )
        self.answering = threading.Event()
        self.answering.set()
        self.quiet = threading.Lock()
        """Held by a thread that submits, or during which no other may submit."""
        self.harmed: set[str] = set()
        """Nodes on which a fault was injected."""
        self.sweeps = 0
        self.failed_sweeps: list[str] = []
        self.deaths = 0
        """Incremented when slurmctld is killed, and when it answers again."""

    def run(self, *command: str, **options: Any) -> str:
        """Run a command of the cluster; repeat it if slurmctld was killed meanwhile."""
        return str(self._patiently(lambda: super(SoakCluster, self).run(*command, **options)))

    def fault(self, *arguments: str) -> None:
        """Break or repair something; repeat it if slurmctld was killed meanwhile."""
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

    def kill_slurmctld_for(self, seconds: float) -> None:
        """Kill slurmctld, and start it again after that many seconds; others' commands wait."""
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
        """Run the reconciler every SWEEP_EVERY seconds, as the systemd timer of a site does."""
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
        """Return the live processes of a job, found by their environment: pid to command line."""
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
