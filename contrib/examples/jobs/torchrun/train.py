"""Train a small network on several processes with DistributedDataParallel and torch.save."""

import argparse
import hashlib
import os
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch import nn
from torch.nn.parallel import DistributedDataParallel


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--every", type=int, default=10, help="steps between checkpoints")
    parser.add_argument("--resume", help="a checkpoint to go on from")
    args = parser.parse_args()

    dist.init_process_group("gloo")
    rank = dist.get_rank()
    torch.manual_seed(0)
    model = DistributedDataParallel(nn.Sequential(nn.Linear(32, 64), nn.Tanh(), nn.Linear(64, 1)))
    optimizer = torch.optim.AdamW(model.parameters(), lr=1e-3)
    step = 0
    if args.resume:
        saved = torch.load(args.resume, weights_only=True)
        model.load_state_dict(saved["model"])
        optimizer.load_state_dict(saved["optimizer"])
        step = saved["step"]

    Path("checkpoints").mkdir(exist_ok=True)
    while step < args.steps:
        step += 1
        torch.manual_seed(step * dist.get_world_size() + rank)
        inputs = torch.randn(64, 32)
        loss = (model(inputs).squeeze() - inputs.sum(dim=1).sin()).square().mean()
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
        time.sleep(float(os.environ.get("STEP_SECONDS", "0")))  # a bigger model takes longer
        if step % args.every == 0 and rank == 0:
            print(f"step {step}, loss {loss.item():.6f}", flush=True)
            state = {"model": model.state_dict(), "optimizer": optimizer.state_dict(), "step": step}
            torch.save(state, f"checkpoints/step-{step:06d}.pt")
    if rank == 0:
        weights = b"".join(one.detach().numpy().tobytes() for one in model.parameters())
        Path("result.txt").write_text(hashlib.sha256(weights).hexdigest())
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
