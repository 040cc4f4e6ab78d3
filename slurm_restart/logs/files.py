"""Logs as files: found, opened, and scanned, several at a time."""

import os
import stat
from collections.abc import Iterable, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, replace
from functools import partial
from pathlib import Path
from typing import BinaryIO

from slurm_restart.core.finding import Finding
from slurm_restart.errors import UsageError
from slurm_restart.logs.rule import Rule
from slurm_restart.logs.scanner import LogScanner

CHUNK = 1 << 20
PATTERNS = ("*.log", "*.out", "*.err", "slurm-*")
"""Files of a directory that are taken for logs."""
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

    Raises:
        UsageError: a directory without logs.
    """
    found: dict[Path, None] = {}
    for path in paths:
        if not path.is_dir():
            found[path] = None
            continue
        inside = sorted({log for pattern in PATTERNS for log in path.glob(pattern)})
        logs = [log for log in inside if log.is_file()]
        if not logs:
            raise UsageError(f"{path}: expected a log, or a directory with {', '.join(PATTERNS)}")
        found |= dict.fromkeys(logs)
    return list(found)


def scan_stream(stream: BinaryIO, rules: Sequence[Rule], *, name: str) -> FileScan:
    """Scan what can be read once, such as a pipe."""
    scanner = LogScanner(rules)
    size = lines = 0
    while chunk := stream.read(CHUNK):
        size += len(chunk)
        lines += chunk.count(b"\n")
        scanner.feed(chunk)
    findings = tuple(replace(one, file=name) for one in scanner.findings())
    return FileScan(path=name, findings=findings, lines=lines, size=size)


def scan_file(path: Path, rules: Sequence[Rule]) -> FileScan:
    """Scan a file; one that cannot be read gives its error."""
    try:
        # A FIFO without a writer, or a terminal, would be waited for without end.
        if not stat.S_ISREG(path.stat().st_mode):
            return FileScan(path=str(path), error="expected a regular file (or `-` for a pipe)")
        with path.open("rb") as file:
            return scan_stream(file, rules, name=str(path))
    except OSError as error:
        return FileScan(path=str(path), error=error.strerror or str(error))


def scan_files(paths: Sequence[Path], rules: Sequence[Rule]) -> list[FileScan]:
    """Scan files, in the order in which they are given; big ones with one process a processor."""
    scan = partial(scan_file, rules=rules)
    workers = min(len(paths), os.cpu_count() or 1)
    if workers <= 1 or _total(paths) < _MANY_BYTES:
        return [scan(path) for path in paths]
    with ProcessPoolExecutor(workers) as pool:
        return list(pool.map(scan, paths, chunksize=max(1, len(paths) // (workers * 8))))


def _total(paths: Iterable[Path]) -> int:
    """Bytes; what cannot be asked counts as nothing."""
    total = 0
    for path in paths:
        try:
            total += path.stat().st_size
        except OSError:
            continue
    return total
