import zipfile

from slurm_restart.trainer.probes import zip_files
from slurm_restart.trainer.run_plan import CheckpointFormat
from tests.unit.trainer.probes.made_checkpoints import (
    assert_each_cut_is_found,
    check,
    is_complete,
    npz,
)

NPZ = CheckpointFormat.NPZ


def test_each_cut_is_found(tmp_path):
    assert_each_cut_is_found(npz(tmp_path / "a.npz"), NPZ)


def test_a_changed_byte_is_found_in_what_is_read(tmp_path, monkeypatch):
    path = npz(tmp_path / "a.npz")
    data = bytearray(path.read_bytes())
    data[20_000] ^= 1
    path.write_bytes(data)
    assert "Bad CRC-32" in check(path, NPZ).reason
    monkeypatch.setattr(zip_files, "MAX_READ", 1000)
    assert is_complete(path, NPZ)


def test_a_member_that_is_no_array_is_found(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.npz", "w") as archive:
        archive.writestr("a.npy", bytes(100))
    assert check(tmp_path / "a.npz", NPZ).reason == "a.npy is no array"
