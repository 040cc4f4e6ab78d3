"""Compare checkpoints of the example trainer."""

from pathlib import Path

import h5py
import numpy as np


def same_weights(first: Path, other: Path) -> bool:
    """Whether two checkpoints hold the same arrays, bit for bit."""
    with h5py.File(first) as a, h5py.File(other) as b:
        names = set(a) | set(b)
        return bool(names) and all(
            name in a and name in b and np.array_equal(a[name][()], b[name][()]) for name in names
        )
