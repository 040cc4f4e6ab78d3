"""Decompress zstd: by Python 3.14, by the zstandard package, or by the program `zstd`."""

import importlib
import io
import shutil
import subprocess
import threading
from collections.abc import Callable
from contextlib import suppress
from functools import partial
from typing import Any, cast

_PIECE = 1024
"""Compressed bytes that zstandard gets at a time: they become at most 32 MB."""
_WINDOW = 1 << 27
"""Bytes of the largest window that is accepted, as by `zstd -d`."""
_INPUT = 64 << 10
"""Compressed bytes that the program gets at a time."""
_END_SECONDS = 10.0
"""How long the program may take to end after its last output."""


def new_zstd_codec() -> Callable[[], Any] | None:
    """Return what makes a decompressor of one stream, see `compressed.Codec`.

    None: no module is installed.
    """
    if module := _module("compression.zstd"):
        return cast("Callable[[], Any]", module.ZstdDecompressor)
    if module := _module("zstandard"):
        return partial(ZstandardCodec, module)
    return None


def zstd_program() -> str | None:
    """Return the path of the program, if it is installed."""
    return shutil.which("zstd")


def _module(name: str) -> Any | None:
    try:
        return importlib.import_module(name)
    except ImportError:
        return None


class ZstandardCodec:
    """A decompressor by the zstandard package."""

    def __init__(self, module: Any) -> None:
        self._stream = module.ZstdDecompressor(max_window_size=_WINDOW).decompressobj()
        self._input = b""
        self._output = io.BytesIO()
        self._left = 0

    @property
    def eof(self) -> bool:
        """See `compressed.Codec`."""
        return bool(self._stream.eof) and not self._left

    @property
    def needs_input(self) -> bool:
        """See `compressed.Codec`."""
        return not self._left and not self._input

    @property
    def unused_data(self) -> bytes:
        """See `compressed.Codec`."""
        return bytes(self._stream.unused_data) + self._input

    def decompress(self, data: bytes, max_length: int) -> bytes:
        """See `compressed.Codec`."""
        self._input += data
        if not self._left:
            piece, self._input = self._input[:_PIECE], self._input[_PIECE:]
            content = self._stream.decompress(piece)
            self._output, self._left = io.BytesIO(content), len(content)
        part = self._output.read(max_length)
        self._left -= len(part)
        return part


class ProgramReader(io.RawIOBase):
    """The content of compressed data, through the program `zstd`; see `compressed.Decompressed`."""

    kind = "zstd"

    def __init__(self, program: str, source: Any, on_read: Callable[[int], None]) -> None:
        self.problem: str | None = None
        self._source = source
        self._on_read = on_read
        self._child = subprocess.Popen(
            [program, "-dcq"],
            bufsize=0,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.DEVNULL,
        )
        self._feeder = threading.Thread(target=self._feed, daemon=True)
        self._feeder.start()

    def _feed(self) -> None:
        stdin = self._child.stdin
        assert stdin is not None  # noqa: S101 - for the type checker
        # The program ends at damaged data, and the source is closed by a reader that stops early.
        with suppress(OSError, ValueError), stdin:
            while data := self._source.read(_INPUT):
                self._on_read(len(data))
                stdin.write(data)

    def readable(self) -> bool:
        """See `io.IOBase`."""
        return True

    def readinto(self, buffer: Any) -> int:
        """See `io.RawIOBase`."""
        stdout = self._child.stdout
        assert stdout is not None  # noqa: S101 - for the type checker
        size = int(stdout.readinto(buffer))  # type: ignore[attr-defined]  # unbuffered: FileIO
        if size == 0 and self._child.wait(_END_SECONDS) != 0:
            self.problem = "the zstd data end early or are damaged"
        return size

    def close(self) -> None:
        """See `io.IOBase`."""
        if not self.closed:
            self._child.kill()
            self._child.wait(_END_SECONDS)
            if self._child.stdout is not None:
                self._child.stdout.close()
            self._feeder.join(_END_SECONDS)
            self._source.close()
        super().close()
