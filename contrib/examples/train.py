#!/usr/bin/env python3
"""Another trainer, with checkpoints of its own form: `train.py --resume CHECKPOINT`."""

import argparse
import re
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parent))

import faults
import numpy as np
from ranks import Ranks
from textmodel import Model, Shape, corpus
from training import Job, log, share_state, train


def main() -> None:
    """Train, from a checkpoint where one is given."""
    parser = argparse.ArgumentParser(
        description=__doc__,
        epilog=faults.HELP,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--folder", type=Path, required=True, help="where checkpoints go")
    parser.add_argument("--resume", type=Path, help="the checkpoint to go on from")
    parser.add_argument("--steps", type=int, default=100, help="the last step")
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    args = parser.parse_args()
    args.folder.mkdir(parents=True, exist_ok=True)
    model, text, first = Model(Shape(), seed=1), corpus(), 0
    ranks = Ranks(args.folder)
    if args.resume and ranks.rank == 0:
        first = int(re.fullmatch(r"ckpt-(\d+)\.npz", args.resume.name)[1])
        with np.load(args.resume) as saved:
            model.flat, model.flat_momentum = saved["weights"], saved["momentum"]
    job = Job(
        first_step=share_state(ranks, text, model, first),
        last_step=args.steps,
        batch_size=64,
        rate=0.1,
        seed=1,
        checkpoint_steps=args.every,
    )

    def save(step: int) -> None:
        target = args.folder / f"ckpt-{step:06d}.npz"
        partial = target.with_name(f".{target.name}")
        np.savez(partial, weights=model.flat, momentum=model.flat_momentum)
        partial.replace(target)
        log(f"saved {target}")

    train(model, text, job, ranks, save)


if __name__ == "__main__":
    main()
