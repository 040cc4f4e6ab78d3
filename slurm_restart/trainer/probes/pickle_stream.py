"""Read the opcodes of pickles without executing them: where one ends, and the values in it.

Long byte strings are skipped, not read. The opcodes are those of Python's pickletools.
"""

import pickletools
from collections.abc import Iterator
from dataclasses import dataclass
from typing import IO, Any, cast

from slurm_restart.trainer.probes.broken import BrokenCheckpointError

MAX_OPCODES = 3_000_000
"""Of one pickle; reading them takes about 4 s."""
_SKIPPED = 1 << 20
"""Bytes of a value from which on it is skipped."""


_PUT = frozenset({"PUT", "BINPUT", "LONG_BINPUT", "MEMOIZE"})
_GET = frozenset({"GET", "BINGET", "LONG_BINGET"})


class NotPickleError(Exception):
    """The bytes are no opcodes of a pickle, though the file does not end here."""


class LongPickleError(Exception):
    """The pickle has more than `MAX_OPCODES` opcodes."""


@dataclass(frozen=True, slots=True)
class Opcode:
    """An opcode and its value; for a value from the memo, the one that was put there."""

    name: str
    value: Any


class _SkippedBytes(bytes):
    """Stands for bytes that were not read."""

    size: int

    def __len__(self) -> int:
        return self.size


class _Stream:
    """What pickletools reads from: notes the end of the file, and skips long values."""

    def __init__(self, stream: IO[bytes], size: int) -> None:
        self._stream = stream
        self._size = size
        self.ended = False

    def tell(self) -> int:
        return self._stream.tell()

    def read(self, count: int) -> bytes:
        if count > _SKIPPED:
            return self._skip(count)
        data = self._stream.read(count)
        self.ended |= len(data) < count
        return data

    def _skip(self, count: int) -> bytes:
        position = self._stream.tell()
        if position + count > self._size:
            self.ended = True
            return b""
        self._stream.seek(position + count)
        skipped = _SkippedBytes()
        skipped.size = count
        return skipped

    def readline(self) -> bytes:
        data = self._stream.readline(_SKIPPED)
        self.ended |= not data.endswith(b"\n")
        return data


def read_opcodes(stream: IO[bytes], size: int) -> Iterator[Opcode]:
    """Yield the opcodes of the pickle at the stream's position, which is behind it afterwards.

    Args:
        stream: a buffered file.
        size: bytes of the file.

    Raises:
        BrokenCheckpointError: the file ends within the pickle.
        NotPickleError, LongPickleError: see there.
        OSError: it cannot be read now.
    """
    source = _Stream(stream, size)
    memo: dict[int, Any] = {}
    last: Any = None
    value: Any
    try:
        for number, (opcode, value, _) in enumerate(pickletools.genops(cast("IO[bytes]", source))):
            if number > MAX_OPCODES:
                raise LongPickleError
            name = opcode.name
            if name in _PUT:
                memo[len(memo) if value is None else value] = last
                continue
            last = memo.get(value) if name in _GET else value
            yield Opcode(name, last)
    except (ValueError, IndexError, OverflowError) as error:
        if source.ended:
            raise BrokenCheckpointError("it ends within its pickle") from None
        raise NotPickleError(str(error)) from None
