"""Failures that only an accelerator brings about."""

import sys

from usual import train


def out_of_memory():
    import torch

    train(7)
    held = [torch.ones(1 << 30, device="cuda") for _ in range(1000)]
    return len(held)


def index():
    import torch

    train(7)
    torch.nn.Embedding(100, 8).cuda()(torch.tensor([250]).cuda()).sum().item()


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
