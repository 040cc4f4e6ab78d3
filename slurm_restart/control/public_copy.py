"""The exported copy of a journal, which everybody may read: without the text of AdminComment."""

import json
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from slurm_restart.core.slurm_operations import ADMIN_PREFIX, Operation
from slurm_restart.errors import StateError

_FIELD = "AdminComment"
_KEY = "admin_comment"
_REFUSALS = "failed"
LEFT_OUT = "(left out: it quotes AdminComment)"


def public_lines(lines: Iterable[str]) -> str:
    """Return a journal's lines without AdminComment, which some sites show to nobody but admins.

    The field is left out of operations, also where a refusal names the operation, and so is every
    key `admin_comment`. A text that still holds the field, and a refusal that quotes what this
    plugin wanted to write into it, are replaced as a whole.

    Args:
        lines: the journal's lines as JSON objects, in order.
    """
    redactor = _Redactor()
    return "".join(redactor.line(line) + "\n" for line in lines)


class _Redactor:
    """Removes AdminComment from the lines of one journal; a refusal follows what it quotes."""

    def __init__(self) -> None:
        self._texts: set[str] = set()
        """What was to be written into AdminComment."""
        self._shown: dict[str, str] = {}
        """Operations as a refusal shows them, and the same without AdminComment."""

    def line(self, line: str) -> str:
        if not any(mark in line for mark in (_FIELD, _KEY, f'"{_REFUSALS}"')):
            return line
        data = json.loads(line)
        public = {
            key: self._value(value) for key, value in data.items() if key not in (_KEY, _REFUSALS)
        }
        self._learn(data.get(_KEY))
        if _REFUSALS in data:
            public[_REFUSALS] = self._refusals(data[_REFUSALS])
        return json.dumps(public, separators=(",", ":"))

    def _value(self, value: Any) -> Any:
        match value:
            case dict():
                self._learn(value.get(_KEY))
                return {key: self._value(item) for key, item in value.items() if key != _KEY}
            case list():
                public = [self._value(item) for item in value]
                return [item for item in public if item is not None]
            case str() if _FIELD in value:
                return self._operation(value)
        return value

    def _operation(self, text: str) -> str | None:
        """Return an operation without AdminComment; None: it had no other field."""
        try:
            operation = Operation.from_text(text)
        except ValueError:
            return LEFT_OUT
        for name, value in operation.fields:
            if name == _FIELD:
                self._learn(value)
        kept = tuple(field for field in operation.fields if field[0] != _FIELD)
        public = Operation(verb=operation.verb, fields=kept)
        self._shown[str(operation)] = str(public)
        if any(_FIELD in part for field in kept for part in field):
            return LEFT_OUT
        return public.to_text() if kept or not operation.fields else None

    def _learn(self, comment: Any) -> None:
        """Remember what a refusal may quote: the whole text, and an administrator's part of it."""
        if isinstance(comment, str):
            theirs = comment.partition(ADMIN_PREFIX)[0].rstrip(" |")
            self._texts |= {text for text in (comment, theirs) if text}

    def _refusals(self, value: Any) -> Any:
        if not isinstance(value, str):
            return None
        for shown, public in self._shown.items():
            value = value.replace(shown, public)
        quotes = _FIELD in value or any(text in value for text in self._texts)
        return LEFT_OUT if quotes else value


def write_copy(target: Path, text: str) -> None:
    """Write an exported copy and its folder, readable for everybody.

    Raises:
        StateError: it cannot be written.
    """
    partial = target.with_suffix(".tmp")
    try:
        target.parent.mkdir(exist_ok=True)
        target.parent.chmod(0o755)  # the hook's umask keeps others out
        partial.write_text(text)
        partial.chmod(0o644)
        partial.replace(target)
    except OSError as error:
        raise StateError(f"{target}: {error.strerror}") from error
