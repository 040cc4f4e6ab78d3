"""Dump the Python stacks of processes by py-spy, where that is installed."""

import os
import sys
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from slurm_restart.core.hang_evidence import NO_STACK
from slurm_restart.errors import SlurmError
from slurm_restart.slurm.process import run
from slurm_restart.supervise.job_processes import ProcessStat
from slurm_restart.supervise.processes import read_file

MOST = 16
"""Processes of a node that are dumped."""
AT_ONCE = 4
MAX_TEXT = 32_768
"""Characters of one dump."""
PROGRAM = "py-spy"


def is_python(pid: int) -> bool:
    """Return whether a process executes a Python interpreter."""
    try:
        return Path(f"/proc/{pid}/exe").readlink().name.startswith("python")
    except OSError:
        return False


def find_program(pid: int) -> str | None:
    """Return the path of py-spy: beside the process's own interpreter, this one, or in PATH."""
    own = read_file(pid, "cmdline").split(b"\0")[0].decode(errors="replace")
    places = [os.path.dirname(own)] if own.startswith("/") else []  # noqa: PTH120 - text
    places += [os.path.dirname(sys.executable), *os.get_exec_path()]  # noqa: PTH120 - text
    for place in places:
        path = Path(place, PROGRAM)
        if place and os.access(path, os.X_OK) and path.is_file():
            return str(path)
    return None


def dump(stats: Sequence[ProcessStat], *, timeout: float) -> dict[int, str]:
    """Return the stacks of the Python processes among these, or why there are none, by pid.

    Args:
        stats: the processes; of more than `MOST` Python processes the first ones are dumped.
        timeout: seconds for all of them.
    """
    deadline = time.monotonic() + timeout
    pythons = [stat for stat in stats if is_python(stat.pid)][:MOST]
    with ThreadPoolExecutor(AT_ONCE) as pool:
        texts = pool.map(lambda stat: _dump(stat, deadline), pythons)
        return {stat.pid: text for stat, text in zip(pythons, texts, strict=True)}


def _dump(stat: ProcessStat, deadline: float) -> str:
    program = find_program(stat.pid)
    if program is None:
        return f"{NO_STACK}py-spy is not installed"
    # py-spy cannot suspend a process that is stopped already (py-spy 0.4), nor need it.
    options = ["--nonblocking"] if stat.state in "Tt" else []
    left = max(1.0, deadline - time.monotonic())
    try:
        done = run([program, "dump", "--pid", str(stat.pid), *options], timeout=left)
    except SlurmError as error:
        # `slurm.process.run` raises SlurmError for any failure.
        return f"{NO_STACK}{error}"
    if done.code != 0:
        return f"{NO_STACK}py-spy: {done.stderr.strip()[:300]}"
    return done.stdout[:MAX_TEXT]
