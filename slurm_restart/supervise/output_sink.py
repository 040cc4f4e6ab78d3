"""A file descriptor that the trainer's output is copied to; failures are counted, not raised."""

import errno
import os
import time
from collections.abc import Callable
from contextlib import suppress

_RETRY = 1.0
"""Seconds between attempts to write to a sink that has failed."""


class Sink:
    """One file that the output is copied to.

    Args:
        name: its name in messages.
        handle: a file descriptor to write to; None: it could not be opened.
        warn: called with a message when writing fails, and when it works again.
    """

    def __init__(self, name: str, handle: int | None, warn: Callable[[str], None]) -> None:
        self._name = name
        self._handle = handle
        self._warn = warn
        self._lost = 0
        self._retry_at = 0.0

    def write(self, data: bytes) -> None:
        """Write all data, or count it as lost."""
        if self._handle is None:
            return
        if self._lost and time.monotonic() < self._retry_at:
            self._lost += len(data)
            return
        try:
            if self._lost:
                self._write(f"\n[csx-restart: {self._lost} bytes of output lost]\n".encode())
                self._warn(f"{self._name}: writable again, {self._lost} bytes were lost")
                self._lost = 0
            self._write(data)
        except OSError as error:
            self._fail(error, len(data))

    def finish(self) -> None:
        """Do nothing: all data has been written already, or is lost."""

    def close(self) -> None:
        """Close the file descriptor."""
        if self._handle is not None:
            with suppress(OSError):
                os.close(self._handle)

    def _write(self, data: bytes) -> None:
        assert self._handle is not None  # noqa: S101 - for the type checker
        view = memoryview(data)
        while view:
            view = view[os.write(self._handle, view) :]

    def _fail(self, error: OSError, lost: int) -> None:
        if not self._lost:
            self._warn(f"{self._name}: cannot be written: {error.strerror}")
        self._lost += lost
        self._retry_at = time.monotonic() + _RETRY
        if error.errno in (errno.EPIPE, errno.EBADF):
            # The reader is gone for good.
            self._handle = None
