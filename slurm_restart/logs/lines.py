"""Convert printed bytes of any encoding to readable lines, and split off their labels."""

import re

from slurm_restart.core.finding import MAX_TEXT

# What follows ESC: a control sequence, a title (up to BEL, or to the next ESC), two letters.
_AFTER_ESC = re.compile(rb"\[[0-?]{0,32}[ -/]{0,4}[@-~]|\][^\x07\r\n]{0,512}(?:\x07|\Z)|[@-Z\\-_]")
# Control characters, and those that reverse or break lines: a shown line must not hide its text.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u2028-\u202e\u2066-\u2069\ufeff]")

# Which rank or actor a line is from: srun --label, torchrun, mpirun --tag-output, Ray, pdsh-like.
_RANK = (
    r"\[(?:default|rank ?|Rank ?)?\d+(?:,\d+)?\](?:<std(?:err|out)>)?:?"
    r"|(?:[A-Za-z][\w-]{0,60}(?:\.[\w-]{1,60}){2,8} )?\d{1,6}:(?= |$)"
    r"|\[(?![\w.-]+\.(?:py|cpp|cc|cu|h):)[\w.-]+:\d+\]"
    r"|\([\w. :-]{0,64}pid=\d+[^()]{0,64}\)"
)
# Time, level and source location in front of the message.
_STAMP = (
    r"\[?\d{4}[-/]\d\d[-/]\d\d[T ]\d\d:\d\d:\d\d(?:[.,]\d+)?(?:Z|[+-]\d\d:?\d\d)?\]?:?"
    r"|\[?[A-Z][a-z]{2} [A-Z][a-z]{2} [ \d]\d \d\d:\d\d:\d\d \d{4}\]?:?"
    r"|\[?(?:\d\d-\d\d )?\d\d:\d\d:\d\d(?:[.,]\d+)?\]?"
    r"|\[?(?:TRACE|DEBUG|INFO|WARN(?:ING)?|ERROR|CRITICAL|FATAL)\b\]?:?"
    r"|\[[\w./-]+\.(?:py|cpp|cc|cu|h):\d+[^\]]{0,64}\]:?"
    r"|[-|](?= )"
)
_FRONT = re.compile(rf"(?:(?P<rank>{_RANK})|(?:{_STAMP})) ?")
_LEVEL = re.compile(r"\b(?:ERROR|CRITICAL|(?P<fatal>FATAL))\b")
ERROR, FATAL = "ERROR: ", "FATAL: "
"""The levels in front of a message, in the forms that rules see."""
# Compiled when the first line is looked at.
_WARNING = r"\W{0,12}(?:\S{1,60} ){0,3}?\W{0,2}(?:WARN(?:ING)?|[Ww]arning)\b"
_MAX_PADDING = 7
_MAX_FRONT = 8
"""Labels and stamps that may precede the message of a line."""


def without_escapes(block: bytes) -> bytes:
    """Return a block of whole lines without terminal escape sequences (colours, titles)."""
    first, *others = block.split(b"\x1b")
    if not others:
        return block
    return first + b"".join(part[_escape(part) :] for part in others)


def _escape(part: bytes) -> int:
    """Return how many bytes after an ESC belong to the sequence."""
    found = _AFTER_ESC.match(part)
    return found.end() if found else 0


def readable(line: bytes) -> str:
    """Return a line as printable text; bytes that are not UTF-8 are replaced."""
    return _UNPRINTABLE.sub("", line.decode("utf-8", "replace").replace("\t", " ")).rstrip()


def truncated(text: str) -> str:
    """Return the part of a readable line that is kept (`MAX_TEXT` characters)."""
    return text.strip()[:MAX_TEXT]


def _padding(text: str) -> int:
    """Return how many blanks precede the number of a task, which srun --label sets flush right."""
    blanks = len(text) - len(text.lstrip(" "))
    front = _FRONT.match(text, blanks) if blanks <= _MAX_PADDING else None
    is_number = front is not None and (front["rank"] or "")[:1].isdigit()
    return blanks if is_number else 0


def split_label(text: str) -> tuple[str, str]:
    """Split a readable line into its rank labels and the message with its indentation."""
    labels = ""
    position = _padding(text) if text.startswith(" ") else 0
    for _ in range(_MAX_FRONT):
        front = _FRONT.match(text, position)
        if front is None:
            break
        labels += front["rank"] or ""
        position = front.end()
    return labels, text[position:]


def is_warning(text: str) -> bool:
    """Return whether a readable line begins as a warning."""
    return re.match(_WARNING, text) is not None


def with_level(text: str, message: str) -> tuple[str, ...]:
    """Return a message with the levels that its line has in front: any as `ERROR: `, and `FATAL: `.

    Args:
        text: the readable line.
        message: its end, without labels, time and level, and without blanks at its ends.
    """
    found = _LEVEL.search(text[: -len(message)] if message else text)
    if found is None:
        return ()
    rest = message.lstrip(": ")
    return (ERROR + rest, FATAL + rest) if found["fatal"] else (ERROR + rest,)
