#!/usr/bin/env python3
"""Another trainer, with checkpoints of its own form: `train.py --resume CHECKPOINT`."""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import numpy as np
from ranks import Ranks, log
from textmodel import Model, Shape
from training import Job, train


def main() -> None:
    """Train, from a checkpoint where one is given."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints go")
    parser.add_argument("--resume", type=Path, help="the checkpoint to go on from")
    parser.add_argument("--steps", type=int, default=100, help="the last step")
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    model, first = Model(Shape(), seed=1), 0
    if args.resume:
        first = int(re.fullmatch(r"ckpt-(\d+)\.npz", args.resume.name)[1])
        with np.load(args.resume) as saved:
            for name in model.weights:
                model.weights[name] = saved[name]
                model.momentum[name] = saved[f"momentum.{name}"]

    def save(step: int) -> None:
        target = args.folder / f"ckpt-{step:06d}.npz"
        partial = target.with_name(f".{target.name}")
        momentum = {f"momentum.{name}": value for name, value in model.momentum.items()}
        np.savez(partial, **model.weights, **momentum)
        partial.replace(target)
        log(f"saved {target}")

    job = Job(
        first_step=first,
        last_step=args.steps,
        batch_size=64,
        rate=0.1,
        seed=1,
        checkpoint_steps=args.every,
    )
    train(model, job, Ranks(args.folder), save)


if __name__ == "__main__":
    main()
