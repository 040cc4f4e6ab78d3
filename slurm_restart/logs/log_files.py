"""Finds log files, opens them and scans several at a time."""

import io
import os
import re
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from slurm_restart.core.finding import Finding
from slurm_restart.errors import UsageError
from slurm_restart.frozen import frozen
from slurm_restart.logs.compressed import (
    CHUNK,
    START,
    SUFFIXES,
    CompressedError,
    Source,
    compression,
    decompressed,
)
from slurm_restart.logs.line_counting import FastCount
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.scanner import BLOCK, MAX_LINE, SMALL, LogScanner, make_matcher
from slurm_restart.safe_files import NotRegularFileError, open_binary

_DEPTH = 4
"""Levels of directories below a given one in which logs are looked for, as those of torchrun."""
_ATTEMPT = re.compile(r"attempt_(\d{1,9})")
"""torchrun's directory of one attempt."""
OnRead = Callable[[int], None]
"""Called with the number of bytes after each read, to show progress."""
END = 64 << 20
"""Bytes at the end of a file that are read first."""
_LONGER = 4
PATTERNS = ("*.log", "*.out", "*.err", "slurm-*")
"""Files of a directory that count as logs."""
_FEW_BYTES = 4 << 20
"""Bytes up to which loading Hyperscan takes longer than it saves."""
_MANY_BYTES = 16 << 20
"""Bytes from which several files are scanned by several processes."""


@frozen
class FileScan:
    """The findings of one file. `size` is in bytes; `error`: why the file could not be read.

    `compression` is the format of a compressed file, whose lines and bytes are those of its
    content; `note` says why that content is incomplete.
    """

    path: str
    findings: tuple[Finding, ...] = ()
    lines: int = 0
    size: int = 0
    error: str | None = None
    compression: str | None = None
    note: str | None = None


def ignore_progress(size: int) -> None:
    """See `OnRead`; shows nothing."""


