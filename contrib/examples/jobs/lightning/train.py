"""Train a small network with Lightning, which saves it where it does by default."""

import argparse
import hashlib
import os
import time
from pathlib import Path

import lightning
import torch
from lightning.pytorch.callbacks import ModelCheckpoint
from torch import nn
from torch.utils.data import DataLoader, TensorDataset


class Network(lightning.LightningModule):
    """Two layers and their loss."""

    def __init__(self) -> None:
        super().__init__()
        self.layers = nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 1))

    def training_step(self, batch: list[torch.Tensor]) -> torch.Tensor:
        """Return the loss of a batch."""
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))  # a bigger model takes longer
        return (self.layers(batch[0]).squeeze() - batch[1]).square().mean()

    def configure_optimizers(self) -> torch.optim.Optimizer:
        """Return the optimizer."""
        return torch.optim.AdamW(self.parameters(), lr=1e-3)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--epochs", type=int, default=10)
    parser.add_argument("--resume", help="a checkpoint to go on from")
    args = parser.parse_args()

    lightning.seed_everything(0)
    inputs = torch.randn(640, 32)
    data = DataLoader(TensorDataset(inputs, inputs.sum(dim=1).sin()), batch_size=64)
    network = Network()
    trainer = lightning.Trainer(
        max_epochs=args.epochs,
        accelerator="cpu",
        devices=1,
        callbacks=[ModelCheckpoint(save_top_k=-1)],
        enable_progress_bar=False,
        log_every_n_steps=10,
    )
    trainer.fit(network, data, ckpt_path=args.resume)
    weights = b"".join(one.detach().numpy().tobytes() for one in network.parameters())
    Path("result.txt").write_text(hashlib.sha256(weights).hexdigest())


if __name__ == "__main__":
    main()
