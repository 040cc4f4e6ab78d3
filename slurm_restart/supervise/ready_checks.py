"""The ready-made checks of a node. They run on that node, in a process that may be killed."""

import os
import re
import socket
from collections.abc import Callable
from pathlib import Path

from slurm_restart.frozen import frozen
from slurm_restart.supervise.gpu_checks import check_gpu
from slurm_restart.supervise.health_problem import UnhealthyError

MAX_LOAD = 4.0
"""Load average of the last minute for each CPU; more is not left by an ordinary job before."""
CONNECT_TIMEOUT = 10.0
"""Seconds to reach the batch host."""
_MEMORY = re.compile(r"^(MemTotal|MemAvailable):\s+(\d+) kB", re.MULTILINE | re.ASCII)


@frozen
class CheckContext:
    """What the checks look at."""

    run_dir: str
    """A directory that every node has to be able to write to."""
    host: str = ""
    """The batch host's name."""
    port: int = 0
    """The port at which it answers; 0: none."""
    share: int = 0
    """Percent of memory or space that has to be free."""
    root: Path = Path("/")
    """Where /proc, /sys and /tmp are; tests have others."""


def check_cpu(context: CheckContext) -> str | None:
    """Check that no CPU was taken offline, and the load."""
    cpus = context.root / "sys/devices/system/cpu"
    online, present = (_count_list(_read(cpus / name)) for name in ("online", "present"))
    switched_off = _read(cpus / "smt/control").strip() in ("off", "forceoff", "notsupported")
    if online and present and online < present and not switched_off:
        raise UnhealthyError(f"{online} of {present} CPUs are online")
    load = _read(context.root / "proc/loadavg").split()
    if load and online and float(load[0]) > MAX_LOAD * online:
        raise UnhealthyError(f"load {load[0]} on {online} CPUs")
    return None if online and load else "CPUs or load cannot be read"


def check_memory(context: CheckContext) -> str | None:
    """Check the share of memory that is available, and that no error was left uncorrected."""
    for counter in sorted((context.root / "sys/devices/system/edac/mc").glob("mc*/ue_count")):
        count = _read(counter).strip()
        if count.isdecimal() and int(count):
            raise UnhealthyError(f"{count} uncorrected memory errors ({counter.parent.name})")
    found = dict(_MEMORY.findall(_read(context.root / "proc/meminfo")))
    if len(found) != len(("MemTotal", "MemAvailable")):
        return "memory cannot be read"
    total, free = int(found["MemTotal"]), int(found["MemAvailable"])
    if free * 100 < total * context.share:
        raise UnhealthyError(
            f"{free >> 20} of {total >> 20} GiB of memory are free, {context.share} % are required"
        )
    return None


def check_disk(context: CheckContext) -> str | None:
    """Check that the run directory can be written, and the free space of /tmp.

    Raises:
        UnhealthyError: one of them fails.
    """
    name = f".health-{socket.gethostname()}-{os.environ.get('SLURMD_NODENAME', '')}-{os.getpid()}"
    path = Path(context.run_dir) / name
    try:
        with path.open("xb") as stream:
            stream.write(b"csx-restart")
            stream.flush()
            os.fsync(stream.fileno())
        path.unlink()
    except OSError as error:
        raise UnhealthyError(f"{context.run_dir}: {error.strerror}") from None
    tmp = context.root / "tmp"
    try:
        space = os.statvfs(tmp)
    except OSError as error:
        raise UnhealthyError(f"{tmp}: {error.strerror}") from None
    if space.f_bavail * 100 < space.f_blocks * context.share:
        free = space.f_bavail * space.f_frsize >> 20
        raise UnhealthyError(f"{tmp}: {free} MiB are free, {context.share} % are required")
    return None


def check_network(context: CheckContext) -> str | None:
    """Check that the batch host answers under its name."""
    if not context.port:
        return "the batch host listens nowhere"
    try:
        socket.create_connection((context.host, context.port), timeout=CONNECT_TIMEOUT).close()
    except OSError as error:
        reason = error.strerror or str(error)
        raise UnhealthyError(f"the batch host {context.host} is not reached: {reason}") from None
    return None


READY_CHECKS: dict[str, Callable[[CheckContext], str | None]] = {
    "cpu": check_cpu,
    "memory": check_memory,
    "disk": check_disk,
    "network": check_network,
    "gpu": lambda context: check_gpu(context.root),
}
"""Each raises UnhealthyError, or returns a note on what cannot be checked here, or None."""


def _read(path: Path) -> str:
    try:
        return path.read_text(errors="replace")
    except OSError:
        return ""


def _count_list(text: str) -> int:
    """Return how many CPUs a list such as `0-3,8` has."""
    ranges = re.findall(r"(\d+)(?:-(\d+))?", text, re.ASCII)
    return sum(int(last or first) - int(first) + 1 for first, last in ranges)
