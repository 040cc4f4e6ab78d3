"""Check zip files: torch.save, numpy.savez and Keras write them, with the directory at the end."""

import struct
import zipfile
import zlib
from collections.abc import Iterator
from contextlib import contextmanager
from typing import IO

from slurm_restart.safe_files import open_binary
from slurm_restart.trainer.probes.broken import BrokenCheckpointError

MAX_READ = 64 << 20
"""Bytes whose checksums are compared; reading a whole checkpoint would take minutes."""
_LOCAL_HEADER = struct.Struct("<4s22xHH")
_SIGNATURE = b"PK\x03\x04"
_NPY = b"\x93NUMPY"


@contextmanager
def open_zip(path: str) -> Iterator[zipfile.ZipFile]:
    """Open a zip file and check that its directory is whole and each member lies in the file.

    Raises:
        BrokenCheckpointError: that is not so; also for what zipfile raises inside the context.
        OSError: it cannot be read now.
    """
    with open_binary(path) as stream:
        try:
            with zipfile.ZipFile(stream) as archive:
                _check_members(archive, stream)
                yield archive
        except (zipfile.BadZipFile, zlib.error, EOFError, NotImplementedError) as error:
            raise BrokenCheckpointError(f"no whole zip file: {error}") from None
        except (struct.error, OverflowError, UnicodeDecodeError) as error:
            raise BrokenCheckpointError(f"its zip directory is damaged: {error}") from None


def _check_members(archive: zipfile.ZipFile, stream: IO[bytes]) -> None:
    end = archive.start_dir
    for member in sorted(archive.infolist(), key=lambda entry: entry.header_offset, reverse=True):
        stream.seek(member.header_offset)
        header = stream.read(_LOCAL_HEADER.size)
        if len(header) < _LOCAL_HEADER.size or not header.startswith(_SIGNATURE):
            raise BrokenCheckpointError(f"{member.filename} is not where its directory says")
        _, name, extra = _LOCAL_HEADER.unpack(header)
        start = member.header_offset + _LOCAL_HEADER.size + name + extra
        if start + member.compress_size > end:
            raise BrokenCheckpointError(f"{member.filename} is not whole")
        end = member.header_offset


def check_sums(archive: zipfile.ZipFile) -> None:
    """Compare the checksums of members, the smallest first, up to `MAX_READ` bytes.

    Raises:
        BrokenCheckpointError, BadZipFile, zlib.error: a checksum is wrong.
    """
    left = MAX_READ
    for member in sorted(archive.infolist(), key=lambda entry: entry.file_size):
        left -= member.file_size
        if left < 0:
            return
        with archive.open(member) as content:
            while content.read(1 << 20):
                pass


def last_byte(archive: zipfile.ZipFile, member: zipfile.ZipInfo) -> bytes:
    """Return the last byte of a member as it is stored, without a look at its checksum."""
    stream = archive.fp
    assert stream is not None  # noqa: S101 - open
    stream.seek(member.header_offset)
    _, name, extra = _LOCAL_HEADER.unpack(stream.read(_LOCAL_HEADER.size))
    start = member.header_offset + _LOCAL_HEADER.size + name + extra
    stream.seek(start + member.compress_size - 1)
    return stream.read(1)


def check_npz(path: str) -> None:
    """Check a file of numpy.savez.

    Raises:
        BrokenCheckpointError: it is not whole, or a member is no array.
        OSError: it cannot be read now.
    """
    with open_zip(path) as archive:
        for member in archive.infolist():
            if member.filename.endswith(".npy"):
                with archive.open(member) as content:
                    if content.read(len(_NPY)) != _NPY:
                        raise BrokenCheckpointError(f"{member.filename} is no array")
        check_sums(archive)
