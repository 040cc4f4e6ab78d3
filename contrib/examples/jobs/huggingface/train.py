"""Train a small language model with Hugging Face's Trainer."""

import argparse
import hashlib
import os
import time
from pathlib import Path
from typing import Any

import torch
from torch.utils.data import Dataset
from transformers import GPT2Config, GPT2LMHeadModel, Trainer, TrainingArguments, set_seed


class Sequences(Dataset):
    """Sequences that count up from a random number."""

    def __len__(self) -> int:
        return 4096

    def __getitem__(self, index: int) -> dict[str, Any]:
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")) / 8)  # a bigger model takes longer
        tokens = (torch.arange(16) + index) % 64
        return {"input_ids": tokens, "labels": tokens}


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--resume", help="a checkpoint to go on from")
    args = parser.parse_args()

    set_seed(0)
    size = {"n_positions": 16, "n_embd": 32, "n_layer": 2, "n_head": 2, "vocab_size": 64}
    trainer = Trainer(
        model=GPT2LMHeadModel(GPT2Config(**size)),
        train_dataset=Sequences(),
        args=TrainingArguments(
            output_dir="out",
            max_steps=args.steps,
            save_steps=args.every,
            logging_steps=args.every,
            per_device_train_batch_size=8,
            report_to="none",
            use_cpu=True,
        ),
    )
    trainer.train(resume_from_checkpoint=args.resume)
    weights = b"".join(one.detach().numpy().tobytes() for one in trainer.model.parameters())
    Path("result.txt").write_text(hashlib.sha256(weights).hexdigest())


if __name__ == "__main__":
    main()
