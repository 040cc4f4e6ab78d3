import pickle
import zipfile

import pytest

from slurm_restart.trainer.run_plan import CheckpointFormat
from tests.unit.trainer.probes.made_checkpoints import (
    assert_each_cut_is_found,
    check,
    is_complete,
    torch_legacy,
    torch_zip,
)

TORCH = CheckpointFormat.TORCH


def test_each_cut_of_a_zip_file_is_found(tmp_path):
    assert_each_cut_is_found(torch_zip(tmp_path / "a.pt"), TORCH)


def test_a_file_without_checksums_is_complete(tmp_path):
    assert is_complete(torch_zip(tmp_path / "a.pt", with_sums=False), TORCH)


def test_a_zip_file_of_another_program_is_none(tmp_path):
    with zipfile.ZipFile(tmp_path / "a.pt", "w") as archive:
        archive.writestr("readme.txt", "x")
    assert check(tmp_path / "a.pt", TORCH).reason == "it has no data.pkl"


@pytest.mark.parametrize("place", [0, 300, 2000])
def test_zeros_in_the_place_of_a_member_are_found(tmp_path, place):
    """What a file system leaves that lost some blocks of a file."""
    path = torch_zip(tmp_path / "a.pt")
    data = bytearray(path.read_bytes())
    data[place : place + 1500] = bytes(1500)
    path.write_bytes(data)
    assert not is_complete(path, TORCH)


def test_each_cut_of_a_file_of_old_is_found(tmp_path, torch_modules):
    floats, halves = torch_modules("torch", "FloatStorage", "HalfStorage")
    storages = [(floats, 4, 30), (halves, 2, 50), (floats, 4, 0), (floats, 4, 100)]
    assert_each_cut_is_found(torch_legacy(tmp_path / "a.pt", storages), TORCH)


@pytest.mark.parametrize("protocol", range(6))
def test_each_cut_of_a_pickle_is_found(tmp_path, protocol):
    path = tmp_path / "a.pt"
    data = {"step": 7, "text": "x" * 300, "bytes": b"." * 400, "list": list(range(70_000, 70_300))}
    path.write_bytes(pickle.dumps(data, protocol=protocol))
    assert_each_cut_is_found(path, TORCH)


def test_long_values_are_not_read(tmp_path):
    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps([b"x" * (3 << 20), bytearray(2 << 20), "end"], protocol=5))
    assert is_complete(path, TORCH)
    path.write_bytes(path.read_bytes()[: 2 << 20])
    assert check(path, TORCH).reason == "it ends within its pickle"


def test_a_pickle_is_not_executed(tmp_path):
    class Harmful:
        def __reduce__(self):
            return (open, (str(tmp_path / "executed"), "w"))

    path = tmp_path / "a.pt"
    path.write_bytes(pickle.dumps(Harmful()))
    assert is_complete(path, TORCH)
    assert not (tmp_path / "executed").exists()


def test_text_is_no_file_of_torch(tmp_path):
    (tmp_path / "a.pt").write_text("my own form")
    assert "no file of torch.save" in check(tmp_path / "a.pt", TORCH).reason
