"""The log of a run as one: the lines of run.log, and the output of all attempts at their places."""

import os
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm_restart.frozen import frozen
from slurm_restart.safe_files import open_binary
from slurm_restart.trainer.rundir import AttemptDir, RunDir

_NAME = re.compile(r"\[(?P<name>main|run_(?P<number>[0-9]{1,6}))\] ")
_COLOUR = re.compile("\x1b\\[[0-9;]*m")
MAX_LINE = 1 << 20
"""Bytes of a line; a longer one is shown in parts."""


@frozen
class LogLine:
    """A line of a run's log."""

    attempt: int | None
    """Number of the attempt from 0; None: a line about the whole run."""
    source: str
    """`run.log`, or `output` for what the trainer printed."""
    text: str


def lines_of(
    run_dir: RunDir, *, attempt: int | None, ends: Mapping[Path, int] | None = None
) -> Iterator[LogLine]:
    """Yield what is in the files now: of each attempt its start, its output, and its end.

    An attempt's output, which has no times, stands behind the first line of the attempt in run.log,
    which says how it started.

    Args:
        run_dir: the directory of the run.
        attempt: only this attempt; None: all of it.
        ends: bytes of each file that count; None: all, and of all files.

    Raises:
        OSError: the attempts cannot be listed.
    """
    outputs = {each.number: each for each in run_dir.attempts()}
    for text in _texts(run_dir.log, ends):
        line = of_run_log(text)
        if attempt not in (None, line.attempt):
            continue
        yield line
        output = None if line.attempt is None else outputs.pop(line.attempt, None)
        if output is not None:
            yield from _output(output, ends)
    for number, output in outputs.items():  # of which run.log has no line
        if attempt in (None, number):
            yield from _output(output, ends)


def of_run_log(text: str) -> LogLine:
    """Return a line of run.log with the attempt that it is about."""
    match = _NAME.match(text)
    number = match["number"] if match is not None else None
    return LogLine(attempt=None if number is None else int(number) - 1, source="run.log", text=text)


def _output(attempt: AttemptDir, ends: Mapping[Path, int] | None) -> Iterator[LogLine]:
    for text in _texts(attempt.output, ends):
        yield of_output(attempt.number, text)


def of_output(number: int, text: str) -> LogLine:
    """Return a line of an attempt's output."""
    return LogLine(attempt=number, source="output", text=text)


def _texts(path: Path, ends: Mapping[Path, int] | None) -> Iterator[str]:
    left = sys.maxsize if ends is None else ends.get(path, 0)
    try:
        with open_binary(path, follow=False) as stream:
            while data := stream.readline(min(MAX_LINE, left)):
                left -= len(data)
                yield clean(data)
    except FileNotFoundError:
        return


def clean(data: bytes) -> str:
    """Return a line as a terminal would leave it: without colours, and what was overwritten."""
    text = _COLOUR.sub("", data.decode(errors="replace")).rstrip("\r\n")
    return text.rpartition("\r")[2]


@dataclass
class _Growing:
    """A file that is read as it grows."""

    path: Path
    offset: int = 0
    rest: bytes = b""

    def read(self) -> list[bytes]:
        """Return the new whole lines."""
        try:
            with open_binary(self.path, follow=False) as stream:
                if os.fstat(stream.fileno()).st_size < self.offset:
                    self.offset, self.rest = 0, b""  # written anew
                stream.seek(self.offset)
                data = stream.read(MAX_LINE)
        except FileNotFoundError:
            return []
        self.offset += len(data)
        *lines, self.rest = (self.rest + data).split(b"\n")
        if len(self.rest) > MAX_LINE:
            lines, self.rest = [*lines, self.rest], b""
        return lines


class Follower:
    """Reads what is added to the log of a run.

    Args:
        run_dir: the directory of the run.
        attempt: only this attempt; None: all of it, later attempts too.
    """

    def __init__(self, run_dir: RunDir, *, attempt: int | None = None) -> None:
        self._run_dir = run_dir
        self._attempt = attempt
        self._log = _Growing(run_dir.log)
        self._outputs: dict[int, _Growing] = {}

    def begin(self) -> dict[Path, int]:
        """Begin behind the whole lines that are there now; return where that is in each file."""
        self._find_outputs()
        growing = (self._log, *self._outputs.values())
        for each in growing:
            each.offset = _end_of_lines(each.path)
        return {each.path: each.offset for each in growing}

    def read(self) -> list[LogLine]:
        """Return the lines that have been added since the last call.

        Raises:
            OSError: the attempts cannot be listed, or a file is no regular one.
        """
        self._find_outputs()
        found = []
        # An attempt's last output is older than the line about its end.
        for number, output in self._outputs.items():
            found += [of_output(number, clean(data)) for data in output.read()]
        for data in self._log.read():
            line = of_run_log(clean(data))
            if self._attempt in (None, line.attempt):
                found.append(line)
        return found

    def _find_outputs(self) -> None:
        for each in self._run_dir.attempts():
            if self._attempt in (None, each.number):
                self._outputs.setdefault(each.number, _Growing(each.output))


def _end_of_lines(path: Path) -> int:
    """Return the offset behind the last line feed of a file."""
    try:
        with open_binary(path, follow=False) as stream:
            size = stream.seek(0, os.SEEK_END)
            start = max(0, size - MAX_LINE)
            stream.seek(start)
            tail = stream.read(size - start)
    except FileNotFoundError:
        return 0
    return start + tail.rfind(b"\n") + 1
