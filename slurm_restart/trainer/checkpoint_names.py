"""The names of checkpoints as people write them: `{step}`, `{epoch}`, `*` and `?`.

A `/` separates directories; `{step}` may be in the name of a directory.
"""

import re
from pathlib import PurePosixPath

from slurm_restart.core.checkpoint_url import split_scheme

_TOKEN = re.compile(r"(\*?\{step(?::[^{}]*)?\}|\*?\{epoch(?::[^{}]*)?\}|\*+|\?)")
_WILD = re.compile(r"[*?]|\{(?:step|epoch)(?::[^{}]*)?\}")
_NUMBER = re.compile(r"\{(?:step|epoch)(?::[^{}]*)?\}")
_OTHER_FIELD = re.compile(r"\{[A-Za-z_][^{}/]*\}")
# `*` before a number leaves the number whole: `*{step}` finds 100 in `model-100`, not 0.
_ANY_BEFORE_NUMBER = r"(?:.*\D)?"
# Words of names that programs give to what they have not finished, or this package to what it has
# set aside. A `*` does not stand for them; a pattern may have them as text.
_UNFINISHED = frozenset({"tmp", "partial", "incomplete", "unusable"})
_WORD = re.compile(r"[A-Za-z]+")
_ENDING = re.compile(r"\.(?:temp|part|swp|bak)$|~$")


def to_regex(pattern: str) -> str:
    r"""Return a pattern as the regular expression of `CheckpointLayout.pattern`.

    `{step}` and `{epoch}` stand for digits, and may have a format as in Python (`{step:06d}`), `*`
    for any text, `?` for one character; none of them for a `/`. If there is no `{step}`, the epoch
    is the step.

    Raises:
        ValueError: neither `{step}` nor `{epoch}` is in it, one of them twice, or another field.
    """
    problem = _problem(pattern)
    if problem is not None:
        raise ValueError(problem)
    only_epoch = "{step" not in pattern
    return "".join(_part(text, only_epoch=only_epoch) for text in _TOKEN.split(pattern))


def _problem(pattern: str) -> str | None:
    fields = [field[1:5] for field in _NUMBER.findall(pattern)]
    if not fields:
        return "the name of a checkpoint with {step} or {epoch} in it, and * for any text"
    if len(fields) != len(set(fields)):
        return "{step} and {epoch} at most once each"
    other = _OTHER_FIELD.search(_NUMBER.sub("", pattern))
    if other is not None:
        return f"{{step}}, {{epoch}}, * or ? instead of {other[0]}"
    parts = pattern.split("/")
    if not all(parts) or ".." in parts or "." in parts:
        return "names separated by single slashes"
    return None


def _part(text: str, *, only_epoch: bool) -> str:
    if text == "?":
        return "."
    if text.startswith("*") and "{" not in text:
        return ".*"
    if not _TOKEN.fullmatch(text):
        return re.escape(text)
    before = _ANY_BEFORE_NUMBER if text.startswith("*") else ""
    name = "step" if "{step" in text or only_epoch else "epoch"
    return rf"{before}(?P<{name}>\d+)"


def split_path(text: str) -> tuple[str, str | None]:
    """Split DIR/PATTERN into a directory and the pattern of the names in it.

    The directory ends before the first part with `{step}`, `{epoch}`, `*` or `?`. Without
    `{step}` and `{epoch}` the text is a directory, which may have `*` in it, and the pattern None.
    The directory of a text without a slash is `.`.
    """
    if not _NUMBER.search(text):
        return text, None
    fixed, names = split_directory(text)
    return fixed or ".", names


def split_directory(text: str) -> tuple[str, str]:
    """Split a directory with `*` in its names into the part without, and the rest (or "")."""
    scheme, path = split_scheme(text)
    parts = PurePosixPath(path).parts
    for number, part in enumerate(parts):
        if _WILD.search(part):
            fixed = str(PurePosixPath(*parts[:number])) if number else ""
            return scheme + fixed, "/".join(parts[number:])
    return text, ""


def is_unfinished(name: str, pattern: str) -> bool:
    """Return whether a name that matches is that of a file that is being written or was set aside.

    `pattern` is the regular expression that it matches: words that it asks for are no sign.
    """
    if name.startswith("."):
        return not pattern.startswith(r"\.")
    if _ENDING.search(name):
        return True
    found = {word.lower() for word in _WORD.findall(name)} & _UNFINISHED
    return bool(found) and not found <= {word.lower() for word in _WORD.findall(pattern)}
