"""Memory and CPU time of a supervisor whose checkpoint directory has very many files.

Files appear all the time while it is measured, as a program that writes many small ones does.
"""

import json
import os
import subprocess
import time
from pathlib import Path
from tempfile import TemporaryDirectory

from contrib.bench_start import SCRIPTS, Workplace, cpu_clock

FILES = 100_000
PER_SECOND = 10
GOAL_MB, GOAL_PERCENT = 40.0, 2.0
_SETTLE = 10.0
"""Seconds before the CPU time is measured; memory is measured from the start."""


def bench(seconds: float) -> str:
    """Return the table, for files that are no checkpoints and for old checkpoints."""
    rows = [f"{'':<28}      MB  highest   % CPU  reached"]
    for title, name in (
        ("no files", None),
        (f"{FILES} other files", "events.{}.log"),
        (f"{FILES} old checkpoints", "checkpoint_{}.mdl"),
    ):
        now, highest, percent = measure(name, seconds)
        reached = "yes" if highest <= GOAL_MB and percent <= GOAL_PERCENT else "no"
        rows.append(f"{title:<28}  {now:6.1f}   {highest:6.1f}  {percent:6.2f}  {reached}")
    goals = f"goals: {GOAL_MB:g} MB at any time, {GOAL_PERCENT:g} % CPU without child processes"
    return "\n".join([*rows, f"{goals}; {PER_SECOND} new files a second, {seconds:g} s"])


def measure(name: str | None, seconds: float) -> tuple[float, float, float]:
    """Return MB at the end, the highest MB, and the CPU time in percent.

    Args:
        name: of the files, with `{}` for a number; None: there are none.
        seconds: how long the CPU time is measured.
    """
    with TemporaryDirectory() as top:
        place = Workplace(Path(top))
        place.prepare()
        run_dir = place.run_dir()
        model = run_dir.parent
        plan = json.loads((run_dir / "plan.json").read_text())
        plan |= {"command": "exec sleep 600", "autoload_last_checkpoint": False}
        (run_dir / "plan.json").write_text(json.dumps(plan))
        for number in range(FILES if name else 0):
            (model / str(name).format(number)).touch()
        argv = [str(SCRIPTS / "csx-restart"), "run", "--run-dir", str(run_dir)]
        process = subprocess.Popen(
            argv, env=place.env, cwd=place.top, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL
        )
        try:
            while not (run_dir / "attempts/0/start.json").exists():
                time.sleep(0.1)
            appear(model, _SETTLE, FILES)
            before, began = own_cpu(process.pid), time.monotonic()
            appear(model, seconds, 2 * FILES)
            percent = 100 * (own_cpu(process.pid) - before) / (time.monotonic() - began)
            return memory(process.pid, "VmRSS"), memory(process.pid, "VmHWM"), percent
        finally:
            process.terminate()
            process.wait()


def appear(folder: Path, seconds: float, first: int) -> None:
    """Let other files appear for some seconds."""
    end = time.monotonic() + seconds
    number = first
    while time.monotonic() < end:
        (folder / f"sample.{number}").touch()
        number += 1
        time.sleep(1 / PER_SECOND)


def own_cpu(pid: int) -> float:
    """Return the CPU seconds of a process without its children."""
    ended = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[13:15]
    return cpu_clock(pid) - sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")


def memory(pid: int, field: str) -> float:
    """Return a field of the memory of a process in MB."""
    status = (Path("/proc") / str(pid) / "status").read_text()
    line = next(line for line in status.splitlines() if line.startswith(f"{field}:"))
    return int(line.split()[1]) / 1024
