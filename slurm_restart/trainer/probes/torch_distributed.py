"""Check directories of torch.distributed.checkpoint; `.metadata` in them is written last."""

import os
import re
from collections.abc import Iterable, Iterator
from pathlib import Path

from slurm_restart.safe_files import open_binary
from slurm_restart.trainer.probes.broken import BrokenCheckpointError
from slurm_restart.trainer.probes.pickle_stream import (
    LongPickleError,
    NotPickleError,
    Opcode,
    read_opcodes,
)

_METADATA = ".metadata"
_DATA = re.compile(r"__\d+_\d+\.distcp")


def check_dcp(path: str) -> None:
    """Check that `.metadata` is whole, and that the files that it names are there, long enough.

    Raises:
        BrokenCheckpointError: that is not so.
        OSError: it cannot be read now.
    """
    folder = Path(path)
    try:
        lengths = _lengths(folder / _METADATA)
    except FileNotFoundError:
        raise BrokenCheckpointError(f"it has no {_METADATA}, which is written last") from None
    if lengths is None:
        lengths = {file.name: 1 for file in folder.iterdir() if _DATA.fullmatch(file.name)}
    for name, length in sorted(lengths.items()):
        try:
            size = (folder / name).stat().st_size
        except FileNotFoundError:
            raise BrokenCheckpointError(f"{name} is not there") from None
        if size < length:
            raise BrokenCheckpointError(f"{name} has {size} of at least {length} bytes")


def _lengths(path: Path) -> dict[str, int] | None:
    """Return the least size of each data file in bytes; None: the pickle is too long to read."""
    with open_binary(path) as stream:
        size = os.fstat(stream.fileno()).st_size
        if not size:
            raise BrokenCheckpointError(f"{_METADATA} is empty")
        lengths: dict[str, int] = {}
        try:
            for name, end in _parts(read_opcodes(stream, size)):
                lengths[name] = max(lengths.get(name, 1), end)
        except BrokenCheckpointError as error:
            raise BrokenCheckpointError(f"{_METADATA}: {error}") from None
        except NotPickleError as error:
            raise BrokenCheckpointError(f"{_METADATA} is no pickle: {error}") from None
        except LongPickleError:
            return None
    return lengths


def _parts(opcodes: Iterable[Opcode]) -> Iterator[tuple[str, int]]:
    """Yield name and end of each part of a data file.

    A part is pickled as the fields of `_StorageInfo`: `relative_path`, `offset` and `length`, each
    followed by its value.
    """
    name, offset, field = "", 0, None
    for opcode in opcodes:
        value = opcode.value
        if field == "relative_path" and isinstance(value, str):
            name, offset = value, 0
            if _DATA.fullmatch(name):
                yield name, 1
        elif field == "offset" and isinstance(value, int):
            offset = value
        elif field == "length" and isinstance(value, int) and _DATA.fullmatch(name):
            yield name, offset + value
        if opcode.name in _NO_VALUES:
            continue
        field = value if value in ("relative_path", "offset", "length") else None


_NO_VALUES = frozenset({"FRAME", "MARK"})
