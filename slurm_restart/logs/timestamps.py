"""Parses the time stamp in front of a log line."""

import re

_MONTHS = ("Jan", "Feb", "Mar", "Apr", "May", "Jun", "Jul", "Aug", "Sep", "Oct", "Nov", "Dec")
_DAYS_BEFORE = (0, 31, 60, 91, 121, 152, 182, 213, 244, 274, 305, 335)
# Some programs leave out the year, so it is never used.
_DATE = (
    r"\d{4}[-/.](?P<month>\d\d)[-/.](?P<day>\d\d)[T _-]"
    r"|[IWEFD](?P<glog_month>\d\d)(?P<glog_day>\d\d) "
    rf"|(?P<name>{'|'.join(_MONTHS)}) {{1,2}}(?P<named_day>\d{{1,2}}) "
)
_STAMP = re.compile(
    rf"(?:{_DATE})(?P<hour>\d\d)[:.](?P<minute>\d\d)[:.](?P<second>\d\d)(?:[.,](?P<part>\d{{1,9}}))?"
)
_FRONT = 80
"""Characters in which the stamp is searched; a later time is part of the message."""
_SLURM = " CANCELLED AT "


def logged_at(text: str) -> float | None:
    """Return the seconds from the beginning of the (leap) year to the line's stamp, or None.

    The forms are those of ISO 8601 and Python's logging, glog, syslog, and Slurm's `CANCELLED AT`.
    """
    order = text.find(_SLURM)
    start, end = (order, len(text)) if order >= 0 else (0, _FRONT)
    found = _STAMP.search(text, start, end)
    if found is None:
        return None
    month = found["month"] or found["glog_month"]
    number = int(month) if month else _MONTHS.index(found["name"]) + 1
    if not 1 <= number <= len(_MONTHS):
        return None
    day = int(found["day"] or found["glog_day"] or found["named_day"])
    hours = (_DAYS_BEFORE[number - 1] + day - 1) * 24 + int(found["hour"])
    seconds = (hours * 60 + int(found["minute"])) * 60 + int(found["second"])
    return seconds + float(f"0.{found['part'] or 0}")
