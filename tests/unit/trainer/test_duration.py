import pytest

from slurm_restart.core.job_comment import MAX_SECONDS
from slurm_restart.trainer.duration import parse_duration


@pytest.mark.parametrize(
    ("text", "seconds"),
    [
        ("90s", 90),
        ("90 sec", 90),
        ("10min", 600),
        ("10m", 600),
        ("10 mins", 600),
        ("24h", 86400),
        ("1 hour", 3600),
        ("2d", 172800),
        ("1h30min", 5400),
        ("1d 2h 3m 4s", 93784),
        ("0", 0),
        ("0s", 0),
        ("unlimited", MAX_SECONDS),
        ("UNLIMITED", MAX_SECONDS),
        # sbatch(1): minutes:seconds, hours:minutes:seconds, days-hours[:minutes[:seconds]]
        ("10:30", 630),
        ("1:00:00", 3600),
        ("01:00:00", 3600),
        ("1-12", 129600),
        ("1-12:30", 131400),
        ("1-12:30:15", 131415),
    ],
)
def test_times_are_read(text, seconds):
    assert parse_duration(text) == seconds


@pytest.mark.parametrize(
    "text",
    ["", " ", "300", "-1", "10", "1.5h", "ten", "10min!", "h", "1:2:3:4", "1-", "9" * 40, "99999d"],
)
def test_an_invalid_duration_is_refused(text):
    with pytest.raises(ValueError, match="a time such as 10min, 24h or 1-12:00:00"):
        parse_duration(text)
