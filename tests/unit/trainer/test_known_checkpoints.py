import pytest

from slurm_restart.errors import StateError
from slurm_restart.trainer import known_checkpoints
from slurm_restart.trainer.checkpoints import Checkpoint
from slurm_restart.trainer.known_checkpoints import KnownCheckpoints


def checkpoint(name, mark):
    return Checkpoint(path=f"/m/{name}", name=name, step=1, mark=mark)


MARKS = {f"step-{number}\udcff.pt": (10**18 + number, number) for number in range(3000)}


@pytest.fixture
def known():
    return KnownCheckpoints.of(checkpoint(name, mark) for name, mark in MARKS.items())


def test_marks_by_name(known):
    assert len(known) == len(MARKS)
    assert {name: known.get(name) for name in MARKS} == MARKS
    assert "step-0\udcff.pt" in known
    for name in ("step-3000.pt", "", 5):
        assert name not in known
    assert known.get("step-3000.pt") is None
    assert KnownCheckpoints.of([]).get("x") is None


@pytest.mark.parametrize(("byteorder", "other"), [("little", "little"), ("big", "big")])
def test_it_is_kept_in_a_file(known, tmp_path, monkeypatch, byteorder, other):
    path = tmp_path / "before.bin"
    monkeypatch.setattr(known_checkpoints.sys, "byteorder", byteorder)
    known.save(path)
    assert path.stat().st_size == 24 * len(MARKS)
    monkeypatch.setattr(known_checkpoints.sys, "byteorder", other)
    again = KnownCheckpoints.load(path)
    assert {name: again.get(name) for name in MARKS} == MARKS


def test_a_file_that_was_cut_off_is_an_error(known, tmp_path):
    path = tmp_path / "before.bin"
    known.save(path)
    path.write_bytes(path.read_bytes()[:-1])
    with pytest.raises(StateError, match=r"before\.bin: expected a multiple of 24 bytes"):
        KnownCheckpoints.load(path)
    with pytest.raises(FileNotFoundError):
        KnownCheckpoints.load(tmp_path / "absent")
