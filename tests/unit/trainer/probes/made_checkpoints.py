"""Checkpoints in the forms of trainers, written without their libraries."""

import io
import json
import pickle
import zipfile

import h5py
import numpy as np

from slurm_restart.trainer.checkpoint_probe import Probe, Soundness, probe
from slurm_restart.trainer.run_plan import CheckpointFormat


def check(path, form: CheckpointFormat) -> Probe:
    return probe(str(path), form)


def is_complete(path, form: CheckpointFormat) -> bool:
    result = check(path, form)
    assert result.soundness is not Soundness.UNREADABLE, result
    return result.soundness is Soundness.COMPLETE


def cuts(data: bytes) -> list[int]:
    """Lengths to which a file is cut: all near its ends, some in between."""
    size = len(data)
    return sorted({*range(min(size, 40)), *range(0, size, 331), *range(max(0, size - 80), size)})


def assert_each_cut_is_found(path, form: CheckpointFormat, checked=None) -> None:
    """Cut a file at many points; `checked` is the checkpoint that it belongs to."""
    data = path.read_bytes()
    assert is_complete(checked or path, form)
    for length in cuts(data):
        path.write_bytes(data[:length])
        assert not is_complete(checked or path, form), f"{path.name} cut to {length}"
    path.write_bytes(data)
    assert is_complete(checked or path, form)


def torch_zip(path, tensors=3, *, with_sums=True):
    """What torch.save writes since PyTorch 1.6: a zip file without compression."""
    path.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        archive.writestr(f"{path.stem}/data.pkl", pickle.dumps({"step": 7, "x": list(range(50))}))
        archive.writestr(f"{path.stem}/byteorder", "little")
        for number in range(tensors):
            archive.writestr(f"{path.stem}/data/{number}", bytes(range(256)) * 4)
        archive.writestr(f"{path.stem}/version", "3\n")
        if not with_sums:
            for member in archive.infolist():
                member.CRC = 0
    return path


def torch_legacy(path, storages):
    """What torch.save wrote before 1.6; `storages`: (class, bytes of an element, number)."""

    class Pickler(pickle.Pickler):
        def persistent_id(self, obj):
            if isinstance(obj, int) and obj >= 1000:
                kind, _, count = storages[obj - 1000]
                return ("storage", kind, str(obj), "cpu", count, None)
            return None

    out = io.BytesIO()
    pickle.dump(0x1950A86A20F9469CFC6C, out, protocol=2)
    pickle.dump(1001, out, protocol=2)
    pickle.dump({"protocol_version": 1001, "little_endian": True}, out, protocol=2)
    Pickler(out, protocol=2).dump({"model": [1000 + number for number in range(len(storages))]})
    pickle.dump([str(1000 + number) for number in range(len(storages))], out, protocol=2)
    for _, width, count in storages:
        out.write(count.to_bytes(8, "little") + b"\1" * (width * count))
    path.write_bytes(out.getvalue())
    return path


def safetensors(path, sizes=(100, 400)):
    path.parent.mkdir(parents=True, exist_ok=True)
    header, offset = {"__metadata__": {"format": "pt"}}, 0
    for number, size in enumerate(sizes):
        header[f"t{number}"] = {
            "dtype": "U8",
            "shape": [size],
            "data_offsets": [offset, offset + size],
        }
        offset += size
    data = json.dumps(header).encode()
    path.write_bytes(len(data).to_bytes(8, "little") + data + b"\2" * offset)
    return path


def hdf5(path, **values):
    path.parent.mkdir(parents=True, exist_ok=True)
    with h5py.File(path, "w", **values) as file:
        for number in range(3):
            file[f"layer{number}/kernel"] = np.arange(500.0)
        file.create_dataset("chunked", data=np.ones((60, 60)), chunks=(20, 20), compression="gzip")
    return path


def keras(path):
    with zipfile.ZipFile(path, "w") as archive:
        archive.writestr("metadata.json", json.dumps({"keras_version": "3.8"}))
        archive.writestr("config.json", json.dumps({"class_name": "Sequential"}))
        archive.write(hdf5(path.with_name("weights.tmp")), "model.weights.h5")
    return path


def npz(path):
    np.savez(path, weights=np.arange(4000.0), step=7)
    return path


def hf(path, *, weights="model.safetensors"):
    path.mkdir()
    (path / "config.json").write_text("{}")
    safetensors(path / weights)
    torch_zip(path / "optimizer.pt")
    torch_zip(path / "scheduler.pt", tensors=0)
    torch_zip(path / "rng_state.pth", tensors=1)
    torch_zip(path / "training_args.bin", tensors=0)
    state = {"global_step": 40, "epoch": 1.5, "log_history": [{"loss": 1.25}]}
    (path / "trainer_state.json").write_text(json.dumps(state, indent=2))
    return path


def deepspeed(path, ranks=2):
    for rank in range(ranks):
        torch_zip(path / f"zero_pp_rank_{rank}_mp_rank_00_optim_states.pt")
    torch_zip(path / "mp_rank_00_model_states.pt")
    (path.parent / "latest").write_text(path.name)
    return path


def orbax(path):
    (path / "default" / "d").mkdir(parents=True)
    (path / "default" / "_METADATA").write_text(json.dumps({"tree_metadata": {"a": 1}}))
    (path / "default" / "manifest.ocdbt").write_bytes(b"\x0c\xdb" * 20)
    (path / "default" / "d" / "0f").write_bytes(b"x" * 100)
    data = {"item_handlers": {}, "init_timestamp_nsecs": 1, "commit_timestamp_nsecs": 2}
    (path / "_CHECKPOINT_METADATA").write_text(json.dumps(data))
    return path
