"""CPU time of commands at their start, beside `python3 -c pass`, measured in turns in one run."""

import os
import statistics
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

SCRIPTS = Path(sys.executable).parent
# Slurm's commands, of which only sbatch answers anything.
FAKE_SLURM = """\
#!/bin/sh
case "$0 $*" in *sbatch*--parsable*) echo 1 ;; esac
"""
CONFIG = """\
trainer:
  init:
    backend: {{backend_type: CPU, cluster_config: {{num_csx: 2}}}}
    model_dir: {model_dir}
    loop: {{max_steps: 100}}
    checkpoint: {{steps: 10}}
    autorestart: {{max_num_restarts: 2}}
  fit: {{train_dataloader: {{batch_size: 4}}}}
slurm:
  command: "echo started > {started}; exec sleep 60"
"""
LOG_LINES = 40
FAILURE = """\
Traceback (most recent call last):
  File "train.py", line 30, in <module>
    main()
RuntimeError: NCCL error: unhandled system error, ncclSystemError
srun: error: csx3: task 3: Exited with exit code 1
"""
BASE = "python3 -c pass"
GOALS = {
    "csx-restart classify, small log": 0.20,
    "csx-restart run, to the trainer's start": 0.25,
    "csx-sbatch --dry-run": 0.40,
    "csx-restart status": 0.25,
}
"""Seconds of CPU time (user and system) more than `python3 -c pass`."""


@dataclass(frozen=True, slots=True)
class Workplace:
    """A directory with a config, a log, a fake Slurm, and run directories."""

    top: Path

    @property
    def config(self) -> Path:
        """A trainer's config."""
        return self.top / "params.yaml"

    @property
    def log(self) -> Path:
        """A small log that ends with a failure."""
        return self.top / "small.log"

    @property
    def started(self) -> Path:
        """A FIFO into which the trainer writes at its start."""
        return self.top / "started"

    @property
    def env(self) -> dict[str, str]:
        """The environment of the commands; its caches are kept between the turns."""
        path = f"{self.top / 'bin'}:{os.environ['PATH']}"
        return {"PATH": path, "HOME": str(self.top), "LANG": "C.UTF-8"}

    def prepare(self) -> None:
        """Write the files."""
        (self.top / "bin").mkdir()
        for name in ("sbatch", "scancel", "scontrol", "sinfo", "squeue"):
            (self.top / "bin" / name).write_text(FAKE_SLURM)
            (self.top / "bin" / name).chmod(0o755)
        model_dir = self.top / "model_dir"
        self.config.write_text(CONFIG.format(model_dir=model_dir, started=self.started))
        steps = "".join(f"step {step} loss 2.{step}\n" for step in range(LOG_LINES))
        self.log.write_text(steps + FAILURE)
        os.mkfifo(self.started)

    def run_dir(self) -> Path:
        """Submit to the fake Slurm; return the new run directory."""
        before = set(self.top.glob("model_dir/*"))
        argv = [str(SCRIPTS / "csx-sbatch"), "--parsable", "--quiet", str(self.config)]
        subprocess.run(argv, env=self.env, cwd=self.top, check=True, stdout=subprocess.DEVNULL)
        [run_dir] = set(self.top.glob("model_dir/*_restartable")) - before
        return run_dir


def cpu_of(place: Workplace, *argv: str) -> float:
    """Return the CPU seconds of a program and its children."""
    process = subprocess.Popen(
        argv,
        env=place.env,
        cwd=place.top,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.PIPE,
    )
    assert process.stderr is not None
    errors = process.stderr.read()
    _, status, usage = os.wait4(process.pid, 0)
    process.returncode = os.waitstatus_to_exitcode(status)
    process.stderr.close()
    if process.returncode != 0:
        raise SystemExit(f"bench: {argv}: exit code {process.returncode}: {errors.decode()}")
    return usage.ru_utime + usage.ru_stime


def cpu_until_trainer(place: Workplace) -> float:
    """Return the CPU seconds of the supervisor, with its reaper, when the trainer starts."""
    run_dir = place.run_dir()
    argv = [str(SCRIPTS / "csx-restart"), "run", "--run-dir", str(run_dir)]
    process = subprocess.Popen(
        argv,
        env=place.env,
        cwd=place.top,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    # Waits until the trainer opens it.
    place.started.read_text()
    reaper = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    taken = sum(map(cpu_clock, [process.pid, *map(int, reaper)]))
    process.terminate()
    process.wait()
    return taken


def cpu_clock(pid: int) -> float:
    """Return the CPU seconds of all threads of a process, and of its children that have ended."""
    ended = (Path("/proc") / str(pid) / "stat").read_text().rpartition(")")[2].split()[13:15]
    # The clock id of another process, as clock_getcpuclockid(3) computes it.
    own = time.clock_gettime((~pid << 3) | 2)
    return own + sum(map(int, ended)) / os.sysconf("SC_CLK_TCK")


def bench(turns: int) -> str:
    """Return the table: CPU seconds more than `python3 -c pass`, and the goals."""
    with TemporaryDirectory() as top:
        place = Workplace(Path(top))
        place.prepare()
        restart = str(SCRIPTS / "csx-restart")
        measures: dict[str, Callable[[], float]] = {
            BASE: lambda: cpu_of(place, sys.executable, "-c", "pass"),
            "csx-restart classify, small log": lambda: cpu_of(
                place, restart, "classify", str(place.log)
            ),
            "csx-restart run, to the trainer's start": lambda: cpu_until_trainer(place),
            "csx-sbatch --dry-run": lambda: cpu_of(
                place, str(SCRIPTS / "csx-sbatch"), "--dry-run", str(place.config)
            ),
            "csx-restart status": lambda: cpu_of(place, restart, "status"),
        }
        taken: dict[str, list[float]] = {name: [] for name in measures}
        for _ in range(turns):
            for name, measure in measures.items():
                taken[name].append(measure())
    return table(taken)


def table(taken: dict[str, list[float]]) -> str:
    """Return the table of the seconds of all turns, by command."""
    turns = len(taken[BASE])
    width = max(map(len, taken))
    rows = [f"{'CPU seconds':<{width}}  median     min     max    more    goal  reached"]
    base = statistics.median(taken[BASE])
    for name, values in taken.items():
        median = statistics.median(values)
        row = f"{name:<{width}}  {median:6.3f}  {min(values):6.3f}  {max(values):6.3f}"
        if name in GOALS:
            reached = "yes" if median - base <= GOALS[name] else "no"
            row += f"  {median - base:6.3f}  {GOALS[name]:6.3f}  {reached}"
        rows.append(row)
    return "\n".join([*rows, f"{turns} turns; more: median above that of `{BASE}`"])
