"""The compiled form of validated rules: JSON with all fields and each pattern's literals.

The build of the package writes one file for the package's rules, so that a start needs neither
YAML nor the parser of regular expressions. The cache of other rules has the same form.
"""

import json
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, fields
from pathlib import Path
from typing import Any, NamedTuple
from zlib import crc32

from slurm_restart import __version__
from slurm_restart.core.category import Category, Confidence
from slurm_restart.core.finding import Naming, Reason, Role, Speaker
from slurm_restart.logs.rule import Branch, LogRule

FORMAT = 4
"""Increase it with every change of the form or of what is validated."""
_ENUMS = {
    "category": Category,
    "role": Role,
    "confidence": Confidence,
    "at_start": Confidence,
    "blame": Naming,
    "reason": Reason,
}
_TEXTS = ("id", "pattern", "meaning", "remedy")
_LISTS = ("sources", "positive", "negative", "literals", "more_literals")
_DEFAULTS = {field.name: field.default for field in fields(LogRule)}


class FileRules(NamedTuple):
    """The valid rules of one file, and the problems of the others."""

    rules: list[LogRule]
    problems: list[str]


def content_key(data: bytes) -> str:
    """Return the key of a file's compiled form: versions, size and checksum of its content.

    It detects changes; hashlib would load OpenSSL, 4 MB of a process that runs beside a training.
    """
    return f"{__version__}-{FORMAT}-{len(data)}-{crc32(data):08x}"


def to_data(path: Path, found: FileRules) -> dict[str, Any]:
    """Return the rules and problems of a file as JSON data; the file's path is left out."""
    place = len(str(path))
    return {
        "rules": [_rule_data(rule, place) for rule in found.rules],
        "problems": [problem[place:] for problem in found.problems],
    }


def _rule_data(rule: LogRule, place: int) -> dict[str, Any]:
    data: dict[str, Any] = {"origin": rule.origin[place:]}
    for name, default in _DEFAULTS.items():
        value = getattr(rule, name)
        if name in _ENUMS and value != default:
            data[name] = None if value is None else value.value
        elif name in (*_TEXTS, *_LISTS) and value != default:
            data[name] = value
        elif name == "speakers" and value:
            data[name] = [speaker.value for speaker in value]
        elif name == "branches" and value:
            data[name] = value
    return data


def from_data(path: Path, data: Mapping[str, Any]) -> FileRules:
    """Return what `to_data` was given.

    Raises:
        ValueError: the data is not of this form.
    """
    try:
        rules = [_rule(path, dict(entry)) for entry in data["rules"]]
        return FileRules(rules, [f"{path}{_text(problem)}" for problem in data["problems"]])
    except (KeyError, TypeError, AttributeError) as error:
        raise ValueError(f"no compiled rules: {error}") from None


def _rule(path: Path, data: dict[str, Any]) -> LogRule:
    for name, value in data.items():
        if name in _ENUMS:
            data[name] = None if value is None else _ENUMS[name](value)
        elif name in _LISTS:
            data[name] = tuple(map(_text, value))
        elif name == "speakers":
            data[name] = tuple(map(Speaker, value))
        elif name == "branches":
            data[name] = tuple(map(_branch, value))
        else:
            _text(value)
    data["origin"] = f"{path}{data['origin']}"
    return LogRule(**data)


def _branch(value: list[Any]) -> Branch:
    start, end, literals, more_literals = value
    if not isinstance(start, int) or not isinstance(end, int):
        raise TypeError(f"expected two numbers, got {value!r}")
    return Branch(start, end, tuple(map(_text, literals)), tuple(map(_text, more_literals)))


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"expected text, got {value!r}")
    return value


def compile_package(files: Iterable[tuple[Path, bytes, FileRules]]) -> bytes:
    """Return the content of the package's compiled file; see `PackageRules`.

    Args:
        files: path, content and validated rules of each file.
    """
    compiled = {content_key(data): to_data(path, found) for path, data, found in files}
    text = json.dumps({"format": FORMAT, "files": compiled}, ensure_ascii=False)
    return text.encode()


@dataclass(frozen=True, slots=True)
class PackageRules:
    """The compiled form of the package's files of rules, by content key."""

    files: Mapping[str, Any]

    @classmethod
    def load(cls, compiled: Path) -> "PackageRules":
        """Read the compiled file; one that is missing (no build) or of another format is empty."""
        try:
            data = json.loads(compiled.read_bytes())
        except (OSError, ValueError):
            return cls({})
        is_known = isinstance(data, dict) and data.get("format") == FORMAT
        return cls(data["files"] if is_known else {})

    def rules(self, path: Path, source: bytes) -> FileRules | None:
        """Return the rules of a file with this content; None: it was not compiled."""
        data = self.files.get(content_key(source))
        return None if data is None else from_data(path, data)
