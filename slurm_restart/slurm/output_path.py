"""Expand the pattern of a batch job's standard output as Slurm does."""

import os.path
import re
from collections.abc import Mapping

_PATTERN = re.compile(r"%([0-9]{0,2})([%AaJjux])")
_MAX_WIDTH = 10


def output_path(record: Mapping[str, str], detail: Mapping[str, str]) -> str:
    """Return the absolute path; parts that depend on the node or the step are left unexpanded.

    Args:
        record: work directory and job id, as `parse.job_records` gives them.
        detail: `std_out`, names and array ids, as `parse.detail_records` gives them.
    """
    is_array = detail["task"] != "N/A"
    pattern = detail["std_out"]
    if pattern in {"", "(null)"}:
        pattern = "slurm-%A_%a.out" if is_array else "slurm-%j.out"
    values = {
        "%": "%",
        "A": detail["array"] if is_array else record["job_id"],
        "a": detail["task"] if is_array else "4294967294",
        "J": record["job_id"],
        "j": record["job_id"],
        "u": detail["user"],
        "x": detail["name"],
    }

    def fill(match: re.Match[str]) -> str:
        value = values[match[2]]
        return value.zfill(min(int(match[1] or 0), _MAX_WIDTH)) if value.isdecimal() else value

    return os.path.join(record["work_dir"], _PATTERN.sub(fill, pattern))  # noqa: PTH118
