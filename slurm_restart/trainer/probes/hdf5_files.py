"""Check HDF5 files, those of the Model Zoo (`.mdl`) among them."""

import json
import os
from typing import Any

import h5py

from slurm_restart.safe_files import open_binary
from slurm_restart.trainer.probes.broken import BrokenCheckpointError

_SUCCESS = "__SUCCESS__"
_STEP = "global_step"
_MAX_LINKS = 8
_SIGNATURE_BYTES = 8
_SUPERBLOCK_BYTES = 64
_MAX_OBJECTS = 10_000
"""Groups and datasets whose headers are read."""


def check_mdl(path: str) -> int | None:
    """Check a file of the Model Zoo and return its global step.

    Raises:
        BrokenCheckpointError: HDF5 cannot read it, or it is not marked as written to its end.
        OSError: it cannot be read now.
    """
    step: int | None = _read(path, _check_mdl)
    return step


def check_hdf5(path: str) -> None:
    """Check that HDF5 opens a file, and that each dataset lies in it.

    A file that its writer has not closed is longer or shorter than its header says, or marked as
    open; HDF5 itself reports the last two.

    Raises:
        BrokenCheckpointError: it is not complete.
        OSError: it cannot be read now.
    """
    _read(path, _check_objects)


def _read(path: str, examine: Any) -> Any:
    try:
        # The trainer of a lost node may still hold HDF5's lock on a network file system.
        with h5py.File(path, "r", locking=False) as file:
            return examine(file)
    except OSError as error:
        if "errno = " in str(error) or error.errno is not None:
            raise
        raise BrokenCheckpointError(str(error)) from None
    except (KeyError, RuntimeError, ValueError) as error:
        raise BrokenCheckpointError(str(error)) from None


def _check_mdl(file: Any) -> int | None:
    if not bool(file.attrs.get(_SUCCESS, False)):
        raise BrokenCheckpointError(f"it was not written to its end (no {_SUCCESS})")
    return _step(file)


def _step(file: Any) -> int | None:
    """Return the global step; equal scalars of a checkpoint are stored once and linked."""
    key = _STEP
    for _ in range(_MAX_LINKS):
        name = f"{key}.__metadata__"
        if name not in file.attrs:
            break
        metadata = json.loads(file.attrs[name])
        entry = metadata.get(name) if isinstance(metadata, dict) else None
        if not isinstance(entry, dict):
            break  # not in the Model Zoo's form: the step is in its name
        if "scalar_value" in entry:
            return _to_int(entry["scalar_value"])
        if not entry.get("__LINKED__"):
            break
        key = str(entry.get("key"))
    return _to_int(file[key][()]) if key in file else None


def _to_int(value: Any) -> int | None:
    try:
        return int(value)
    except (TypeError, ValueError):
        return None


def _sizes(path: str, start: int) -> tuple[int, int]:
    """Return the size of a file, and the one in its superblock, which is at `start`."""
    with open_binary(path) as stream:
        stream.seek(start + _SIGNATURE_BYTES)
        block = stream.read(_SUPERBLOCK_BYTES)
        size = os.fstat(stream.fileno()).st_size
    version = block[0]
    # HDF5 File Format Specification, II.A: bytes of an address, and where the addresses begin; the
    # third is the end of the file.
    width, place = (block[5], 16 + 4 * version) if version < 2 else (block[1], 4)  # noqa: PLR2004
    return size, int.from_bytes(block[place + 2 * width :][:width], "little")


def _check_objects(file: Any) -> None:
    size, stored = _sizes(file.filename, file.userblock_size)
    if size != stored:
        raise BrokenCheckpointError(f"it has {size} bytes, not the {stored} of its header")
    count = 0

    def examine(name: str, item: Any) -> bool | None:
        nonlocal count
        count += 1
        if isinstance(item, h5py.Dataset):
            offset = item.id.get_offset()
            if offset is not None and offset + item.id.get_storage_size() > size:
                raise BrokenCheckpointError(f"{name} is not whole")
        return True if count >= _MAX_OBJECTS else None

    file.visititems(examine)