def find_logs(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, those that match a given pattern, and the logs in directories.

    Of a run directory, only the output of the last attempt. The logs below a directory are taken
    where it has none itself.

    Raises:
        UsageError: a directory without logs.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found |= dict.fromkeys(_matching(path))
            continue
        logs = _last_attempt(path) or _logs_in(path) or _logs_below(path)
        if not logs:
            raise UsageError(f"{path}: expected a log, or a directory with {', '.join(PATTERNS)}")
        found |= dict.fromkeys(logs)
    return list(found)


def _matching(path: Path) -> list[Path]:
    """Return the files that a quoted shell pattern matches; the path itself if it is none."""
    text = str(path)
    if os.path.lexists(path) or not any(character in text for character in "*?["):
        return [path]
    import glob  # noqa: PLC0415  # rarely needed: the shell expands patterns

    return sorted(Path(name) for name in glob.glob(text)) or [path]  # noqa: PTH207 - of any root


def _logs_in(directory: Path) -> list[Path]:
    patterns = (pattern + suffix for pattern in PATTERNS for suffix in SUFFIXES)
    inside = sorted({log for pattern in patterns for log in directory.glob(pattern)})
    return [log for log in inside if log.is_file()]


def _logs_below(directory: Path) -> list[Path]:
    """Return the logs in the directories below; of torchrun's attempts those of the last."""
    folders = (folder for depth in range(1, _DEPTH + 1) for folder in directory.glob("*/" * depth))
    logs = [log for folder in folders for log in _logs_in(folder)]
    last: dict[Path, int] = {}
    for _, runs, number in (_attempt_of(log) for log in logs):
        last[runs] = max(last.get(runs, 0), number)
    return [log for log, runs, number in map(_attempt_of, logs) if number == last[runs]]


def _attempt_of(log: Path) -> tuple[Path, Path, int]:
    """Return a log, the directory of its attempts, and the number of its attempt."""
    for folder in log.parents:
        if match := _ATTEMPT.fullmatch(folder.name):
            return log, folder.parent, int(match[1])
    return log, log.parent, 0


def _last_attempt(directory: Path) -> list[Path]:
    """Return the output of the last attempt of a run directory; empty if it is none."""
    outputs = [
        (int(output.parent.name), output)
        for output in directory.glob("attempts/*/output.log")
        if output.parent.name.isdecimal() and output.is_file()
    ]
    return [max(outputs)[1]] if outputs else []


def scan_stream(
    stream: BinaryIO, matcher: RuleMatcher, *, name: str, on_read: OnRead = ignore_progress
) -> FileScan:
    """Scan a stream that can be read only once, such as a pipe; it may be compressed."""
    whole = _Rejoined(stream.read(START), stream)
    try:
        kind = compression(whole.first)
        return _forward(whole, matcher, name, kind, on_read)
    except CompressedError as error:
        return FileScan(path=name, error=str(error))


def scan_file(path: Path, matcher: RuleMatcher, on_read: OnRead = ignore_progress) -> FileScan:
    """Scan a file, from its end as far as needed; an unreadable file has `error` set.

    Args:
        path: the file, which may be compressed.
        matcher: from `make_matcher`.
        on_read: called with the number of bytes after each read.
    """
    try:
        with open_binary(path) as file:
            kind = compression(file.peek(START)[:START])
            if kind is not None:
                return _forward(file, matcher, str(path), kind, on_read)
            return _from_the_end(file, matcher, str(path), on_read)
    except CompressedError as error:
        return FileScan(path=str(path), error=str(error))
    except NotRegularFileError:
        return FileScan(path=str(path), error="expected a regular file (or `-` for a pipe)")
    except OSError as error:
        return FileScan(path=str(path), error=error.strerror or str(error))


def scan_files(
    paths: Sequence[Path], rules: Sequence[LogRule], on_read: OnRead = ignore_progress
) -> list[FileScan]:
    """Scan files and return their scans in order; big files with one process per processor.

    Args:
        paths: the files.
        rules: in the order in which they are tried.
        on_read: called with the number of bytes after each read.
    """
    workers = min(len(paths), os.cpu_count() or 1)
    size = total_size(paths)
    if workers <= 1 or size < _MANY_BYTES:
        matcher = make_matcher(rules, SMALL if size < _FEW_BYTES else None)
        return [scan_file(path, matcher, on_read) for path in paths]
    # Imported here: 15 ms, and most logs are small.
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    share = max(1, len(paths) // (workers * 4))
    shares = [paths[start : start + share] for start in range(0, len(paths), share)]
    with ProcessPoolExecutor(workers) as pool:
        found = []
        for part, scans in zip(
            shares, pool.map(partial(_scan_share, rules=rules), shares), strict=True
        ):
            found += scans
            on_read(total_size(part))
        return found


def _scan_share(paths: Sequence[Path], rules: Sequence[LogRule]) -> list[FileScan]:
    matcher = _matcher_of(tuple(rules))
    return [scan_file(path, matcher) for path in paths]


@lru_cache(maxsize=1)
def _matcher_of(rules: tuple[LogRule, ...]) -> RuleMatcher:
    return make_matcher(rules)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a file that was read, up to the file's end."""

    scanner: LogScanner
    size: int


def _scan(stream: Source, matcher: RuleMatcher, on_read: OnRead) -> _Part:
    scanner = LogScanner(matcher, FastCount())
    size = 0
    while chunk := stream.read(BLOCK):
        size += len(chunk)
        scanner.feed(chunk)
        on_read(len(chunk))
    return _Part(scanner, size)


class _Rejoined:
    """A stream of which the first bytes were read already."""

    def __init__(self, first: bytes, rest: BinaryIO) -> None:
        self.first = first
        self._rest = rest

    def read(self, size: int, /) -> bytes:
        """Return as many bytes; fewer only at the end."""
        first, self.first = self.first, b""
        return first + self._rest.read(size - len(first))

    def close(self) -> None:
        """Leave the stream open."""


def _forward(
    stream: Source,
    matcher: RuleMatcher,
    name: str,
    kind: str | None,
    on_read: OnRead,
) -> FileScan:
    """Scan a whole stream once; `kind`: its compression."""
    if kind is None:
        part, note = _scan(stream, matcher, on_read), None
    else:
        with decompressed(stream, kind, on_read) as raw:
            content = io.BufferedReader(raw, BLOCK)
            if compression(content.peek(START)[:START]) is not None:
                raise CompressedError(f"compressed twice ({kind}): decompress it first")
            part, note = _scan(content, matcher, ignore_progress), raw.problem
        if note is not None and not part.size:
            raise CompressedError(f"{note}: nothing could be read")
    return FileScan(
        path=name,
        findings=_named(part, name),
        lines=part.scanner.lines,
        size=part.size,
        compression=kind,
        note=note,
    )


def _from_the_end(file: BinaryIO, matcher: RuleMatcher, name: str, on_read: OnRead) -> FileScan:
    """Scan the last part; a longer one if the failure may have begun before it."""
    size = file.seek(0, os.SEEK_END)
    wanted = END
    while True:
        start = max(0, size - wanted)
        file.seek(start)
        if start:
            file.readline(MAX_LINE)
            start = file.tell()
        part = _scan(file, matcher, on_read)
        if start == 0 or part.scanner.is_settled:
            break
        wanted *= _LONGER
    before = _line_feeds(file, start, on_read)
    return FileScan(
        path=name,
        findings=_named(part, name, before),
        lines=before + part.scanner.lines,
        size=size,
    )


def _line_feeds(file: BinaryIO, until: int, on_read: OnRead) -> int:
    """Return the number of line feeds before a position in the file."""
    file.seek(0)
    count = FastCount()
    total = 0
    for start in range(0, until, CHUNK):
        block = file.read(min(CHUNK, until - start))
        total += count(block, 0, len(block))
        on_read(len(block))
    return total


def _named(part: _Part, name: str, before: int = 0) -> tuple[Finding, ...]:
    found = part.scanner.findings()
    ending = part.scanner.ending()
    if ending is not None and all(finding.line != ending.line for finding in found):
        found = (*found, ending)
    return tuple(replace(finding, file=name, line=finding.line + before) for finding in found)


def total_size(paths: Iterable[Path]) -> int:
    """Return the size of the files in bytes; an inaccessible file counts as 0."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except (OSError, ValueError):  # ValueError: a NUL character in the path
            continue
    return total
