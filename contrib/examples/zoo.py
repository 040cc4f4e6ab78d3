"""What `cszoo fit|validate|validate_all` does, one phase of the config after the other."""

import argparse
import glob
import math
import os
import signal
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import faults
from mdl import Checkpoints
from ranks import PeerLostError, Ranks
from textmodel import Corpus, Model, Shape, corpus
from training import Job, evaluate, log, share_state, train
from zoo_config import get, read_phases

SEED, BATCH_SIZE, EVAL_STEPS, CHECKPOINT_NAME = 1, 64, 10, "checkpoint_{step}.mdl"
DATA = {
    "fit": ("fit", "train_dataloader"),
    "validate": ("validate", "val_dataloader"),
    "validate_all": ("validate_all", "val_dataloaders"),
}
DESCRIPTION = """\
A small trainer that is run, configured and resumed like the Model Zoo's `cszoo`.

It trains a language model over bytes on the text of Python's own library, in numpy, alone or as the
ranks of an srun. Interrupted at any moment and resumed, it ends with the same weights bit for bit,
whatever the number of ranks.
"""


@dataclass
class Run:
    """One phase on this rank."""

    phase: dict[str, Any]
    command: str
    checkpoint_path: str | None
    text: Corpus
    ranks: Ranks
    checkpoints: Checkpoints
    model: Model

    def of(self, *keys: str, default: Any = None) -> Any:
        """A value of the phase's config."""
        return get(self.phase, *keys, default=default)

    def job(self, first: int) -> Job:
        """What is to be done from step `first` on."""
        last = self._last_step(first) if self.command == "fit" else first
        size = self.checkpoints.batch_size
        evaluated = self.of("fit", "val_dataloader") is not None
        frequency = self.of("init", "loop", "eval_frequency", default=1.0) if evaluated else 0
        share = isinstance(frequency, float)
        every = math.ceil(frequency * (last - first)) if share else frequency
        return Job(
            first_step=first,
            last_step=last,
            batch_size=size,
            rate=self.of("init", "optimizer", "SGD", "lr", default=0.1),
            momentum=self.of("init", "optimizer", "SGD", "momentum", default=0.9),
            seed=self.checkpoints.seed,
            checkpoint_steps=self.of("init", "checkpoint", "steps"),
            log_steps=self.of("init", "logging", "log_steps", default=1),
            eval_batch_size=self.of("fit", "val_dataloader", "batch_size", default=size)
            if self.command == "fit"
            else size,
            eval_steps=self.of("init", "loop", "eval_steps", default=EVAL_STEPS),
            eval_every=every,
        )

    def _last_step(self, first: int) -> int:
        """`max_steps` is absolute, `num_steps` counts from where the run starts: the nearer end."""
        most = self.of("init", "loop", "max_steps", default=math.inf)
        if first >= most:
            raise RuntimeError(f"Initial global step {first} already exceeds max step {most}.")
        last = min(most, first + self.of("init", "loop", "num_steps", default=math.inf))
        if math.isinf(last):
            raise ValueError("init.loop: one of num_steps, max_steps is needed")
        return int(last)

    def start(self, path: Path | None) -> int:
        """Load a checkpoint on rank 0 and give all ranks its state; returns its step."""
        first = 0
        if self.ranks.rank == 0 and path is not None:
            states = "all"
            for callback in self.of("init", "callbacks", default=[]):
                states = get(
                    callback, "LoadCheckpointStates", "load_checkpoint_states", default=states
                )
            first = self.checkpoints.load(path, self.model, states=states)
        elif self.ranks.rank == 0:
            log("No checkpoint was provided. Using randomly initialized model parameters.")
        return share_state(self.ranks, self.text, self.model, first)

    def start_path(self) -> Path | None:
        """The checkpoint to start from. A ckpt_path that is null says: none."""
        section = self.of(self.command, default={})
        if self.checkpoint_path is not None:
            return Path(self.checkpoint_path)
        if "ckpt_path" in section:
            return None if section["ckpt_path"] is None else Path(section["ckpt_path"])
        autoload = self.of("init", "checkpoint", "autoload_last_checkpoint", default=True)
        return self.checkpoints.newest() if autoload and self.ranks.rank == 0 else None


def fit(run: Run) -> None:
    """Train."""
    first = run.start(run.start_path())
    job = run.job(first)
    if run.ranks.rank == 0:
        log(f"Effective batch size is {job.batch_size}.")
        if run.of("init", "checkpoint", "save_initial_checkpoint", default=False):
            run.checkpoints.save(run.model, first)
        steps = job.last_step - first
        log(
            f"Starting train loop 1 of 1, from global step {first + 1} to {job.last_step} "
            f"({steps} steps)"
        )
    train(run.model, run.text, job, run.ranks, lambda step: run.checkpoints.save(run.model, step))


