import pytest

from slurm_restart.trainer.run_plan import CheckpointFormat
from tests.unit.trainer.probes.made_checkpoints import (
    assert_each_cut_is_found,
    check,
    safetensors,
)

FORM = CheckpointFormat.SAFETENSORS


def test_each_cut_is_found(tmp_path):
    assert_each_cut_is_found(safetensors(tmp_path / "a.safetensors"), FORM)


@pytest.mark.parametrize(
    ("data", "reason"),
    [
        (b"\2" * 3, "ends within its header"),
        (b"\xff" * 200, "ends within its header"),
        (b"\0" * 200, "does not begin as a safetensors file"),
        (b"\4" + b"\0" * 7 + b"[1, ", "header is no JSON"),
        (b"\4" + b"\0" * 7 + b"[1] ", "header is no JSON object"),
        (b"\x08" + b"\0" * 7 + b'{"a": 1}', "has no data_offsets"),
        (b"\x02" + b"\0" * 7 + b"{}more", "it has 14 of 10 bytes"),
    ],
)
def test_what_is_no_such_file_is_broken(tmp_path, data, reason):
    (tmp_path / "a.safetensors").write_bytes(data)
    assert reason in check(tmp_path / "a.safetensors", FORM).reason
