"""`csx-restart list` and `nodes` over the journals of many runs, with the index and without it."""

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from slurm_restart.control.journal import RunKey, journal_path, to_line
from slurm_restart.core.category import Category
from slurm_restart.core.journal_events import (
    Action,
    EndEvent,
    Event,
    ExcludeEvent,
    FinalEvent,
    StartedEvent,
)

RUNS = 1000
ENDS = 5
NODES = 64
PER_RUN = 4
CLUSTER = "bench"
SCRIPTS = Path(sys.executable).parent
# Slurm's commands, which know no jobs.
FAKE_SLURM = f"""\
#!/bin/sh
case "$*" in *config*) echo "ClusterName = {CLUSTER}" ;; esac
"""


def events(number: int, now: int) -> list[Event]:
    """Return the journal of a run that was restarted `ENDS` - 1 times and has completed."""
    names = tuple(f"csx{(number + node) % NODES + 1}" for node in range(PER_RUN))
    found: list[Event] = []
    for attempt in range(ENDS):
        last = attempt == ENDS - 1
        at = now - 100 * (ENDS - attempt)
        found += [
            StartedEvent(at=at - 90, restarts=attempt, submit_time=at - 95, nodes=names),
            EndEvent(
                at=at,
                submit_time=at - 95,
                restarts=attempt,
                requeued=False,
                category=Category.COMPLETED if last else Category.HARDWARE_NODE,
                rule="trainer.completed" if last else "state.node_fail",
                action=Action.LEAVE if last else Action.REQUEUE,
                reason="completed" if last else "hardware.node: after progress",
                attempt=attempt,
                step=100 * attempt,
                nodes=names,
            ),
        ]
        if not last:
            evidence = "Slurm: DOWN Not responding"
            found.append(
                ExcludeEvent(
                    at=at, node=names[0], until=now + 3600, evidence=evidence, submit_time=at - 95
                )
            )
    end = found[-1].at
    return [*found, FinalEvent(at=end, restarts=ENDS, submit_time=end, state="COMPLETED")]


def write_journals(state_dir: Path, runs: int, *, uid: int) -> None:
    """Write the journals of so many runs of a user."""
    now = int(time.time())
    for number in range(runs):
        key = RunKey(cluster=CLUSTER, job_id=number + 1, uid=uid, run=f"{number:016x}")
        path = journal_path(state_dir, key)
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text("".join(to_line(event) + "\n" for event in events(number, now)))


def seconds(site: Path, command: str) -> tuple[float, float]:
    """Return how long a command takes, as a user waits for it, and its CPU time."""
    begun = time.monotonic()
    with Path(os.devnull).open("wb") as nothing:
        process = subprocess.Popen(
            [SCRIPTS / "csx-restart", command, "--all", "--site", site], stdout=nothing
        )
        _, status, used = os.wait4(process.pid, 0)
    if status:
        raise SystemExit(f"bench: csx-restart {command} has failed")
    return time.monotonic() - begun, used.ru_utime + used.ru_stime


def bench(repeats: int) -> dict[str, dict[str, float]]:
    """Return seconds of `list` and `nodes` for `RUNS` runs: at first, and medians with an index."""
    with TemporaryDirectory() as folder:
        top = Path(folder)
        top.chmod(0o755)
        site = prepare(top)
        found: dict[str, dict[str, float]] = {}
        for command in ("list", "nodes"):
            (top / "state" / "index.sqlite").unlink(missing_ok=True)
            first, first_cpu = seconds(site, command)
            later = [seconds(site, command) for _ in range(repeats)]
            found[command] = {
                "first_s": round(first, 3),
                "first_cpu_s": round(first_cpu, 3),
                "median_s": round(statistics.median(wall for wall, _ in later), 3),
                "median_cpu_s": round(statistics.median(cpu for _, cpu in later), 3),
            }
        return found


def prepare(top: Path) -> Path:
    """Make a state directory with the journals, and a Slurm; return the site's settings."""
    state_dir = top / "state"
    state_dir.mkdir()
    bin_dir = top / "bin"
    bin_dir.mkdir()
    for name in ("squeue", "scontrol", "sinfo"):
        (bin_dir / name).write_text(FAKE_SLURM)
        (bin_dir / name).chmod(0o755)
    write_journals(state_dir, RUNS, uid=os.getuid())
    site = top / "site.toml"
    values = {"state_dir": state_dir, "slurm_bin": bin_dir, "slurm_conf": top / "slurm.conf"}
    site.write_text("".join(f"{key} = {json.dumps(str(path))}\n" for key, path in values.items()))
    return site
