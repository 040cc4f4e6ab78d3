"""Gather what the processes of a hung run do, on every node of the job, and write it down."""

import threading
from collections.abc import Callable
from pathlib import Path

from slurm_restart.core.hang import HangReport
from slurm_restart.core.hang_evidence import StuckProcess, blamed_nodes, describe, stopped
from slurm_restart.core.record_reader import parse_json, read_object
from slurm_restart.errors import RecordError, SlurmError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import read_bounded
from slurm_restart.slurm.interface import Slurm
from slurm_restart.supervise.child_process import run_module
from slurm_restart.supervise.hang_stacks import write_stacks
from slurm_restart.supervise.job_environment import JobEnvironment
from slurm_restart.supervise.job_processes import BUSY_SHARE
from slurm_restart.supervise.node_probe import arguments_here, command_elsewhere

LOCAL_TIMEOUT = 30.0
"""Seconds for the look at this node; that at others has the limit of `run_on_nodes`."""
TIMEOUT = 60.0
"""Seconds for everything: then the run is ended with what has been gathered."""
MAX_BYTES = 16 << 20
"""Of what one node reports."""
_PROBE = "slurm_restart.supervise.hang_probe"


@frozen
class HangReporter:
    """Gathers the report of a hang.

    Args:
        job: the job.
        reaper: process id of the reaper.
        directory: of the attempt's reports; it is made.
        slurm: returns the cluster.
        warn: called with a message about a node that cannot be looked at.
    """

    job: JobEnvironment
    reaper: int
    directory: Path
    slurm: Callable[[], Slurm]
    warn: Callable[[str], None]

    def report(self, reason: str) -> HangReport:
        """Return the report, within `TIMEOUT` seconds, and write the stacks into a file."""
        found: dict[str, list[StuckProcess]] = {}
        threads = [
            threading.Thread(target=look, args=(found,), name="hang-report", daemon=True)
            for look in (self._look_here, self._look_at_others)
        ]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(TIMEOUT / 2)
        processes = tuple(process for part in list(found.values()) for process in part)
        report = HangReport(
            reason=reason,
            lines=describe(processes),
            processes=processes,
            blamed=blamed_nodes(processes, self.job.nodes),
            busy_elsewhere=any(
                process.cpu_share >= BUSY_SHARE for process in found.get("others", ())
            ),
            stopped=stopped(processes),
        )
        # The file system of the run directory may be what the run hangs on.
        writer = threading.Thread(
            target=write_stacks, args=(self.directory, report, self.warn), daemon=True
        )
        writer.start()
        writer.join(TIMEOUT / 4)
        return report

    def _look_here(self, found: dict[str, list[StuckProcess]]) -> None:
        arguments = (*arguments_here(self.job, self.reaper), "")
        try:
            done = run_module(_PROBE, arguments, timeout=LOCAL_TIMEOUT)
            if done.code != 0:
                self.warn(f"the processes cannot be looked at: {done.stderr.strip()[-300:]}")
            found["here"] = parse(done.stdout.encode())
        except OSError as error:
            self.warn(f"the processes cannot be looked at: {error}")

    def _look_at_others(self, found: dict[str, list[StuckProcess]]) -> None:
        job_id, here = self.job.job_id, self.job.node_name
        others = [node for node in self.job.nodes if node != here]
        if not others or job_id is None or here is None:
            return
        # A node that is frozen keeps the step from ending: what the others say is in files, too.
        command = command_elsewhere(_PROBE, self.job, (str(self.directory),))
        try:
            self.directory.mkdir(exist_ok=True)
            for node in others:  # what an earlier look has written says nothing of this one
                (self.directory / f"{node}.jsonl").unlink(missing_ok=True)
            found["others"] = parse(self.slurm().run_on_nodes(job_id, others, command).encode())
        except SlurmError as error:
            self.warn(f"not all nodes can be looked at: {error}")
            found["others"] = self._read_files(others)
        except OSError as error:
            self.warn(f"other nodes cannot be looked at: {error}")

    def _read_files(self, nodes: list[str]) -> list[StuckProcess]:
        found: list[StuckProcess] = []
        for node in nodes:
            try:
                found += parse(read_bounded(self.directory / f"{node}.jsonl", MAX_BYTES))
            except OSError:
                continue
        return found


def parse(data: bytes) -> list[StuckProcess]:
    """Return the processes of JSON lines; others are left out."""
    found = []
    for line in data.splitlines():
        try:
            found.append(read_object(StuckProcess, parse_json(line))[0])
        except RecordError:
            continue
    return found
