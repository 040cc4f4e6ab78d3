"""The checkpoints that existed at a moment, by name and mark, in 24 bytes each.

A directory may hold 100,000 of them, and the supervisor keeps them for the whole attempt.
"""

import sys
import zlib
from array import array
from bisect import bisect_left
from collections.abc import Iterable
from pathlib import Path

from slurm_restart.errors import StateError
from slurm_restart.safe_files import read_bounded
from slurm_restart.trainer.atomic_file import write_atomic
from slurm_restart.trainer.checkpoints import Checkpoint, Mark

MAX_BYTES = 1 << 30
_COLUMNS = 3
_WIDTH = 8


class KnownCheckpoints:
    """Marks by name; a name is stored as a hash, which is the same in every process.

    Two names of the same hash are told apart by their marks.
    """

    def __init__(self, hashes: "array[int]", times: "array[int]", sizes: "array[int]") -> None:
        self._hashes, self._times, self._sizes = hashes, times, sizes

    @classmethod
    def of(cls, checkpoints: Iterable[Checkpoint]) -> "KnownCheckpoints":
        """Return the marks of checkpoints; of equal names the last one counts."""
        hashes, times, sizes = array("Q"), array("q"), array("q")
        for checkpoint in checkpoints:
            hashes.append(_hash(checkpoint.name))
            times.append(checkpoint.mark[0])
            sizes.append(checkpoint.mark[1])
        order = sorted(range(len(hashes)), key=hashes.__getitem__)
        return cls(*(array(row.typecode, map(row.__getitem__, order))
                     for row in (hashes, times, sizes)))  # fmt: skip

    def get(self, name: str) -> Mark | None:
        """Return the mark of a name; None: it is not known."""
        wanted = _hash(name)
        place = bisect_left(self._hashes, wanted)
        if place == len(self._hashes) or self._hashes[place] != wanted:
            return None
        return self._times[place], self._sizes[place]

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and self.get(name) is not None

    def __len__(self) -> int:
        return len(self._hashes)

    def save(self, path: Path) -> None:
        """Write all to a file.

        Raises:
            OSError: it cannot be written.
        """
        write_atomic(path, b"".join(map(_to_bytes, (self._hashes, self._times, self._sizes))))

    @classmethod
    def load(cls, path: Path) -> "KnownCheckpoints":
        """Read what `save` wrote.

        Raises:
            StateError: it is not such a file.
            OSError: it cannot be read.
        """
        data = read_bounded(path, MAX_BYTES, follow=False)
        length, rest = divmod(len(data), _COLUMNS * _WIDTH)
        if rest:
            raise StateError(f"{path}: expected a multiple of 24 bytes, got {len(data)}")
        size = length * _WIDTH
        parts = [data[number * size : (number + 1) * size] for number in range(_COLUMNS)]
        return cls(
            _from_bytes("Q", parts[0]), _from_bytes("q", parts[1]), _from_bytes("q", parts[2])
        )


def _hash(name: str) -> int:
    data = name.encode("utf-8", "surrogateescape")
    return zlib.crc32(data) << 32 | zlib.crc32(data[::-1])


def _to_bytes(row: "array[int]") -> bytes:
    return _swapped(row).tobytes()


def _from_bytes(kind: str, data: bytes) -> "array[int]":
    return _swapped(array(kind, data))


def _swapped(row: "array[int]") -> "array[int]":
    # The file is little-endian: attempts may run on nodes of different architectures.
    if sys.byteorder == "little":
        return row
    other = array(row.typecode, row)
    other.byteswap()
    return other
