"""Look at the trainer's processes of one node once, and print what each does, as JSON lines.

It runs in a process of its own on each node: a process that hangs in the kernel may hang a process
that reads about it.
"""

import json
import os
import signal
import sys
import time
from dataclasses import replace
from pathlib import Path

from slurm_restart.core.hang_evidence import StuckProcess
from slurm_restart.core.record_reader import to_data
from slurm_restart.supervise.job_processes import (
    Belonging,
    JobProcesses,
    ProcessStat,
    thread_states,
)
from slurm_restart.supervise.node_probe import parse_arguments
from slurm_restart.supervise.processes import environment, handles, read_file
from slurm_restart.supervise.stack_dump import dump
from slurm_restart.trainer.atomic_file import write_atomic

SAMPLE = 1.0
"""Seconds between two looks at the state: many processes are in state D for a moment."""
DUMP_TIMEOUT = 15.0
"""Seconds for all stacks of a node."""
MOST = 128
"""Processes of a node that are reported."""
_MAX_DIGITS = 7
_RANKS = (b"SLURM_PROCID", b"RANK", b"OMPI_COMM_WORLD_RANK", b"PMI_RANK")
# Of x86_64 and aarch64, from the kernel's tables; others are shown by their number.
_CALLS = {
    "x86_64": {
        0: "read", 1: "write", 7: "poll", 16: "ioctl", 23: "select", 34: "pause", 35: "nanosleep",
        43: "accept", 45: "recvfrom", 47: "recvmsg", 61: "wait4", 74: "fsync", 202: "futex",
        230: "clock_nanosleep", 232: "epoll_wait", 247: "waitid", 257: "openat", 262: "newfstatat",
        270: "pselect6", 271: "ppoll", 281: "epoll_pwait",
    },
    "aarch64": {
        22: "epoll_pwait", 29: "ioctl", 56: "openat", 63: "read", 64: "write", 72: "pselect6",
        73: "ppoll", 82: "fsync", 95: "waitid", 98: "futex", 101: "nanosleep",
        115: "clock_nanosleep", 202: "accept", 207: "recvfrom", 212: "recvmsg", 260: "wait4",
    },
}  # fmt: skip


def look(belonging: Belonging, node: str, *, stacks: bool = True) -> tuple[StuckProcess, ...]:
    """Return what the trainer's processes on this node do.

    Args:
        belonging: which they are.
        node: its name.
        stacks: whether the Python stacks are dumped.
    """
    processes = JobProcesses(belonging)
    before = {stat.pid: stat for stat in processes.find()}
    began = time.monotonic()
    time.sleep(SAMPLE)
    now = [stat for stat in processes.find() if stat.pid in before][:MOST]
    used = time.monotonic() - began
    # Before the stacks: a process is stopped for its stack, and then runs for a moment.
    found = tuple(_describe(stat, before[stat.pid], used, node) for stat in now)
    texts = dump(now, timeout=DUMP_TIMEOUT) if stacks else {}
    return tuple(replace(process, stack=texts.get(process.pid)) for process in found)


def _describe(stat: ProcessStat, before: ProcessStat, seconds: float, node: str) -> StuckProcess:
    pid = stat.pid
    # A state that is not the same in both looks is not what the process is stuck in.
    settled = stat.state if stat.state == before.state or stat.state not in "DTt" else "S"
    return StuckProcess(
        node=node,
        pid=pid,
        rank=_rank(pid),
        name=stat.name,
        command=read_file(pid, "cmdline")
        .replace(b"\0", b" ")
        .decode(errors="replace")
        .strip()[:200],
        state=settled,
        threads=thread_states(pid)[:4096],
        cpu=stat.cpu,
        cpu_share=round(max(0.0, stat.cpu - before.cpu) / seconds, 2),
        wait_channel=read_file(pid, "wchan").decode(errors="replace").strip("0\n")[:64],
        system_call=_system_call(pid),
        handles_abort=handles(pid, signal.SIGABRT),
        handles_term=handles(pid, signal.SIGTERM),
    )


def _rank(pid: int) -> int | None:
    variables = environment(pid)
    step = variables.get(b"SLURM_STEP_ID", b"")
    is_task = step.isdigit() and len(step) <= _MAX_DIGITS
    if not is_task and b"RANK" not in variables:
        # The batch script has a SLURM_PROCID of its own; on 26.05 also a step, whose number has ten
        # digits (SLURM_BATCH_SCRIPT in slurm.h).
        return None
    for name in _RANKS:
        value = variables.get(name, b"")
        # A launcher such as torchrun runs in a task and sets RANK for its workers.
        if name == b"SLURM_PROCID" and b"RANK" in variables:
            continue
        if value.isdigit() and len(value) <= _MAX_DIGITS:
            return int(value)
    return None


def _system_call(pid: int) -> str:
    words = read_file(pid, "syscall").split()
    if not words:
        return ""
    if not words[0].isdigit():
        return words[0].decode(errors="replace")[:16]
    number = int(words[0])
    return _CALLS.get(os.uname().machine, {}).get(number, f"system call {number}")


def main() -> None:
    """Look once.

    Arguments: those of `node_probe`, and a directory for a file with the same lines or nothing.
    """
    *which, directory = sys.argv[1:]
    belonging, node = parse_arguments(which)
    found = look(belonging, node)
    text = "".join(f"{json.dumps(to_data(process))}\n" for process in found)
    sys.stdout.write(text)
    sys.stdout.flush()
    if directory:
        write_atomic(Path(directory, f"{node}.jsonl"), text.encode(), mode=0o600)
