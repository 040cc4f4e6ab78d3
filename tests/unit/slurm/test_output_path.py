"""Slurm's patterns for the path of a job's output."""

import pytest

from slurm_restart.slurm.output_path import output_path


@pytest.mark.parametrize(
    ("pattern", "expected"),
    [
        ("", "/work/slurm-12.out"),
        ("(null)", "/work/slurm-12.out"),
        ("/abs/out", "/abs/out"),
        ("logs/%x_%u.%A", "/work/logs/my job_ann.12"),
        ("%5j-%05j-%99j", "/work/00012-00012-0000000012"),
        ("%%j %N %q", "/work/%j %N %q"),
        ("%3x", "/work/my job"),
    ],
)
def test_output_path(pattern: str, expected: str) -> None:
    record = {"job_id": "12", "work_dir": "/work"}
    detail = {"std_out": pattern, "array": "12", "task": "N/A", "user": "ann", "name": "my job"}
    assert output_path(record, detail) == expected


def test_array() -> None:
    record = {"job_id": "14", "work_dir": "/work"}
    detail = {"std_out": "", "array": "12", "task": "2", "user": "ann", "name": "j"}
    assert output_path(record, detail) == "/work/slurm-12_2.out"
    assert output_path(record, detail | {"std_out": "%a.%A.%j"}) == "/work/2.12.14"
