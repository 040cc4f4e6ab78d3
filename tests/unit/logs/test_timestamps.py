import pytest
from hypothesis import given
from hypothesis import strategies as st

from slurm_restart.logs.timestamps import logged_at

NOON = ((31 + 4) * 24 + 12) * 3600.0  # the 5th of February, 12:00


@pytest.mark.parametrize(
    "line",
    [
        "2026-02-05 12:00:00,000 INFO: step 1",
        "[2026-02-05T12:00:00] step 1",
        "2026/02/05 12:00:00 step 1",
        "I0205 12:00:00.000000 4242 file.cc:12] step 1",
        "Feb  5 12:00:00 csx3 kernel: step 1",
        "- 1 2026.02.05 R0 2026-02-05-12.00.00.000000 R0 RAS step 1",
        "slurmstepd: error: *** STEP 17.0 ON csx1 CANCELLED AT 2026-02-05T12:00:00 ***",
    ],
)
def test_the_same_moment_in_many_forms(line: str) -> None:
    assert logged_at(line) == NOON


@pytest.mark.parametrize(
    "line",
    ["step 1", "12:00:00 step 1", "2026-13-05 12:00:00 step", "x" * 90 + " 2026-02-05 12:00:00"],
)
def test_no_stamp(line: str) -> None:
    assert logged_at(line) is None


def test_parts_of_a_second_count() -> None:
    assert logged_at("2026-02-05 12:00:00.25 step") == NOON + 0.25


@given(st.text(max_size=100))
def test_any_text_can_be_asked(text: str) -> None:
    logged_at(text)
    logged_at(text + " CANCELLED AT " + text)
