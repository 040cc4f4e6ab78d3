"""Bad records, bad numbers, and data loaders that die."""

import faulthandler
import gzip
import json
import logging
import os
import signal
import sys
import time
from pathlib import Path

from usual import train


def embedding_index():
    import torch

    train(25)
    torch.nn.Embedding(100, 8)(torch.tensor([[1, 5, 250]]))


def target_class():
    import torch

    train(14)
    torch.nn.functional.cross_entropy(torch.ones(2, 10), torch.tensor([3, 600]))


def not_utf8():
    train(9)
    Path("part-0003.txt").write_bytes(b"so far so good \xff\xfe\xfa")
    for _ in open("part-0003.txt", encoding="utf-8"):
        pass


def short_array():
    import numpy as np

    np.save("tokens.npy", np.arange(5000))
    os.truncate("tokens.npy", 9000)
    train(4)
    np.load("tokens.npy")


def short_buffer():
    import numpy as np

    train(4)
    np.frombuffer(b"\0" * 1001, dtype=np.int32)


def short_gzip():
    Path("shard-00017.json.gz").write_bytes(gzip.compress(os.urandom(5000))[:3000])
    train(7)
    gzip.open("shard-00017.json.gz").read()


def bad_checksum():
    packed = bytearray(gzip.compress(b"x" * 5000))
    packed[-6] ^= 1
    Path("shard-00018.json.gz").write_bytes(packed)
    train(7)
    gzip.open("shard-00018.json.gz").read()


def bad_record():
    Path("train.jsonl").write_text('{"text": "a"}\n{"text": "b"\n')
    train(11)
    for number, line in enumerate(open("train.jsonl"), 1):
        try:
            json.loads(line)
        except json.JSONDecodeError as error:
            raise ValueError(f"train.jsonl:{number}: bad record") from error


def bad_parquet():
    import pyarrow.parquet

    Path("part-3.parquet").write_bytes(b"PAR1" + b"\0" * 500)
    train(3)
    pyarrow.parquet.read_table("part-3.parquet")


def bad_image():
    import PIL.Image

    Path("00042.jpg").write_bytes(os.urandom(300))
    train(3)
    PIL.Image.open("00042.jpg")


# --- numbers -------------------------------------------------------------------------------------


def own_nan_check():
    train(40)
    loss = float("inf") - float("inf")
    if loss != loss:
        raise FloatingPointError(f"loss is {loss} at step 41, stopping training")


def numpy_invalid():
    import numpy as np

    np.seterr(all="raise")
    train(6)
    np.array([np.inf]) * np.array([0.0])


def anomaly():
    import torch

    train(6)
    with torch.autograd.detect_anomaly():
        weight = torch.zeros(3, requires_grad=True)
        (weight / weight).sum().backward()


def gradient_norm():
    import torch

    train(6)
    weight = torch.ones(3, requires_grad=True)
    (weight * float("inf")).sum().backward()
    torch.nn.utils.clip_grad_norm_([weight], 1.0, error_if_nonfinite=True)


# --- data loaders --------------------------------------------------------------------------------


class Records:
    """A data set in which one record does something."""

    def __init__(self, act):
        self.act = act

    def __len__(self):
        return 64

    def __getitem__(self, index):
        import torch

        if index == 33:
            self.act()
        return torch.ones(4)


def load(act, **options):
    import torch

    options = {"batch_size": 4, "num_workers": 2, **options}
    for number, _ in enumerate(torch.utils.data.DataLoader(Records(act), **options), 1):
        print(f"step {number} | loss {9 / number:.4f}", flush=True)


def worker_raises():
    load(lambda: b"caf\xe9".decode("utf-8"))


def worker_bug():
    load(lambda: {}["input_ids"])


def worker_segfaults():
    load(lambda: os.kill(os.getpid(), signal.SIGSEGV))


def worker_is_killed():
    load(lambda: os.kill(os.getpid(), signal.SIGKILL))


def worker_eats_memory():
    load(lambda: [bytearray(os.urandom(1 << 20)) for _ in range(4000)])


def worker_hangs():
    load(lambda: time.sleep(600), timeout=3)


def worker_fills_shm():
    import torch

    class Big(Records):
        def __getitem__(self, index):
            return torch.ones(200_000)

    for number, _ in enumerate(torch.utils.data.DataLoader(Big(None), batch_size=4, num_workers=1)):
        print(f"step {number}", flush=True)


# --- hangs ---------------------------------------------------------------------------------------


def watchdog():
    train(10, seconds=0.01)
    faulthandler.dump_traceback_later(2, exit=True)
    time.sleep(600)


def own_watchdog():
    logging.basicConfig(format="%(asctime)s %(levelname)s %(message)s", level=logging.INFO)
    train(10, seconds=0.01)
    time.sleep(2)
    logging.critical(
        "watchdog: no progress for 2 s since step 10, the training is stalled: aborting"
    )
    os._exit(124)


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
