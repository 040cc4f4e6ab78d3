"""Reads the lines before and after a line of a log in bounded memory."""

from pathlib import Path
from typing import BinaryIO

from slurm_restart.logs.compressed import CHUNK, open_log
from slurm_restart.logs.lines import readable, without_escapes

_MAX_LINE = 16 << 10
"""Bytes of a line that are kept; lines may be of any length."""


def excerpt(path: Path, line: int, *, lines: int = 3) -> list[tuple[int, str]]:
    """Return (number, readable text) of a line and its neighbours; empty if there is no such line.

    Args:
        path: a log, which may be compressed.
        line: counts from 1.
        lines: how many before, and how many after.

    Raises:
        OSError: the file cannot be read.
        CompressedError: it cannot be decompressed.
    """
    first = max(1, line - lines)
    skip = first - 1
    with open_log(path) as file:
        while skip:
            chunk = file.peek(CHUNK)
            if not chunk:
                return []
            found = chunk.count(b"\n")
            file.read(_after(chunk, skip) if found >= skip else len(chunk))
            skip -= min(found, skip)
        texts = [_next_line(file) for _ in range(line - first + lines + 1)]
    return [
        (first + number, readable(without_escapes(text)))
        for number, text in enumerate(texts)
        if text is not None
    ]


def _next_line(file: BinaryIO) -> bytes | None:
    """Return the next line, or the beginning of a very long one; None at the end of the file."""
    text = part = file.readline(_MAX_LINE)
    while part and not part.endswith(b"\n"):
        part = file.readline(CHUNK)
    # A progress bar overwrites its line: only its last text is visible.
    return text.rstrip(b"\r\n").rpartition(b"\r")[2] if text else None


def _after(chunk: bytes, line_feeds: int) -> int:
    """Return the position after a number of line feeds."""
    position = 0
    for _ in range(line_feeds):
        position = chunk.index(b"\n", position) + 1
    return position
