import zipfile

from slurm_restart.trainer.run_plan import CheckpointFormat
from tests.unit.trainer.probes.made_checkpoints import (
    assert_each_cut_is_found,
    check,
    hdf5,
    keras,
)

KERAS = CheckpointFormat.KERAS


def test_each_cut_is_found(tmp_path):
    assert_each_cut_is_found(keras(tmp_path / "a.keras"), KERAS)
    assert_each_cut_is_found(hdf5(tmp_path / "a.weights.h5"), KERAS)


def test_a_missing_member_is_found(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.keras", "w") as archive:
        archive.writestr("config.json", "{}")
    assert check(tmp_path / "a.keras", KERAS).reason == "it has no metadata.json"
