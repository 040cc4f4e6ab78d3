"""Finds the line with which a program reports its own end, among the last lines of a log."""

import re

from slurm_restart.core.finding import Finding, Role
from slurm_restart.logs.lines import readable, split_label, truncated, without_escapes
from slurm_restart.logs.rule_matcher import RuleMatcher

LAST_LINES = 40
"""Lines at the end of a log in which a program's end is looked for."""
LAST_BYTES = 16 << 10
_MAX_TEXT = 4096
"""Bytes of a line that are searched."""
_OF = re.compile(r"\b(\d{1,12}) {0,8}(?:/|of) {0,8}(\d{1,12})\b")
"""How far the program is: 10/500."""


def find_ending(matcher: RuleMatcher, data: bytes, last: int) -> Finding | None:
    """Return the last line that reports the program's end; None: there is none, or it goes on.

    Args:
        matcher: with rules of the role FINISHED.
        data: the last bytes of the log.
        last: number of the line in which `data` ends, from 1.
    """
    lines = data.split(b"\n")
    first = max(0, len(lines) - LAST_LINES - 1)
    progress_seen = False
    for number in range(len(lines) - 1, first - 1, -1):
        for part in reversed(without_escapes(lines[number]).split(b"\r")):
            text = readable(part[:_MAX_TEXT])
            label, body = split_label(text)
            if rule := matcher.finished(body.strip()):
                return Finding(
                    rule=rule.id,
                    category=rule.category,
                    role=Role.FINISHED,
                    line=last - (len(lines) - 1 - number),
                    text=truncated(text),
                    rank=label,
                    confidence=rule.confidence,
                )
            if not progress_seen and (counts := _OF.search(body)) and matcher.is_progress(body):
                # A later phase runs: the end of an earlier one is not the program's.
                progress_seen = True
                if int(counts[1]) < int(counts[2]):
                    return None
    return None
