"""End processes that an earlier attempt of the run has left on this node.

They are left where supervisor and reaper were killed together, and Slurm does not end all processes
of a job by their cgroup. A process is one of them if it belongs to this user and its environment
names this run directory, this job and an earlier attempt, or if it is below such a process and its
environment names no other run and no other job.
"""

import os
import signal
import socket
import sys
import time
from collections.abc import Iterable, Mapping

from slurm_restart.frozen import frozen
from slurm_restart.supervise import processes

TIMEOUT = 5.0
"""Seconds in which new processes are looked for and killed; what is left then hangs."""
_PAUSE = 0.05
"""Seconds for the kernel to end what was killed, before /proc is read again."""
_EXEC_TRIES = 5
_EXEC_PAUSE = 0.01
"""Seconds, so many times: a process that is executing a program has no environment until then."""
_RUN_DIR, _ATTEMPT, _JOB = b"CSX_RESTART_RUN_DIR", b"CSX_RESTART_ATTEMPT", b"SLURM_JOB_ID"


@frozen
class AttemptMark:
    """What the environment of an attempt's processes says. `job_id` None: outside of a job."""

    run_dir: str
    attempt: int
    job_id: int | None

    def precedes(self, environment: Mapping[bytes, bytes]) -> bool:
        """Return whether a process with this environment is of an attempt before this one."""
        attempt = environment.get(_ATTEMPT, b"")
        return (
            not self.is_foreign_to(environment)
            and environment.get(_RUN_DIR) == os.fsencode(self.run_dir)
            and attempt.isdigit()
            and int(attempt) < self.attempt
        )

    def is_foreign_to(self, environment: Mapping[bytes, bytes]) -> bool:
        """Return whether an environment names another run or another job."""
        job = b"" if self.job_id is None else b"%d" % self.job_id
        other_run = environment.get(_RUN_DIR, os.fsencode(self.run_dir)) != os.fsencode(
            self.run_dir
        )
        return other_run or environment.get(_JOB, job) != job


def end_orphans(mark: AttemptMark) -> int:
    """Kill the processes of earlier attempts on this node; return how many there were."""
    killed: set[int] = set()
    deadline = time.monotonic() + TIMEOUT
    while found := _find(mark):
        killed |= {pid for pid in found if _kill(pid, mark)}
        if time.monotonic() > deadline:
            break
        time.sleep(_PAUSE)
    return len(killed)


def _find(mark: AttemptMark) -> set[int]:
    environments = _environments(set(processes.own_processes()) - {os.getpid()})
    marked = [pid for pid, environment in environments.items() if mark.precedes(environment)]
    below = {pid for root in marked for pid in processes.descendants(root)}
    alive = {pid for pid in marked if not _is_zombie(pid)}
    return alive | {
        pid for pid in below if pid in environments and not mark.is_foreign_to(environments[pid])
    }


def _environments(pids: Iterable[int]) -> dict[int, dict[bytes, bytes]]:
    """Return the environments that processes were started with; empty if it cannot be read."""
    found = {pid: processes.environment(pid) for pid in pids}
    for _ in range(_EXEC_TRIES):
        unknown = [pid for pid, environment in found.items() if not environment]
        # A thread of the kernel and a zombie have none for good.
        unknown = [pid for pid in unknown if _has_program(pid)]
        if not unknown:
            break
        time.sleep(_EXEC_PAUSE)
        found |= {pid: processes.environment(pid) for pid in unknown}
    return found


def _has_program(pid: int) -> bool:
    try:
        return bool(os.readlink(f"/proc/{pid}/exe"))  # noqa: PTH115 - cheaper than Path
    except OSError:
        return False


def _is_zombie(pid: int) -> bool:
    # One that cannot be read has ended, too.
    return processes.read_file(pid, "stat").rpartition(b") ")[2][:1] in b"ZX"


def _kill(pid: int, mark: AttemptMark) -> bool:
    """Kill a process unless its id belongs to a process of another run or job by now."""
    try:
        descriptor = os.pidfd_open(pid)
    except OSError:
        return False
    try:
        if mark.is_foreign_to(_environments([pid])[pid]):
            return False
        signal.pidfd_send_signal(descriptor, signal.SIGKILL)
    except OSError:
        return False
    finally:
        os.close(descriptor)
    return True


def main() -> None:
    """End the orphans on this node; arguments: run directory, attempt, job id.

    Prints the node's name and how many there were, if there were any.
    """
    run_dir, attempt, job_id = sys.argv[1:]
    count = end_orphans(AttemptMark(run_dir=run_dir, attempt=int(attempt), job_id=int(job_id)))
    if count:
        name = os.environ.get("SLURMD_NODENAME") or socket.gethostname()
        sys.stdout.write(f"{name} {count}\n")
