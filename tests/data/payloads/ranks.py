"""A training of several ranks over gloo, in which one rank (or all) fail at step 4."""

import ctypes
import datetime
import logging
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import torch
import torch.distributed as dist
from torch.distributed.elastic.multiprocessing.errors import record

STEPS = 8
# Under torchrun it is there, under srun it is Slurm's.
RANK = int(os.environ.setdefault("RANK", os.environ.get("SLURM_PROCID", "0")))
os.environ.setdefault("WORLD_SIZE", os.environ.get("SLURM_NTASKS", "1"))


def on_rank(wanted):
    return RANK == wanted


# --- what happens at step 4 ----------------------------------------------------------------------


def bug():
    if on_rank(1):
        {"tokens": 1}.tokens


def bug_everywhere():
    torch.nn.Linear(48, 64)(torch.ones(64, 64))


def bad_index():
    if on_rank(2):
        torch.nn.Embedding(100, 8)(torch.tensor([250]))


def not_a_number():
    if on_rank(1):
        raise FloatingPointError("rank 1: loss is nan at step 4, stopping")


def chained():
    if on_rank(1):
        try:
            open("/dev/full", "wb", buffering=0).write(b"x")
        except OSError as error:
            raise RuntimeError("checkpoint of step 4 was not saved") from error


def die(number):
    if on_rank(1):
        os.kill(os.getpid(), getattr(signal, number))


def segfault():
    if on_rank(1):
        ctypes.string_at(8)


def eat_memory():
    if on_rank(1):
        return [os.urandom(1 << 20) for _ in range(4000)]


def leave(code):
    if on_rank(1):
        os._exit(int(code))


def stall():
    if on_rank(1):
        time.sleep(30)


def barrier():
    if on_rank(1):
        time.sleep(30)
    dist.monitored_barrier(timeout=datetime.timedelta(seconds=3))


def other_size():
    tensor = torch.ones(1000 if on_rank(1) else 10)
    dist.all_reduce(tensor)


def missing_shard():
    torch.load(f"checkpoints/shard_{RANK}.pt")


def truncated_shard():
    path = Path(f"checkpoints/shard_{RANK}.pt")
    path.parent.mkdir(exist_ok=True)
    torch.save(torch.ones(100_000), path)
    if on_rank(1):
        os.truncate(path, 150_000)
    print(f"rank {RANK}: loading {path}", flush=True)
    torch.load(path)


def terminate_all():
    if on_rank(0):
        os.kill(os.getppid(), signal.SIGTERM)
    time.sleep(20)


def another_each_time():
    if on_rank(1):
        if os.environ["TORCHELASTIC_RESTART_COUNT"] == "0":
            os.kill(os.getpid(), signal.SIGSEGV)
        {"tokens": 1}.tokens


def cut():
    """All connections of this machine break at once, and nobody is dead."""
    if on_rank(0):
        subprocess.run(["ss", "-K", "dst", "127.0.0.1"], stdout=subprocess.DEVNULL)


def unused_parameters():
    class Model(torch.nn.Module):
        def __init__(self):
            super().__init__()
            self.used, self.unused = torch.nn.Linear(4, 4), torch.nn.Linear(4, 4)

        def forward(self, x):
            return self.used(x)

    model = torch.nn.parallel.DistributedDataParallel(Model())
    for _ in range(3):
        model(torch.ones(2, 4)).sum().backward()


def nothing():
    pass


# --- the training --------------------------------------------------------------------------------


@record
def main():
    what, arguments = sys.argv[1], sys.argv[2:]
    logging.basicConfig(
        format=f"%(asctime)s [rank {RANK}] %(levelname)s %(message)s", level=logging.INFO
    )
    logging.info("starting: %s", what)
    timeout = datetime.timedelta(seconds=float(os.environ.get("GLOO_TIMEOUT", "60")))
    dist.init_process_group("gloo", timeout=timeout)
    torch.manual_seed(RANK)
    for step in range(1, STEPS + 1):
        loss = torch.rand(1) + 9 / step
        if step == 4:
            globals()[what](*arguments)
        dist.all_reduce(loss)
        logging.info("step %d loss %.4f", step, loss.item() / dist.get_world_size())
        time.sleep(float(os.environ.get("STEP_SECONDS", "0.05")))
    dist.destroy_process_group()


if __name__ == "__main__":
    main()
