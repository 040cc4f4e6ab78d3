"""Check files of torch.save: zip files, or, before PyTorch 1.6, pickles with tensors behind."""

import os
from collections import deque
from collections.abc import Iterable, Iterator
from typing import IO
from zipfile import ZIP_STORED, ZipFile

from slurm_restart.safe_files import open_binary
from slurm_restart.trainer.probes.broken import BrokenCheckpointError
from slurm_restart.trainer.probes.pickle_stream import (
    LongPickleError,
    NotPickleError,
    Opcode,
    read_opcodes,
)
from slurm_restart.trainer.probes.zip_files import last_byte, open_zip

_ZIP = b"PK"
_STOP = b"."
# torch.serialization.MAGIC_NUMBER, the first pickle of an old file. Behind it are the pickles of
# the protocol, of the system, of the object and of the keys of its tensors, then the tensors.
_OLD_MAGIC = 0x1950A86A20F9469CFC6C
_ELEMENT_BYTES = {
    "Double": 8, "Float": 4, "Half": 2, "BFloat16": 2, "Long": 8, "Int": 4, "Short": 2, "Char": 1,
    "Byte": 1, "Bool": 1, "ComplexDouble": 16, "ComplexFloat": 8, "Untyped": 1,
}  # fmt: skip
_COUNT_BYTES = 8
"""Of the number of elements before each tensor."""
_TEXTS = frozenset({"BINUNICODE", "SHORT_BINUNICODE", "UNICODE"})


def check_torch(path: str) -> None:
    """Check a file of torch.save, or a plain pickle.

    Raises:
        BrokenCheckpointError: it is not complete.
        OSError: it cannot be read now.
    """
    with open_binary(path) as stream:
        start = stream.read(len(_ZIP))
        if not start:
            raise BrokenCheckpointError("the file is empty")
        if start != _ZIP:
            stream.seek(0)
            _check_pickles(stream)
            return
    with open_zip(path) as archive:
        _check_data(archive)


def _check_data(archive: ZipFile) -> None:
    # Checksums are not compared: torch.serialization.set_crc32_options leaves them out.
    data = next(
        (member for member in archive.infolist() if member.filename.endswith("data.pkl")), None
    )
    if data is None:
        raise BrokenCheckpointError("it has no data.pkl")
    if data.compress_type == ZIP_STORED and last_byte(archive, data) != _STOP:
        raise BrokenCheckpointError("its data.pkl is not whole")


def _check_pickles(stream: IO[bytes]) -> None:
    size = os.fstat(stream.fileno()).st_size
    try:
        values = [opcode.value for opcode in _first(read_opcodes(stream, size))]
        if _OLD_MAGIC not in values:
            return
        for _ in range(2):
            _first(read_opcodes(stream, size))
        storages = dict(_storages(read_opcodes(stream, size)))
        keys = [opcode.value for opcode in read_opcodes(stream, size) if opcode.name in _TEXTS]
    except NotPickleError as error:
        raise BrokenCheckpointError(f"it is no file of torch.save: {error}") from None
    except LongPickleError:
        stream.seek(-1, os.SEEK_END)
        if stream.read(1) != _STOP:
            raise BrokenCheckpointError("it does not end as a pickle does") from None
        return
    expected = stream.tell() + sum(_COUNT_BYTES + storages.get(key, 0) for key in keys)
    if size < expected:
        raise BrokenCheckpointError(f"it has {size} of {expected} bytes")


def _first(opcodes: Iterable[Opcode]) -> list[Opcode]:
    """Read all opcodes of a pickle and return the first few."""
    found: list[Opcode] = []
    for opcode in opcodes:
        if len(found) < 8:  # noqa: PLR2004 - the magic number is the second
            found.append(opcode)
    return found


def _storages(opcodes: Iterable[Opcode]) -> Iterator[tuple[str, int]]:
    """Yield key and bytes of each tensor's storage.

    Before the opcode BINPERSID the tuple `('storage', type, key, device, number, None)` is built.
    """
    before: deque[object] = deque(maxlen=7)
    for opcode in opcodes:
        if opcode.name == "BINPERSID" and before and before[0] == "storage":
            _, kind, key, _, number = list(before)[:5]
            name = str(kind).rpartition(" ")[2].removesuffix("Storage")
            if isinstance(number, int):
                yield str(key), number * _ELEMENT_BYTES.get(name, 0)
        before.append(opcode.value)
