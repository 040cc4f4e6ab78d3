"""Checkpoints that cannot be read, disks that take no more, memory that is not there."""

import io
import logging
import os
import pickle
import resource
import sys
from pathlib import Path

from usual import train

FOLDER = Path("checkpoints")


def damaged(name, data):
    FOLDER.mkdir(exist_ok=True)
    path = FOLDER / name
    path.write_bytes(data)
    print(f"resuming from {path}", flush=True)
    return path


def torch_state():
    import torch

    file = io.BytesIO()
    torch.save({"model": torch.nn.Linear(300, 300).state_dict(), "step": 200}, file)
    return file.getvalue()


def torch_truncated():
    import torch

    torch.load(damaged("step_200.pt", torch_state()[:200_000]))


def torch_zeros():
    import torch

    torch.load(damaged("step_200.pt", b"\0" * 100_000))


def torch_garbage():
    import torch

    torch.load(damaged("step_200.pt", b"\xab" * 100_000), weights_only=False)


def torch_empty():
    import torch

    torch.load(damaged("step_200.pt", b""))


def torch_overwritten():
    import torch

    data = bytearray(torch_state())
    where = data.index(b"model") - 20
    data[where : where + 60] = bytes(range(100, 160))
    torch.load(damaged("step_200.pt", bytes(data)))


def safetensors_truncated():
    import safetensors.torch
    import torch

    data = safetensors.torch.save({"weight": torch.ones(300, 300)})
    safetensors.torch.load_file(damaged("model.safetensors", data[:20_000]))


def safetensors_zeros():
    import safetensors.torch

    safetensors.torch.load_file(damaged("model.safetensors", b"\0" * 20_000))


def pickle_truncated():
    data = pickle.dumps({"step": 200, "rng": list(range(1000))})
    pickle.load(damaged("state.pkl", data[:700]).open("rb"))


def pickle_empty():
    pickle.load(damaged("state.pkl", b"").open("rb"))


def numpy_zip():
    import numpy as np

    np.savez("whole.npz", weight=np.ones(2000))
    np.load(damaged("ckpt-000200.npz", Path("whole.npz").read_bytes()[:9000]))["weight"]


def hdf5_truncated():
    import h5py
    import numpy as np

    with h5py.File("whole.h5", "w") as file:
        file["weight"] = np.ones(20000)
    h5py.File(damaged("checkpoint_200.mdl", Path("whole.h5").read_bytes()[:90000]))


def hdf5_zeros():
    import h5py

    h5py.File(damaged("checkpoint_200.mdl", b"\0" * 9000))


# --- writing -------------------------------------------------------------------------------------


def write(name="step_200.bin"):
    FOLDER.mkdir(exist_ok=True)
    train(12)
    print(f"saving {FOLDER / name}")
    with (FOLDER / name).open("wb", buffering=0) as file:
        for _ in range(64):
            file.write(b"x" * (1 << 16))


def write_and_wrap():
    try:
        write()
    except OSError as error:
        raise RuntimeError("saving the checkpoint of step 200 failed") from error


def write_numpy():
    import numpy as np

    FOLDER.mkdir(exist_ok=True)
    train(12)
    np.save(FOLDER / "step_200.npy", np.ones(1_000_000))


def write_hdf5():
    import h5py
    import numpy as np

    FOLDER.mkdir(exist_ok=True)
    train(12)
    with h5py.File(FOLDER / "checkpoint_200.mdl", "w") as file:
        for number in range(30):
            file[f"layer{number}"] = np.ones(20000)
            file.flush()


def write_torch():
    import torch

    FOLDER.mkdir(exist_ok=True)
    train(12)
    torch.save(torch.ones(1_000_000), FOLDER / "step_200.pt")


def write_safetensors():
    import safetensors.torch
    import torch

    FOLDER.mkdir(exist_ok=True)
    train(12)
    safetensors.torch.save_file({"weight": torch.ones(1_000_000)}, FOLDER / "model.safetensors")


def write_log():
    """The disk of the log is full, of which logging only complains; then the checkpoint's is."""
    FOLDER.mkdir(exist_ok=True)
    logging.basicConfig(filename=FOLDER / "train.log")
    train(3)
    (FOLDER / "fill").open("wb", buffering=0).write(b"x" * (1 << 20))
    logging.warning("step 3 is slow")
    write()


def limited():
    """A limit on the size of files, as a quota in effect."""
    resource.setrlimit(resource.RLIMIT_FSIZE, (1 << 20, 1 << 20))
    write()


def read():
    FOLDER.mkdir(exist_ok=True)
    train(12)
    with open("tokens.bin", "rb") as file:
        while file.read(1 << 16):
            pass


def read_torch():
    import torch

    Path("tokens.bin").write_bytes(torch_state())
    torch.load("tokens.bin")


def protected():
    train(2)
    open("/etc/shadow")


def not_executable():
    import subprocess

    Path("tokenize.sh").write_text("#!/bin/sh\n")
    subprocess.run(["./tokenize.sh"], check=True)


# --- memory --------------------------------------------------------------------------------------


def limit_memory(megabytes):
    resource.setrlimit(resource.RLIMIT_AS, (megabytes << 20, megabytes << 20))


def memory_error():
    limit_memory(200)
    train(9)
    return [bytearray(1 << 20) for _ in range(4000)]


def memory_numpy():
    import numpy as np

    limit_memory(600)
    train(9)
    return np.ones((40_000, 40_000))


def memory_torch():
    import torch

    limit_memory(6000)
    train(9)
    return torch.ones(100_000, 100_000)


def memory_eaten():
    train(9, seconds=0.001)
    return [os.urandom(1 << 20) for _ in range(4000)]


if __name__ == "__main__":
    globals()[sys.argv[1]](*sys.argv[2:])
