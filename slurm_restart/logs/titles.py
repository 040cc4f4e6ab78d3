"""Titles of messages: the line only announces a failure, and the next one with words says why."""

import re
from dataclasses import dataclass, field, replace

from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Finding, Reason, Role

MAX_OPEN = 256
"""Ranks whose titles wait for their reason at the same time."""
MAX_LINES = 50
"""Lines, of any rank, within which the reason has to follow."""
_WORDS = re.compile(r"[^\W\d_]{2,}.*?[^\W\d_]{2,}")
"""A line without two words is a part of a frame, or empty."""
_PLACE = re.compile(r"\s*(?:(?:time|host|rank) +: |\([\w./-]{1,200}\.\w{1,4}:\d{1,6}\) )")
"""A row of torchrun's table, or a place in the sources, that tells no reason."""

_OPEN = frozenset({Category.CODE, Category.CONFIG, Category.UNKNOWN})
# What no input or option of the program brings about, and what may end well another time.
_OUTSIDE = (
    r"[Tt]imed? ?out|[Cc]onnect(?:ion|ed|ing)\b|[Ss]ocket|[Nn]etwork|[Ss]erver|[Uu]navailable"
    r"|[Bb]usy|\b[Ll]ost\b|\b[Dd]ied\b|[Kk]illed|[Tt]erminated by|\b[Pp]eer\b|[Rr]emote"
    r"|[Ww]orkers?\b|[Cc]orrupt|[Cc]hecksum|[Tt]runcated|\bNaN|[Ii]nfinit|[Oo]verflow|[Dd]iverg|[Cc]onverge"
    r"|[Ll]atency|[Ff]ile ?system|[Oo]utput|[Uu]nstable|[Ii]nterrupted|[Ss]ignal \d"
    r"|[Ii]nput/output|I/O error|[Ss]tale|[Qq]uota"
    r"|[Ss]pace left|[Mm]emory|\b[Mm]?[Aa]lloc|\bGPU\b|CUDA|[Rr]estart|RESTART|[Cc]heckpoint"
)
_NUMERIC = (
    r"[Nn]ot converged|[Cc]onvergence|[Dd]iverge|[Cc]holesky|[Ss]ingular|[Nn]on-?positive|\bNaN"
    r"|[Nn]egative (?:volume|density|pressure|temperature|pivot|eigenvalue|diagonal|jacobian)"
    r"|not positive definite|factori[sz]ation (?:has )?failed|[Oo]verflow|[Uu]nstable|[Ii]nstabilit"
)
_DEMANDS = (
    r"[Pp]arameter|[Kk]eyword|\b[Ii]nput\b|[Nn]amelist|\b[Oo]ption|\b[Uu]n(?:known|defined|supported)\b"
    r"|\bnot (?:supported|defined|found|recogni[sz]ed|allowed|valid|present|set|implemented)\b"
    r"|\b(?:[Ii]nvalid|[Ii]llegal|must|should|[Mm]issing|[Mm]ismatch|[Ii]nconsistent)\b"
    r"|\btoo (?:few|many|small)\b"
)


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


def explained(title: Finding, line: int, text: str) -> Finding:
    """Return the finding of a title with the line that gives its reason.

    Where the title does not tell the category, or only guesses a mistake of the user, the words of
    the reason do: numbers that have become invalid, something outside the program, or its input.
    """
    found = replace(title, line=line, text=text, reason=None)
    if title.confidence is not Confidence.GUESS or title.category not in _OPEN:
        return found
    if re.search(_NUMERIC, text):
        return replace(found, category=Category.NUMERIC_NAN, at_start=None)
    if re.search(_OUTSIDE, text):
        return replace(found, category=Category.UNKNOWN, at_start=None)
    if title.category is Category.UNKNOWN and title.early and re.search(_DEMANDS, text):
        return replace(found, category=Category.CONFIG, at_start=Confidence.LIKELY)
    return found


def _unexplained(title: Finding) -> Finding:
    return replace(title, role=Role.HEADER)