def validate(run: Run) -> None:
    """Evaluate one checkpoint, or untrained weights."""
    step = run.start(run.start_path())
    evaluate(run.model, run.text, run.job(step), run.ranks, step)


def validate_all(run: Run) -> None:
    """Evaluate every checkpoint that is named, or that is in the index."""
    given = run.of("validate_all", "ckpt_paths", default=[])
    patterns = [given] if isinstance(given, str) else given
    named = [Path(path) for pattern in patterns for path in sorted(glob.glob(pattern))]  # noqa: PTH207 - patterns may be absolute
    paths = named or run.checkpoints.indexed()
    if not paths:
        raise FileNotFoundError("No checkpoints were found for evaluation.")
    for path in paths:
        step = run.start(path)
        evaluate(run.model, run.text, run.job(step), run.ranks, step)


def meet(args: argparse.Namespace, phases: list[dict[str, Any]]) -> Ranks:
    """The ranks, which meet once for all phases: in the first one's model_dir."""
    ranks = Ranks(model_dir(args, phases[0]))
    if ranks.rank == 0:
        log(f"Current Working Directory: {Path.cwd()}")
        log(f"Running command: {' '.join(sys.argv)}")
        num_csx = args.num_csx or get(phases[0], "init", "backend", "cluster_config", "num_csx")
        if ranks.size > 1 and num_csx not in {None, ranks.size}:
            log(f"num_csx is {num_csx}, and there are {ranks.size} ranks", "WARNING")
    return ranks


def model_dir(args: argparse.Namespace, phase: dict[str, Any]) -> Path:
    """Where a phase's checkpoints are; it is made if need be."""
    folder = Path(args.model_dir or get(phase, "init", "model_dir", default="model_dir"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def prepare(args: argparse.Namespace, phase: dict[str, Any], text: Corpus, ranks: Ranks) -> Run:
    """One phase, with untrained weights.

    Raises:
        RuntimeError: the phase has no section for the command.
    """
    if get(phase, args.command) is None:
        raise RuntimeError(f"The config has no `{args.command}` section.")
    sizes = {key: size for key, size in phase["init"]["model"].items() if key != "name"}
    seed = get(phase, "init", "seed", default=SEED)
    return Run(
        phase=phase,
        command=args.command,
        checkpoint_path=args.checkpoint_path,
        text=text,
        ranks=ranks,
        checkpoints=Checkpoints(
            folder=model_dir(args, phase),
            name=get(phase, "init", "checkpoint", "checkpoint_name", default=CHECKPOINT_NAME),
            text=text,
            seed=seed,
            batch_size=get(phase, *DATA[args.command], "batch_size", default=BATCH_SIZE),
        ),
        model=Model(Shape(**sizes), seed),
    )


def arguments() -> argparse.Namespace:
    """The command line."""
    parser = argparse.ArgumentParser(
        prog="cszoo",
        description=DESCRIPTION,
        epilog=faults.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("command", choices=("fit", "validate", "validate_all"))
    parser.add_argument("params", type=Path, help="the config, of the Model Zoo's form")
    parser.add_argument("--model_dir", help="instead of trainer.init.model_dir, in every phase")
    parser.add_argument("--checkpoint_path", help="start from this one, in every phase")
    parser.add_argument("--num_csx", type=int, help="how many ranks are expected")
    parser.add_argument("--compile_only", action="store_true", help="compile, which CPUs need not")
    parser.add_argument("--validate_only", action="store_true", help="check the config, no more")
    return parser.parse_args()


def main() -> int:
    """Run the command line; every failure exits with 1, most as Python's own traceback."""
    # At once, wherever it is: a checkpoint that is being written stays behind as a .tmp.
    signal.signal(signal.SIGTERM, lambda *_: os._exit(128 + signal.SIGTERM))
    args = arguments()
    phases = read_phases(args.params)
    if args.validate_only:
        log("The config is valid.")
        return 0
    if args.compile_only:
        log("Compile was successful!")
        return 0
    command = {"fit": fit, "validate": validate, "validate_all": validate_all}[args.command]
    try:
        ranks, text = meet(args, phases), corpus()
        for phase in phases:
            command(prepare(args, phase, text, ranks))
    except PeerLostError as error:
        log(f"{type(error).__name__}: {error}", "ERROR")
        return 1
    return 0
