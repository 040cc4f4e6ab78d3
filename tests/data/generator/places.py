"""Where a script runs: a directory of its own, made worse in one way or another."""

import os
import shlex
import subprocess
from pathlib import Path

MEMORY = Path("/sys/fs/cgroup/memory")
UNIFIED = Path("/sys/fs/cgroup")
LIMIT = 700 << 20
NOBODY = 65534


def _with_tmpfs(where: str, size: str) -> tuple[str, ...]:
    prepare = f"mkdir -p {where} && mount -t tmpfs -o size={size} none {where}"
    return ("unshare", "--mount", "bash", "-c", f'{prepare} && exec bash "$0"')


def _in_cgroup() -> tuple[str, ...]:
    return ("bash", "-c", f'echo $$ > {_cgroup()}/cgroup.procs && exec bash "$0"')


def _cgroup() -> Path:
    """A cgroup whose memory is limited; it is made if it is not there."""
    first = (MEMORY / "memory.limit_in_bytes").exists()
    group = (MEMORY if first else UNIFIED) / "csx-test-data"
    group.mkdir(exist_ok=True)
    (group / ("memory.limit_in_bytes" if first else "memory.max")).write_text(str(LIMIT))
    return group


def remove_cgroup() -> None:
    """Take away the cgroup that a run has made, if any."""
    for top in (MEMORY, UNIFIED):
        group = top / "csx-test-data"
        if group.exists():
            group.rmdir()


def command(place: str, script: Path) -> list[str]:
    """The command that runs a script in such a place."""
    match place:
        case "plain":
            before: tuple[str, ...] = ("bash",)
        case "small_disk":
            before = _with_tmpfs("checkpoints", "1m")
        case "small_shm":
            before = _with_tmpfs("/dev/shm", "1m")
        case "small_memory":
            before = _in_cgroup()
        case "own_network":
            inside = 'ip link set lo up && exec bash "$0"'
            before = ("unshare", "--net", "bash", "-c", inside)
        case "other_user":
            os.chown(script.parent, NOBODY, NOBODY)
            before = ("setpriv", "--reuid=65534", "--regid=65534", "--clear-groups", "bash")
        case _:
            raise ValueError(f"{place}: no such place")
    return [*before, str(script)]


def unusable(place: str) -> str | None:
    """Why such a place cannot be made here; None: it can."""
    if place == "plain":
        return None
    if os.geteuid() != 0:
        return f"{place}: only root can make it"
    if place == "small_memory":
        try:
            _cgroup()
        except OSError as error:
            return f"small_memory: no cgroup with a memory limit can be made: {error}"
        return None
    if place in ("other_user", "own_network"):
        return None
    test = _with_tmpfs("/mnt", "1m")
    done = subprocess.run(
        [*test[:-1], "mount -t tmpfs none /mnt"], capture_output=True, check=False
    )
    return None if done.returncode == 0 else f"{place}: {shlex.join(test[:2])} does not work here"
