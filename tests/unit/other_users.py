"""For tests that run the package as another user."""

import os
import stat
from pathlib import Path

import pytest

import slurm_restart

NOBODY = 65534
DAEMON = 1


def _readable_for_all(path: Path) -> bool:
    folders = all(folder.stat().st_mode & stat.S_IXOTH for folder in path.parents)
    return folders and bool(path.stat().st_mode & stat.S_IROTH)


as_root = pytest.mark.skipif(
    os.geteuid() != 0 or not _readable_for_all(Path(slurm_restart.__file__)),
    reason="only root can become another user, who has to be able to read the package",
)
