"""The file name of a journal: job id, user and run id."""

import re
from typing import NamedTuple

_FORM = re.compile(r"([0-9]{1,10})-([0-9]{1,10})-([0-9a-f]{16})\.jsonl", re.ASCII)


class JournalName(NamedTuple):
    """What the name of a journal tells."""

    job_id: int
    uid: int
    run: str


def parse_name(file_name: str) -> JournalName | None:
    """Return what the name of a journal tells; None: it is not the name of a journal."""
    match = _FORM.fullmatch(file_name)
    return None if match is None else JournalName(int(match[1]), int(match[2]), match[3])
