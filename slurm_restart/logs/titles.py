"""Titles of messages: the line only announces a failure, and the next one with words says why."""

import re
from dataclasses import dataclass, field, replace

from slurm_restart.core.finding import Finding, Reason, Role

MAX_OPEN = 256
"""Ranks whose titles wait for their reason at the same time."""
MAX_LINES = 50
"""Lines, of any rank, within which the reason has to follow."""
_WORDS = re.compile(r"[^\W\d_]{2,}.*?[^\W\d_]{2,}")
"""A line without two words is a part of a frame, or empty."""
_PLACE = re.compile(r"\s*(?:(?:time|host|rank) +: |\([\w./-]{1,200}\.\w{1,4}:\d{1,6}\) )")
"""A row of torchrun's table, or a place in the sources, that tells no reason."""


@dataclass(slots=True)
class Titles:
    """The findings of titles that wait for their reason, by rank label."""

    open: dict[str, Finding] = field(default_factory=dict)

    def copy(self) -> "Titles":
        """Return an independent copy."""
        return Titles(dict(self.open))

    def add(self, label: str, finding: Finding) -> bool:
        """Record a title whose reason stands below; False: the finding is none."""
        if finding.reason is not Reason.BELOW or len(self.open) >= MAX_OPEN:
            return False
        self.open[label] = finding
        return True

    def expired(self, line: int) -> list[Finding]:
        """Remove and return the titles for which no reason was found up to a line."""
        old = [label for label, title in self.open.items() if line - title.line > MAX_LINES]
        return [_unexplained(self.open.pop(label)) for label in old]

    def unexplained(self) -> list[Finding]:
        """Return the titles that still wait: a title alone only announces."""
        return [_unexplained(title) for title in self.open.values()]

    def take(self, label: str, body: str, line: int) -> Finding | None:
        """Remove and return the title whose reason a line is, or None.

        Args:
            label: the rank labels in front of the line.
            body: the line without them.
            line: its number.
        """
        title = self.open.get(label)
        if title is None or title.line >= line or not _WORDS.search(body) or _PLACE.match(body):
            return None
        return self.open.pop(label)


def _unexplained(title: Finding) -> Finding:
    return replace(title, role=Role.HEADER)
