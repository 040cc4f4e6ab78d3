"""The processes of the trainer on this node: which there are, their CPU time, what they wait for.

They are those below the reaper, and the tasks of the job's steps, which slurmstepd has started:
these are known by their environment.
"""

import os
import time
from collections import defaultdict
from collections.abc import Iterable, Iterator, Mapping
from contextlib import suppress

from slurm_restart.frozen import frozen
from slurm_restart.supervise.processes import below, environment, own_processes, read_file

_TICKS = os.sysconf("SC_CLK_TCK")
BUSY_SHARE = 0.1
"""CPUs in use from which processes count as busy; what waits wakes up now and then."""
NOT_THE_TRAINERS = b"CSX_RESTART_HOST_WATCH"
"""In the environment of a task of the job that the supervisor itself has started."""
_NEVER = "ZX"
"""States of processes that have ended."""


@frozen
class ProcessStat:
    """What /proc/PID/stat says of a process."""

    pid: int
    parent: int
    name: str
    state: str
    """R, S, D, T, t and others, as in proc(5)."""
    cpu: float
    """CPU seconds of the process and of its children that have ended."""
    started: int
    """Clock ticks after the boot; with the pid it names a process."""
    environment_at: int = 0
    """Where its environment is in its memory: another address once it executes another program, and
    0 while the kernel loads that program (load_elf_binary in fs/binfmt_elf.c)."""

    @property
    def surely_started(self) -> float:
        """When it had surely started, in seconds by CLOCK_BOOTTIME: `started` is rounded down."""
        return (self.started + 1) / _TICKS

    @property
    def age(self) -> float:
        """Seconds for which it has run."""
        return time.clock_gettime(time.CLOCK_BOOTTIME) - self.started / _TICKS


@frozen
class Belonging:
    """Which processes are the trainer's.

    Args:
        job_id: of the job; None: only those below `roots` are.
        node: Slurm's name of this node; None: not known.
        cluster: Slurm's name of the cluster; None: not known. On a machine of several clusters, a
            job of another one may have the same id and a node of the same name.
        roots: processes below which all are.
        outside: processes that are not, with all that are below them and not below `roots`.
    """

    job_id: int | None
    node: str | None
    roots: tuple[int, ...] = ()
    outside: tuple[int, ...] = ()
    cluster: str | None = None

    def names(self, environment: Mapping[bytes, bytes]) -> bool:
        """Return whether an environment is that of a task of the job on this node."""
        places = ((b"SLURMD_NODENAME", self.node), (b"SLURM_CLUSTER_NAME", self.cluster))
        if self.job_id is None or environment.get(b"SLURM_JOB_ID") != b"%d" % self.job_id:
            return False
        if NOT_THE_TRAINERS in environment:
            return False
        return all(
            name is None or environment.get(variable) in (None, os.fsencode(name))
            for variable, name in places
        )


class JobProcesses:
    """Finds the trainer's processes again and again; environments are read once.

    Args:
        belonging: which they are.
    """

    def __init__(self, belonging: Belonging) -> None:
        self._belonging = belonging
        # A new task has the environment of slurmstepd until it executes its program, and none while
        # that is loaded.
        self._named: dict[tuple[int, int, int], bool] = {}

    def find(self) -> tuple[ProcessStat, ...]:
        """Return the processes, without those that have ended."""
        stats = {stat.pid: stat for stat in _stats()}
        children: dict[int, list[int]] = defaultdict(list)
        for stat in stats.values():
            children[stat.parent].append(stat.pid)
        belonging = self._belonging
        inside = set(below(belonging.roots, children)).union(belonging.roots)
        outside = set(below(belonging.outside, children)).union(belonging.outside) - inside
        for pid in belonging.outside:
            outside |= _above(pid, stats)
        known, self._named = self._named, {}
        for stat in stats.values():
            key = stat.pid, stat.started, stat.environment_at
            if stat.pid in inside or stat.pid in outside:
                continue
            self._named[key] = known[key] if key in known else self._is_named(stat.pid)
            if self._named[key]:
                inside.add(stat.pid)
        inside -= set(belonging.roots)
        return tuple(stats[pid] for pid in sorted(inside) if stats[pid].state not in _NEVER)

    def transferred(self, stats: Iterable[ProcessStat]) -> int:
        """Return the bytes that these processes have read and written, as far as that is known.

        They count when a call of read(2) or write(2) returns, to a file or a pipe.
        """
        return sum(_transferred(stat.pid) for stat in stats)

    def _is_named(self, pid: int) -> bool:
        return self._belonging.job_id is not None and self._belonging.names(environment(pid))


def is_running(pid: int, started: int) -> bool:
    """Return whether the process runs that `ProcessStat` names so: it may have ended since."""
    with suppress(ValueError, IndexError):  # there is none
        stat = _parse(read_file(pid, "stat"))
        return stat.started == started and stat.state not in _NEVER
    return False


def _transferred(pid: int) -> int:
    fields = dict(line.partition(b": ")[::2] for line in read_file(pid, "io").splitlines())
    counts = [fields.get(name, b"0") for name in (b"rchar", b"wchar")]
    return sum(int(count) for count in counts if count.isdigit())


def thread_states(pid: int) -> str:
    """Return the states of a process's threads, one letter each; empty if it has ended."""
    states = ""
    with suppress(OSError):
        for thread in os.listdir(f"/proc/{pid}/task"):  # noqa: PTH208 - cheaper than Path
            states += read_file(pid, f"task/{thread}/stat").rpartition(b") ")[2][:1].decode()
    return states


def _stats() -> Iterator[ProcessStat]:
    """Yield this user's processes."""
    for pid in own_processes():
        with suppress(ValueError, IndexError):  # it has ended meanwhile
            yield _parse(read_file(pid, "stat"))


def _parse(text: bytes) -> ProcessStat:
    head, _, rest = text.rpartition(b") ")
    pid, _, name = head.partition(b" (")
    # Fields 3, 4, 14 to 17, 22 and 50 of proc(5); `rest` begins with the third.
    fields = rest.split()
    return ProcessStat(
        pid=int(pid),
        parent=int(fields[1]),
        name=name.decode(errors="replace"),
        state=fields[0].decode(),
        cpu=sum(map(int, fields[11:15])) / _TICKS,
        started=int(fields[19]),
        environment_at=int(fields[47]),
    )


def _above(pid: int, stats: Mapping[int, ProcessStat]) -> set[int]:
    found: set[int] = set()
    while pid in stats and pid not in found:
        found.add(pid)
        pid = stats[pid].parent
    return found
