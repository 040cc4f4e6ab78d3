"""Find the processes of srun that the trainer runs on this node."""

import os
from collections.abc import Iterable

from slurm_restart.supervise.job_processes import JobProcesses, ProcessStat
from slurm_restart.supervise.processes import environment, read_file
from slurm_restart.supervise.srun_options import kills_on_bad_exit


def find_sruns(processes: JobProcesses) -> list[ProcessStat]:
    """Return those that run, one for each step: srun has a process of its own below it."""
    found = [stat for stat in processes.find() if stat.name == "srun"]
    pids = {stat.pid for stat in found}
    return [stat for stat in found if stat.parent not in pids]


def are_alive(sruns: Iterable[ProcessStat], processes: JobProcesses) -> bool:
    """Return whether each of these still runs."""
    found = {(stat.pid, stat.started) for stat in find_sruns(processes)}
    return all((srun.pid, srun.started) in found for srun in sruns)


def is_left_to_slurm(pid: int) -> bool:
    """Return whether neither options nor variables of an srun say if a failed task ends its step.

    Args:
        pid: the process id of srun.
    """
    command = read_file(pid, "cmdline").replace(b"\0", b" ").decode(errors="replace")
    variables = {os.fsdecode(name): os.fsdecode(value) for name, value in environment(pid).items()}
    return kills_on_bad_exit(command, variables) is None
