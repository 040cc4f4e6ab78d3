"""Parse durations: `10min`, `24h`, `1h30min`, or Slurm's `1-12:00:00`."""

import re

from slurm_restart.core.job_comment import MAX_SECONDS

_UNITS = {"s": 1, "sec": 1, "m": 60, "min": 60, "h": 3600, "hour": 3600, "d": 86400, "day": 86400}
_PART = re.compile(r"(\d{1,9})\s*(days?|d|hours?|h|mins?|m|secs?|s)\s*", re.ASCII)
# sbatch(1), --time, except a number without unit: minutes there, but often meant as seconds.
_SLURM = re.compile(r"(?:(?P<d>\d{1,6})-)?(?P<a>\d{1,9})(?::(?P<b>\d{1,2}))?(?::(?P<c>\d{1,2}))?")
EXPECTED = "a time such as 10min, 24h or 1-12:00:00"


def parse_duration(text: str) -> int:
    """Return the seconds of a duration; `unlimited` is `MAX_SECONDS`.

    Raises:
        ValueError: not a duration, or longer than `MAX_SECONDS`.
    """
    text = text.strip().lower()
    seconds = MAX_SECONDS if text == "unlimited" else _slurm_time(text)
    if seconds is None:
        seconds = _with_units(text)
    if seconds is None or seconds > MAX_SECONDS:
        raise ValueError(EXPECTED)
    return seconds


def _with_units(text: str) -> int | None:
    parts = _PART.findall(text)
    if text == "0":
        return 0
    if not parts or _PART.sub("", text):
        return None
    return sum(int(number) * _UNITS[_singular(unit)] for number, unit in parts)


def _singular(unit: str) -> str:
    return unit.rstrip("s") or "s"


def _slurm_time(text: str) -> int | None:
    """Return the seconds of `minutes:seconds`, `h:m:s` or `days-hours[:minutes[:seconds]]`."""
    match = _SLURM.fullmatch(text)
    if match is None or not (match["d"] or match["b"]):
        return None
    days, first, second, third = (
        int(match[name]) if match[name] else 0 for name in ("d", "a", "b", "c")
    )
    if match["d"] or match["c"]:
        return ((days * 24 + first) * 60 + second) * 60 + third
    return first * 60 + second
