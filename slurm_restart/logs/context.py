"""The lines around one line of a log, without reading the whole of it into memory."""

from pathlib import Path

from slurm_restart.logs.lines import readable

_CHUNK = 1 << 20
_MAX_BYTES = 64 << 10
"""Bytes that are read from where the context begins; lines may be of any length."""


def around(path: Path, line: int, *, lines: int = 3) -> list[tuple[int, str]]:
    """(number, readable text) of a line and those before and after it; empty: it is not there.

    Args:
        path: a log.
        line: counts from 1.
        lines: how many before, and how many after.

    Raises:
        OSError: the file cannot be read.
    """
    first = max(1, line - lines)
    skip = first - 1
    with path.open("rb") as file:
        while skip:
            chunk = file.read(_CHUNK)
            if not chunk:
                return []
            found = chunk.count(b"\n")
            if found >= skip:
                file.seek(_after(chunk, skip) - len(chunk), 1)
                found = skip
            skip -= found
        data = file.read(_MAX_BYTES)
    # A progress bar overwrites its line: what counts is what it said last.
    texts = [text.rstrip(b"\r").rpartition(b"\r")[2] for text in data.split(b"\n")]
    if texts[-1] == b"":
        del texts[-1]
    last = line - first + lines + 1
    return [(first + number, readable(text)) for number, text in enumerate(texts[:last])]


def _after(chunk: bytes, line_feeds: int) -> int:
    """Where the text after so many line feeds begins."""
    position = 0
    for _ in range(line_feeds):
        position = chunk.index(b"\n", position) + 1
    return position
