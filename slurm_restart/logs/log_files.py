"""Finds log files, opens them and scans several at a time."""

import os
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from functools import lru_cache, partial
from pathlib import Path
from typing import BinaryIO

from slurm_restart.core.finding import Finding
from slurm_restart.errors import UsageError
from slurm_restart.logs.line_counting import FastCount
from slurm_restart.logs.rule import LogRule
from slurm_restart.logs.rule_matcher import RuleMatcher
from slurm_restart.logs.scanner import BLOCK, MAX_LINE, SMALL, LogScanner, make_matcher
from slurm_restart.safe_files import NotRegularFileError, open_binary

CHUNK = 1 << 20
END = 64 << 20
"""Bytes at the end of a file that are read first."""
_LONGER = 4
PATTERNS = ("*.log", "*.out", "*.err", "slurm-*")
"""Files of a directory that count as logs."""
_FEW_BYTES = 4 << 20
"""Bytes up to which loading Hyperscan takes longer than it saves."""
_MANY_BYTES = 16 << 20
"""Bytes from which several files are scanned by several processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileScan:
    """The findings of one file. `size` is in bytes; `error`: why the file could not be read."""

    path: str
    findings: tuple[Finding, ...] = ()
    lines: int = 0
    size: int = 0
    error: str | None = None


def find_logs(paths: Iterable[Path]) -> list[Path]:
    """Return the given files, and the logs in the given directories.

    Of a run directory, only the output of the last attempt.

    Raises:
        UsageError: a directory without logs.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        logs = _last_attempt(path) or _logs_in(path)
        if not logs:
            raise UsageError(f"{path}: expected a log, or a directory with {', '.join(PATTERNS)}")
        found |= dict.fromkeys(logs)
    return list(found)


def _logs_in(directory: Path) -> list[Path]:
    inside = sorted({log for pattern in PATTERNS for log in directory.glob(pattern)})
    return [log for log in inside if log.is_file()]


def _last_attempt(directory: Path) -> list[Path]:
    """Return the output of the last attempt of a run directory; empty if it is none."""
    outputs = [
        (int(output.parent.name), output)
        for output in directory.glob("attempts/*/output.log")
        if output.parent.name.isdecimal() and output.is_file()
    ]
    return [max(outputs)[1]] if outputs else []


def scan_stream(stream: BinaryIO, matcher: RuleMatcher, *, name: str) -> FileScan:
    """Scan a stream that can be read only once, such as a pipe."""
    part = _scan(stream, matcher)
    return FileScan(
        path=name, findings=_named(part, name), lines=part.scanner.lines, size=part.size
    )


def scan_file(path: Path, matcher: RuleMatcher) -> FileScan:
    """Scan a file, from its end as far as needed; an unreadable file has `error` set."""
    try:
        with open_binary(path) as file:
            return _from_the_end(file, matcher, str(path))
    except NotRegularFileError:
        return FileScan(path=str(path), error="expected a regular file (or `-` for a pipe)")
    except OSError as error:
        return FileScan(path=str(path), error=error.strerror or str(error))


def scan_files(paths: Sequence[Path], rules: Sequence[LogRule]) -> list[FileScan]:
    """Scan files and return their scans in order; big files with one process per processor."""
    workers = min(len(paths), os.cpu_count() or 1)
    size = _total(paths)
    if workers <= 1 or size < _MANY_BYTES:
        matcher = make_matcher(rules, SMALL if size < _FEW_BYTES else None)
        return [scan_file(path, matcher) for path in paths]
    # Imported here: 15 ms, and most logs are small.
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    share = max(1, len(paths) // (workers * 4))
    shares = [paths[start : start + share] for start in range(0, len(paths), share)]
    with ProcessPoolExecutor(workers) as pool:
        scans = pool.map(partial(_scan_share, rules=rules), shares)
        return [scan for part in scans for scan in part]


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


def _scan(stream: BinaryIO, matcher: RuleMatcher) -> _Part:
    scanner = LogScanner(matcher, FastCount())
    size = 0
    while chunk := stream.read(BLOCK):
        size += len(chunk)
        scanner.feed(chunk)
    return _Part(scanner, size)


def _from_the_end(file: BinaryIO, matcher: RuleMatcher, name: str) -> FileScan:
    """Scan the last part; a longer one if the failure may have begun before it."""
    size = file.seek(0, os.SEEK_END)
    wanted = END
    while True:
        start = max(0, size - wanted)
        file.seek(start)
        if start:
            file.readline(MAX_LINE)
            start = file.tell()
        part = _scan(file, matcher)
        if start == 0 or part.scanner.is_settled:
            break
        wanted *= _LONGER
    before = _line_feeds(file, start)
    return FileScan(
        path=name,
        findings=_named(part, name, before),
        lines=before + part.scanner.lines,
        size=size,
    )


def _line_feeds(file: BinaryIO, until: int) -> int:
    """Return the number of line feeds before a position in the file."""
    file.seek(0)
    count = FastCount()
    blocks = (file.read(min(CHUNK, until - start)) for start in range(0, until, CHUNK))
    return sum(count(block, 0, len(block)) for block in blocks)


def _named(part: _Part, name: str, before: int = 0) -> tuple[Finding, ...]:
    return tuple(
        replace(finding, file=name, line=finding.line + before)
        for finding in part.scanner.findings()
    )


def _total(paths: Iterable[Path]) -> int:
    """Return the size of the files in bytes; an inaccessible file counts as 0."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except (OSError, ValueError):  # ValueError: a NUL character in the path
            continue
    return total
