"""Check files of safetensors: 8 bytes with the length of a JSON header, the header, the tensors."""

import json
import os
from typing import Any

from slurm_restart.safe_files import open_binary
from slurm_restart.trainer.probes.broken import BrokenCheckpointError

_LENGTH = 8
_MAX_HEADER = 100_000_000
"""The limit of the format itself."""


def check_safetensors(path: str) -> None:
    """Check that the file has the size that its header gives.

    Raises:
        BrokenCheckpointError: it is shorter or longer, or the header cannot be read.
        OSError: it cannot be read now.
    """
    with open_binary(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        length = int.from_bytes(stream.read(_LENGTH), "little")
        if size < _LENGTH or length > size - _LENGTH:
            raise BrokenCheckpointError(f"it has {size} bytes and ends within its header")
        if not 1 < length <= _MAX_HEADER:
            raise BrokenCheckpointError("it does not begin as a safetensors file")
        header = _header(stream.read(length))
    expected = _LENGTH + length + max(map(_end, header.values()), default=0)
    if size != expected:
        raise BrokenCheckpointError(f"it has {size} of {expected} bytes")


def _header(data: bytes) -> dict[str, Any]:
    try:
        header = json.loads(data)
    except (ValueError, RecursionError) as error:
        raise BrokenCheckpointError(f"its header is no JSON: {error}") from None
    if not isinstance(header, dict):
        raise BrokenCheckpointError("its header is no JSON object")
    header.pop("__metadata__", None)
    return header


def _end(entry: Any) -> int:
    try:
        return int(entry["data_offsets"][1])
    except (TypeError, KeyError, IndexError, ValueError):
        raise BrokenCheckpointError("a tensor in its header has no data_offsets") from None
