"""Reads compressed logs in bounded memory; they are recognised by their first bytes, not by name.

Data that are damaged or end early are read as far as they go, and the reader says so.
"""

import io
from collections.abc import Callable
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

from slurm_restart.errors import CsxError
from slurm_restart.safe_files import open_binary

if TYPE_CHECKING:
    from slurm_restart.logs.zstd import ProgramReader

START = 16
"""Bytes at the beginning of a file that show how it is compressed."""
SUFFIXES = ("", ".gz", ".xz", ".zst", ".bz2")
"""Endings of the names of logs in a directory."""
CHUNK = 1 << 20
"""Bytes of a file that are read at a time."""
_INPUT = 64 << 10
"""Compressed bytes that are read at a time."""
_MEMORY = 256 << 20
"""Bytes that the decompressor of xz may use; the highest level of `xz` needs 65 MB."""

_READ = (
    (b"\x1f\x8b", "gzip"),
    (b"\xfd7zXZ\x00", "xz"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    *(
        (b"BZh%d" % level + magic, "bzip2")
        for level in range(1, 10)
        for magic in (b"1AY", b"\x17rE")
    ),
    *((bytes([0x50 + number]) + b"\x2a\x4d\x18", "zstd") for number in range(16)),
)
"""First bytes of the formats that are read; of zstd also those of a skippable frame."""
_REFUSED = (
    (b"PK\x03\x04", "a ZIP archive"),
    (b"7z\xbc\xaf\x27\x1c", "a 7z archive"),
    (b"Rar!\x1a\x07", "a RAR archive"),
    (b"\x1f\x9d", "compressed by compress"),
    (b"LZIP\x01", "compressed by lzip"),
    (b"\x04\x22\x4d\x18", "compressed by lz4"),
    (b"\x89LZO\x00", "compressed by lzop"),
    (b"\xff\x06\x00\x00sNaPpY", "compressed by snappy"),
)


class CompressedError(CsxError):
    """Compressed data that cannot be read here; the message says why, and what to do."""


class Source(Protocol):
    """What compressed data are read from."""

    def read(self, size: int, /) -> bytes:
        """Return the next bytes, at most `size`; none at the end."""

    def close(self) -> None:
        """Close it."""


class Codec(Protocol):
    """A decompressor of one stream, as in `lzma` and `bz2`."""

    @property
    def eof(self) -> bool:
        """Whether the end of the stream was reached."""

    @property
    def needs_input(self) -> bool:
        """Whether `decompress` yields nothing without more data."""

    @property
    def unused_data(self) -> bytes:
        """What was given beyond the end of the stream."""

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """Return at most `max_length` bytes."""


def compression(start: bytes) -> str | None:
    """Return the format of data that begin so; None: not compressed.

    Raises:
        CompressedError: an archive, or a format that is not read.
    """
    for magic, what in _REFUSED:
        if start.startswith(magic):
            raise CompressedError(f"{what}: unpack it first")
    return next((name for magic, name in _READ if start.startswith(magic)), None)


def open_log(path: Path) -> io.BufferedReader:
    """Open a log for reading from its beginning, decompressed where it is compressed.

    Raises:
        OSError: it cannot be opened.
        CompressedError: it cannot be decompressed here.
    """
    file = open_binary(path)
    kind = compression(file.peek(START)[:START])
    if kind is not None:
        return io.BufferedReader(decompressed(file, kind), CHUNK)
    raw = file.detach()
    raw.seek(0)
    return io.BufferedReader(raw, CHUNK)


def decompressed(
    source: Source, kind: str, on_read: Callable[[int], None] = lambda _: None
) -> "Decompressed | ProgramReader":
    """Return the content of compressed data.

    Args:
        source: the compressed data; closed with the content.
        kind: as `compression` returned it.
        on_read: called with the number of compressed bytes after each read.

    Raises:
        CompressedError: it cannot be decompressed here.
    """
    if kind != "zstd":
        return Decompressed(source, kind, _CODECS[kind], on_read)
    # Imported here: few logs are compressed by zstd.
    from slurm_restart.logs.zstd import ProgramReader, new_zstd_codec, zstd_program  # noqa: PLC0415

    if (new_codec := new_zstd_codec()) is not None:
        return Decompressed(source, kind, new_codec, on_read)
    if (program := zstd_program()) is not None:
        return ProgramReader(program, source, on_read)
    raise CompressedError(
        "compressed by zstd: install the Python package zstandard or the program zstd, "
        "or decompress it first"
    )


class Decompressed(io.RawIOBase):
    """The content of compressed data, which may consist of several streams.

    Args:
        source: the compressed data; closed with this object.
        kind: as `compression` returned it.
        new_codec: returns a decompressor for one stream.
        on_read: called with the number of compressed bytes after each read.
    """

    def __init__(
        self,
        source: Source,
        kind: str,
        new_codec: Callable[[], Codec],
        on_read: Callable[[int], None],
    ) -> None:
        self.kind = kind
        self.problem: str | None = None
        """Why the content is incomplete, once its end was reached; None: it is complete."""
        self._source = source
        self._on_read = on_read
        self._new_codec = new_codec
        self._codec = new_codec()
        self._input = b""
        self._over = False

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def close(self) -> None:
        """See `io.IOBase`."""
        self._source.close()
        super().close()

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`; 0 at the end of what can be read."""
        while not self._over:
            if self._codec.eof:
                self._next_stream()
                continue
            if self._codec.needs_input and not self._input and not self._fill():
                self._end(f"the {self.kind} data end early")
                continue
            data, self._input = self._input, b""
            try:
                part = self._codec.decompress(data, len(buffer))
            except Exception as error:  # noqa: BLE001 - each codec raises errors of its own
                self._end(f"the {self.kind} data are damaged: {error}")
                continue
            if part:
                buffer[: len(part)] = part
                return len(part)
        return 0

    def _fill(self) -> bool:
        """Read more compressed data; return whether there were any."""
        self._input = self._source.read(_INPUT)
        self._on_read(len(self._input))
        return bool(self._input)

    def _next_stream(self) -> None:
        """Begin the next stream; NULs between and after streams are padding."""
        self._input = self._codec.unused_data.lstrip(b"\0")
        while len(self._input) < START and (more := self._source.read(_INPUT)):
            self._on_read(len(more))
            self._input = (self._input + more).lstrip(b"\0")
        if not self._input:
            self._over = True
        elif any(self._input.startswith(magic) for magic, kind in _READ if kind == self.kind):
            self._codec = self._new_codec()
        else:
            self._end(f"other data follow the {self.kind} data")

    def _end(self, problem: str) -> None:
        self.problem, self._over = problem, True


class GzipCodec:
    """See `Codec`."""

    def __init__(self) -> None:
        import zlib  # noqa: PLC0415  # as in `new_codec`

        self._stream = zlib.decompressobj(wbits=16 + zlib.MAX_WBITS)
        self._full = False
        """Whether the last call returned as much as it might, so that there may be more."""

    @property
    def eof(self) -> bool:
        """See `Codec`."""
        return self._stream.eof

    @property
    def needs_input(self) -> bool:
        """See `Codec`."""
        return not self._full and not self._stream.unconsumed_tail

    @property
    def unused_data(self) -> bytes:
        """See `Codec`."""
        return self._stream.unused_data

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """See `Codec`."""
        part = self._stream.decompress(self._stream.unconsumed_tail + data, max_length)
        self._full = len(part) == max_length
        return part


def _xz_codec() -> Codec:
    import lzma  # noqa: PLC0415  # few logs are compressed

    return lzma.LZMADecompressor(lzma.FORMAT_XZ, memlimit=_MEMORY)


def _bzip2_codec() -> Codec:
    import bz2  # noqa: PLC0415  # few logs are compressed

    return bz2.BZ2Decompressor()


_CODECS: dict[str, Callable[[], Codec]] = {
    "gzip": GzipCodec,
    "xz": _xz_codec,
    "bzip2": _bzip2_codec,
}
