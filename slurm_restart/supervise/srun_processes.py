"""Find the processes of srun that the trainer runs on this node, and notice their ends."""

import os
import time
from collections.abc import Iterable

from slurm_restart.supervise.job_processes import (
    Belonging,
    JobProcesses,
    ProcessStat,
    is_running,
)
from slurm_restart.supervise.processes import environment, read_file
from slurm_restart.supervise.srun_options import kills_on_bad_exit

PAUSE = 1.0
"""Seconds between two looks, at least."""
MOST_TIME = 0.01
"""Share of its time for which a thread looks at processes. find_sruns takes 32 ms of a CPU where
the user has 1,000 processes (measured); a known process is looked at for itself."""


def find_sruns(processes: JobProcesses) -> list[ProcessStat]:
    """Return those that run, one for each step: srun has a process of its own below it."""
    found = [stat for stat in processes.find() if stat.name == "srun"]
    pids = {stat.pid for stat in found}
    return [stat for stat in found if stat.parent not in pids]


class SrunEnds:
    """Notices that a process of srun has ended, soon for those that ran for some seconds.

    Args:
        reaper: process id of the reaper, above all processes of the trainer here.
    """

    def __init__(self, reaper: int) -> None:
        self._processes = JobProcesses(Belonging(job_id=None, node=None, roots=(reaper,)))
        self._running: set[tuple[int, int]] = set()
        self._find_at = 0.0
        self.pause = PAUSE
        """Seconds until the next look."""

    def look(self, now: float) -> bool:
        """Return whether one has ended since the last look.

        Args:
            now: by `time.monotonic`.
        """
        began = time.thread_time()
        running = {srun for srun in self._running if is_running(*srun)}
        has_ended = running != self._running
        looked = time.thread_time()
        if now >= self._find_at:
            running |= {(srun.pid, srun.started) for srun in find_sruns(self._processes)}
            self._find_at = now + _pause_after(time.thread_time() - looked)
        self._running = running
        self.pause = _pause_after(looked - began)
        return has_ended


def _pause_after(used: float) -> float:
    return max(PAUSE, used / MOST_TIME)


def are_alive(sruns: Iterable[ProcessStat]) -> bool:
    """Return whether each of these still runs."""
    return all(is_running(srun.pid, srun.started) for srun in sruns)


def is_left_to_slurm(pid: int) -> bool:
    """Return whether neither options nor variables of an srun say if a failed task ends its step.

    Args:
        pid: the process id of srun.
    """
    command = read_file(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
    variables = {os.fsdecode(name): os.fsdecode(value) for name, value in environment(pid).items()}
    return kills_on_bad_exit(command, variables) is None
