"""The guardian: a small process between supervisor and trainer that leaves no orphan behind.

The trainer's descendants may have sessions and process groups of their own, and the supervisor may
be killed at any moment. The guardian is their reaper (PR_SET_CHILD_SUBREAPER), so that whatever the
trainer starts stays below it, and it ends all of it when the supervisor's end of the channel
closes. Killed itself, it takes the trainer along (PR_SET_PDEATHSIG), and the supervisor, which is a
reaper too, ends the rest.

It is forked before the supervisor has threads, and knows nothing but this protocol of JSON lines.
Down: `{"launch": {…}}`, `{"signal": N}` to the trainer's group, `{"end": N, …}` to all below.
Up: `{"started": PID}`, `{"ended": WAIT_STATUS}`, and end of file once nothing is left.
"""

import contextlib
import json
import os
import select
import signal
import socket
import sys
import time
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import Any, NoReturn

from slurm_restart.supervise import processes

SHELL = "/bin/sh"
ORPHAN_GRACE = 0.5
"""Seconds between TERM and KILL where the supervisor is gone: the next attempt may start soon."""
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_CANNOT_START = 127
_SOON, _LATER = 20, 1000
_STUBBORN = 2.0
"""Seconds after which what is still there hangs in the kernel."""


@dataclass(frozen=True, kw_only=True, slots=True)
class Command:
    """What is started: a shell command, its working directory, variables beside the job's own."""

    text: str
    directory: str
    variables: Mapping[str, str]


@dataclass(frozen=True, slots=True)
class Reaper:
    """The supervisor's end of the channel."""

    pid: int
    channel: socket.socket
    output: int
    """Where the trainer's output can be read."""

    def launch(self, command: Command) -> None:
        """Start the trainer."""
        self._send({"launch": asdict(command)})

    def signal(self, number: int) -> None:
        """Send a signal to the trainer's process group, if the trainer still runs."""
        self._send({"signal": number})

    def end(self, number: int, *, already_signalled: int | None = None) -> None:
        """Send a signal to everything below the guardian; SIGKILL until nothing is left.

        `told_group` is a process group that has had the signal, as `signal_descendants` takes it.
        """
        self._send({"end": number, "told_group": already_signalled})

    def dismiss(self) -> None:
        """Close the channel: whatever is still there is ended."""
        self.channel.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        # A guardian that is gone is noticed at the other direction's end of file.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.channel.sendall(json.dumps(message).encode() + b"\n")


def start() -> Reaper:
    """Fork the guardian. The calling process becomes a reaper, and may have no threads yet."""
    ours, theirs = socket.socketpair()
    reading, writing = os.pipe()
    processes.become_subreaper()
    pid = os.fork()
    if pid == 0:
        ours.close()
        os.close(reading)
        _run(_ReaperProcess(theirs, writing))
    theirs.close()
    os.close(writing)
    return Reaper(pid, ours, reading)


def _run(guard: "_ReaperProcess") -> NoReturn:
    code = 1
    try:
        guard.serve()
        code = 0
    finally:
        # Nothing of the supervisor's, such as its buffers, is to be written a second time.
        os._exit(code)


class _ReaperProcess:
    def __init__(self, channel: socket.socket, output: int) -> None:
        self._channel = channel
        self._output = output
        self._trainer: int | None = None
        self._launched = False
        self._received = b""
        self._orphaned = False
        self._kill_at: float | None = None

    def serve(self) -> None:
        """Do as told until nothing is left to guard."""
        os.setsid()
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        processes.become_subreaper()
        waking, woken = os.pipe()
        os.set_blocking(woken, False)
        signal.set_wakeup_fd(woken, warn_on_full_buffer=False)
        signal.signal(signal.SIGCHLD, lambda *_: None)
        poll = select.poll()
        poll.register(waking, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        while True:
            for handle, _ in poll.poll(self._timeout()):
                if handle == waking:
                    os.read(waking, 4096)
                elif not self._listen():
                    poll.unregister(self._channel)
                    self._lose_supervisor()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                processes.signal_descendants(os.getpid(), signal.SIGKILL)
            if not self._reap() and (self._launched or self._orphaned):
                return

    def _timeout(self) -> float | None:
        """Milliseconds; while killing, what is born meanwhile is looked for often at first."""
        if self._kill_at is None:
            return None
        left = self._kill_at - time.monotonic()
        return left * 1000 if left > 0 else (_SOON if left > -_STUBBORN else _LATER)

    def _listen(self) -> bool:
        """Take messages; whether the supervisor is still there."""
        try:
            data = self._channel.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._obey(json.loads(line))
        return bool(data)

    def _obey(self, message: Mapping[str, Any]) -> None:
        if "launch" in message:
            self._launch(Command(**message["launch"]))
        elif "signal" in message and self._trainer is not None:
            processes.signal_group(self._trainer, message["signal"])
        elif "end" in message:
            self._end(message["end"], already_signalled=message["told_group"])

    def _end(self, number: int, *, already_signalled: int | None = None) -> None:
        processes.signal_descendants(os.getpid(), number, already_signalled=already_signalled)
        if number == signal.SIGKILL:
            self._kill_at = time.monotonic()

    def _lose_supervisor(self) -> None:
        self._orphaned = True
        if self._reap():
            with contextlib.suppress(OSError):
                os.write(
                    sys.stderr.fileno(),
                    b"csx-restart: the supervisor is gone: ending its trainer\n",
                )
        self._end(signal.SIGTERM)
        self._kill_at = time.monotonic() + ORPHAN_GRACE

    def _launch(self, command: Command) -> None:
        reaper = os.getpid()
        self._launched = True
        try:
            pid = os.fork()
        except OSError as error:
            os.write(self._output, _cannot_start(error))
            os.close(self._output)
            self._tell({"ended": _CANNOT_START << 8})
            return
        if pid == 0:
            _become_trainer(command, self._output, reaper)
        # Done on both sides, as either may be first.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._trainer = pid
        os.close(self._output)
        self._tell({"started": pid})

    def _reap(self) -> bool:
        """Collect what has ended; whether anything is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._trainer:
                self._trainer = None
                self._tell({"ended": status})

    def _tell(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps(message).encode() + b"\n")


def _cannot_start(error: OSError) -> bytes:
    return f"csx-restart: the trainer cannot be started: {error}\n".encode("utf-8", "replace")


def _become_trainer(command: Command, output: int, reaper: int) -> NoReturn:
    """In the child: everything that the trainer is to have, and then the shell."""
    try:
        processes.die_with_parent(reaper)
        os.setpgid(0, 0)
        signal.set_wakeup_fd(-1)
        for number in (*_IGNORED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        os.dup2(output, 1)
        os.dup2(output, 2)
        null = os.open(os.devnull, os.O_RDONLY)
        os.dup2(null, 0)
        os.chdir(command.directory)
        os.environ.update(command.variables)
        # The command is a shell's text, written by the user, as in a batch script.
        os.execve(SHELL, [SHELL, "-c", command.text], os.environ)  # noqa: S606
    except OSError as error:
        with contextlib.suppress(OSError):
            os.write(2, _cannot_start(error))
    finally:
        os._exit(_CANNOT_START)
