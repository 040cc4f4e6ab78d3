import os
import subprocess
import sys

import h5py
import pytest

from slurm_restart.trainer.checkpoint_probe import Soundness
from slurm_restart.trainer.run_plan import CheckpointFormat
from tests.unit.trainer.probes.made_checkpoints import (
    assert_each_cut_is_found,
    check,
    hdf5,
    is_complete,
)

HDF5 = CheckpointFormat.HDF5
KILLED = """
import h5py, os, sys
file = h5py.File(sys.argv[1], "w", libver=sys.argv[2])
for number in range(30):
    file[f"group{number}/x"] = list(range(2000))
    if number == 20:
        file.flush()
os._exit(9)
"""


@pytest.mark.parametrize(
    "values",
    [
        {},
        {"libver": "latest"},
        {"userblock_size": 1024, "libver": "latest"},
        {"userblock_size": 512},
    ],
)
def test_each_cut_is_found_and_what_follows_the_end(tmp_path, values):
    path = hdf5(tmp_path / "a.h5", **values)
    assert_each_cut_is_found(path, HDF5)
    with path.open("ab") as file:
        file.write(bytes(100))
    assert not is_complete(path, HDF5)


@pytest.mark.parametrize("libver", ["earliest", "latest"])
def test_a_file_whose_writer_was_killed_is_broken(tmp_path, libver):
    path = tmp_path / "a.h5"
    done = subprocess.run([sys.executable, "-c", KILLED, path, libver], check=False)
    assert done.returncode == 9
    assert check(path, HDF5).soundness is Soundness.BROKEN


def test_a_file_that_was_changed_later_is_complete(tmp_path):
    path = hdf5(tmp_path / "a.h5")
    with h5py.File(path, "a") as file:
        del file["chunked"]
        file.attrs["note"] = "x" * 3000
    assert is_complete(path, HDF5)


@pytest.mark.skipif(os.geteuid() == 0, reason="root may read everything")
def test_a_file_that_may_not_be_read_is_unreadable(tmp_path):
    path = hdf5(tmp_path / "a.h5")
    path.chmod(0)
    assert check(path, HDF5).soundness is Soundness.UNREADABLE
