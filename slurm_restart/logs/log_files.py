"""Logs as files: found, opened, and scanned, several at a time."""

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
"""Bytes of the end of a file that are read first."""
_LONGER = 4
PATTERNS = ("*.log", "*.out", "*.err", "slurm-*")
"""Files of a directory that are taken for logs."""
_FEW_BYTES = 4 << 20
"""Bytes up to which loading Hyperscan takes longer than it saves."""
_MANY_BYTES = 16 << 20
"""Bytes from which several files are worth several processes."""


@dataclass(frozen=True, kw_only=True, slots=True)
class FileScan:
    """What one file holds. `size` is in bytes; `error` says why it could not be read."""

    path: str
    findings: tuple[Finding, ...] = ()
    lines: int = 0
    size: int = 0
    error: str | None = None


def find_logs(paths: Iterable[Path]) -> list[Path]:
    """The files that are named, and the logs in the directories that are.

    Of a run directory it is the output of the last attempt.

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
    """The output of the last attempt, of a run directory."""
    outputs = [
        (int(output.parent.name), output)
        for output in directory.glob("attempts/*/output.log")
        if output.parent.name.isdecimal() and output.is_file()
    ]
    return [max(outputs)[1]] if outputs else []


def scan_stream(stream: BinaryIO, engine: RuleMatcher, *, name: str) -> FileScan:
    """Scan what can be read once, such as a pipe."""
    part = _scan(stream, engine)
    return FileScan(
        path=name, findings=_named(part, name), lines=part.scanner.lines, size=part.size
    )


def scan_file(path: Path, engine: RuleMatcher) -> FileScan:
    """Scan a file, from its end as far as needed; one that cannot be read gives its error."""
    try:
        with open_binary(path) as file:
            return _from_the_end(file, engine, str(path))
    except NotRegularFileError:
        return FileScan(path=str(path), error="expected a regular file (or `-` for a pipe)")
    except OSError as error:
        return FileScan(path=str(path), error=error.strerror or str(error))


def scan_files(paths: Sequence[Path], rules: Sequence[LogRule]) -> list[FileScan]:
    """Scan files, in the order in which they are given; big ones with one process a processor."""
    workers = min(len(paths), os.cpu_count() or 1)
    size = _total(paths)
    if workers <= 1 or size < _MANY_BYTES:
        engine = make_matcher(rules, SMALL if size < _FEW_BYTES else None)
        return [scan_file(path, engine) for path in paths]
    # Imported here: 15 ms, and most logs are small.
    from concurrent.futures import ProcessPoolExecutor  # noqa: PLC0415

    share = max(1, len(paths) // (workers * 4))
    shares = [paths[start : start + share] for start in range(0, len(paths), share)]
    with ProcessPoolExecutor(workers) as pool:
        scans = pool.map(partial(_scan_share, rules=rules), shares)
        return [scan for part in scans for scan in part]


def _scan_share(paths: Sequence[Path], rules: Sequence[LogRule]) -> list[FileScan]:
    engine = _engine_of(tuple(rules))
    return [scan_file(path, engine) for path in paths]


@lru_cache(maxsize=1)
def _engine_of(rules: tuple[LogRule, ...]) -> RuleMatcher:
    return make_matcher(rules)


@dataclass(frozen=True, slots=True)
class _Part:
    """A part of a file that has been read, up to the file's end."""

    scanner: LogScanner
    size: int


def _scan(stream: BinaryIO, engine: RuleMatcher) -> _Part:
    scanner = LogScanner(engine, FastCount())
    size = 0
    while chunk := stream.read(BLOCK):
        size += len(chunk)
        scanner.feed(chunk)
    return _Part(scanner, size)


def _from_the_end(file: BinaryIO, engine: RuleMatcher, name: str) -> FileScan:
    """Read the last part; one that begins with an error may have begun before, so a longer one."""
    size = file.seek(0, os.SEEK_END)
    wanted = END
    while True:
        start = max(0, size - wanted)
        file.seek(start)
        if start:
            file.readline(MAX_LINE)
            start = file.tell()
        part = _scan(file, engine)
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
    """How many there are before a place in the file."""
    file.seek(0)
    count = FastCount()
    blocks = (file.read(min(CHUNK, until - start)) for start in range(0, until, CHUNK))
    return sum(count(block, 0, len(block)) for block in blocks)


def _named(part: _Part, name: str, before: int = 0) -> tuple[Finding, ...]:
    return tuple(replace(one, file=name, line=one.line + before) for one in part.scanner.findings())


def _total(paths: Iterable[Path]) -> int:
    """Bytes; what cannot be asked counts as nothing."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
