"""Run one compile with low priority, and end all of its processes once the supervisor says so.

This process stands between the supervisor and the compile's own reaper: it copies the output to a
file of its own, of bounded size, and a full disk is no error for the compile. The supervisor ends
it by closing its standard input, which the kernel does too if the supervisor is killed.
"""

import json
import os
import select
import signal
import sys
import time
from collections import deque
from contextlib import suppress

from slurm_restart.supervise import processes, reaper
from slurm_restart.supervise.reaper import Reaper, TrainerCommand

GRACE = 0.5
"""Seconds between TERM and KILL."""
KILL_TIMEOUT = 2.0
"""Seconds to wait after KILL; what is left then hangs in the kernel."""
MAX_HEAD = 8 << 20
"""Bytes of the output that are written as they come."""
MAX_TAIL = 1 << 20
"""Last bytes of the rest, which are written at the end."""
EXIT_ENDED = 143
_CHUNK = 1 << 16
_LEFT_OUT = b"\n[csx-restart: %d bytes of output left out]\n"


class BoundedLog:
    """A file that gets the beginning and the end of an output.

    Args:
        path: the file; it is replaced. If it cannot be written, the output is lost.
        head: bytes that are written at once.
        tail: last bytes of the rest.
    """

    def __init__(self, path: str, *, head: int = MAX_HEAD, tail: int = MAX_TAIL) -> None:
        flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
        self._file: int | None = None
        with suppress(OSError):
            self._file = os.open(path, flags, 0o644)
        self._left = head
        self._most = tail
        self._tail: deque[bytes] = deque()
        self._kept = self._dropped = 0

    def write(self, data: bytes) -> None:
        """Add output."""
        head, rest = data[: self._left], data[self._left :]
        self._left -= len(head)
        self._write(head)
        if rest:
            self._tail.append(rest)
            self._kept += len(rest)
        while self._kept > self._most and len(self._tail) > 1:
            dropped = len(self._tail.popleft())
            self._kept -= dropped
            self._dropped += dropped

    def close(self) -> None:
        """Write the end of the output."""
        self._write(_LEFT_OUT % self._dropped if self._dropped else b"")
        self._write(b"".join(self._tail))

    def _write(self, data: bytes) -> None:
        if self._file is None or not data:
            return
        with suppress(OSError):
            os.write(self._file, data)


def _run(command: TrainerCommand, log: BoundedLog) -> int:
    """Run the command; return its exit code, or `EXIT_ENDED` if it was not waited for."""
    own = reaper.start()
    own.launch(command)
    poll = select.poll()
    for source in (sys.stdin.fileno(), own.channel.fileno(), own.output):
        poll.register(source, select.POLLIN)
    received = b""
    while True:
        for source, _ in poll.poll():
            if source == own.output:
                if data := os.read(own.output, _CHUNK):
                    log.write(data)
                else:
                    poll.unregister(own.output)
            elif source == sys.stdin.fileno():
                end_all(own)
                return EXIT_ENDED
            else:
                data = own.channel.recv(_CHUNK)
                *lines, received = (received + data).split(b"\n")
                status = _handle(lines)
                if status is not None or not data:
                    _copy_rest(own.output, log)
                    end_all(own)
                    return EXIT_ENDED if status is None else _exit_code(status)


def _handle(lines: list[bytes]) -> int | None:
    """Handle the reaper's messages; return the compile's wait status once it has ended."""
    for message in map(json.loads, lines):
        if "ended" in message:
            status: int = message["ended"]
            return status
    return None


def _exit_code(status: int) -> int:
    code = os.waitstatus_to_exitcode(status)
    return code if code >= 0 else 128 - code


def _copy_rest(output: int, log: BoundedLog) -> None:
    """Copy what has been printed; a process that is left may keep the pipe open."""
    os.set_blocking(output, False)
    with suppress(BlockingIOError):
        while data := os.read(output, _CHUNK):
            log.write(data)


def end_all(own: Reaper) -> None:
    """End all processes of the compile: TERM, then KILL."""
    processes.set_session_priority(own.pid, 0)
    own.end(signal.SIGTERM)
    if not _has_ended(own, GRACE):
        own.end(signal.SIGKILL)
        _has_ended(own, KILL_TIMEOUT)


def _has_ended(own: Reaper, timeout: float) -> bool:
    """Return whether the reaper ends in time, as it does once no process is left."""
    poll = select.poll()
    poll.register(own.channel, select.POLLIN)
    until = time.monotonic() + timeout
    while (left := until - time.monotonic()) > 0:
        if not poll.poll(left * 1000):
            break
        try:
            if not own.channel.recv(_CHUNK):
                return True
        except ConnectionResetError:
            return True
    return False


def main() -> None:
    """Run the compile that the first line of standard input describes, and exit as it does."""
    request = json.loads(sys.stdin.buffer.readline())
    log = BoundedLog(request["log"])
    code = _run(TrainerCommand(**request["command"]), log)
    log.close()
    sys.exit(code)
