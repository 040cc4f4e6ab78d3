"""The example trainer as a process of its own, alone or as ranks that a pretended srun started."""

import os
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import yaml

EXAMPLES = Path(__file__).parents[3] / "contrib" / "examples"
TIMEOUT = 600
"""Seconds. Only to end a hang."""


class Example:
    """The trainer in a directory of its own, which is its working directory."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._started: list[subprocess.Popen] = []
        self.environment = {
            name: value
            for name, value in os.environ.items()
            if not name.startswith(("SLURM", "CSX_EXAMPLE"))
        }

    # --- configs ---------------------------------------------------------------------------------

    def config(self, **changes: Any) -> Path:
        """A config of 60 steps with a checkpoint every 10; `changes` by key from `trainer.` on,
        with `__` for the dots."""
        data: dict[str, Any] = {
            "init": {
                "backend": {"backend_type": "CPU"},
                "model_dir": "model_dir",
                "model": {"name": "textmodel"},
                "loop": {"max_steps": 60},
                "checkpoint": {"steps": 10},
                "seed": 1,
            },
            "fit": {"train_dataloader": {"batch_size": 64}},
        }
        for dotted, value in changes.items():
            *parents, last = dotted.split("__")
            place = data
            for key in parents:
                place = place.setdefault(key, {})
            place[last] = value
        return self.write({"trainer": data})

    def write(self, data: Any) -> Path:
        """A config file with this in it."""
        path = self.folder / "params.yaml"
        path.write_text(data if isinstance(data, str) else yaml.safe_dump(data))
        return path

    # --- processes -------------------------------------------------------------------------------

    def start(self, *arguments: object, program: str = "cszoo", **env: str) -> subprocess.Popen:
        """Start it; its stdout and stderr come as one text."""
        process = subprocess.Popen(
            [sys.executable, str(EXAMPLES / program), *map(str, arguments)],
            cwd=self.folder,
            env=self.environment | env,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        )
        self._started.append(process)
        return process

    def end(self) -> None:
        """Leave no process behind."""
        for process in self._started:
            process.kill()
            process.communicate(timeout=TIMEOUT)

    def run(self, *arguments: object, program: str = "cszoo", code: int = 0, **env: str) -> str:
        """Run it to its end, which is this exit code; what it said."""
        process = self.start(*arguments, program=program, **env)
        said = process.communicate(timeout=TIMEOUT)[0]
        assert process.returncode == code, said
        return said

    def start_ranks(
        self, size: int, *arguments: object, program: str = "cszoo", **env: str
    ) -> list[subprocess.Popen]:
        """Start as many processes as srun would, with what srun tells them."""
        return [
            self.start(*arguments, program=program, **rank_environment(rank, size), **env)
            for rank in range(size)
        ]

    def run_ranks(self, size: int, *arguments: object, **env: str) -> list[str]:
        """Run ranks to their ends, which are good; what each said."""
        processes = self.start_ranks(size, *arguments, **env)
        said = [process.communicate(timeout=TIMEOUT)[0] for process in processes]
        assert [process.returncode for process in processes] == [0] * size, said
        return said

    # --- checkpoints -----------------------------------------------------------------------------

    def checkpoint(self, step: int, model_dir: str = "model_dir") -> Path:
        """The path of a step's checkpoint."""
        return self.folder / model_dir / f"checkpoint_{step}.mdl"

    def names(self, model_dir: str = "model_dir") -> set[str]:
        """The names of all complete or incomplete checkpoints."""
        return {path.name for path in (self.folder / model_dir).glob("checkpoint_*")}


def rank_environment(rank: int, size: int) -> dict[str, str]:
    """What srun tells a rank."""
    return {
        "SLURM_JOB_ID": "7",
        "SLURM_STEP_ID": "0",
        "SLURM_PROCID": str(rank),
        "SLURM_STEP_NUM_TASKS": str(size),
        "SLURMD_NODENAME": f"csx{rank + 1}",
    }


def read_until(process: subprocess.Popen, wanted: Callable[[str], object]) -> str:
    """Read a running trainer's output up to a line."""
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if wanted(line):
            return said
    raise AssertionError(said)


def arrays(checkpoint: Path) -> dict[str, bytes]:
    """All that is trained, bit for bit: weights and optimiser state by name."""
    if checkpoint.suffix == ".npz":
        with np.load(checkpoint) as saved:
            return {name: saved[name].tobytes() for name in saved}
    with h5py.File(checkpoint) as file:
        return {name: file[name][()].tobytes() for name in file}
