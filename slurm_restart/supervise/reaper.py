"""The reaper: a small process between supervisor and trainer that leaves no orphan process.

The trainer's descendants may have their own sessions and process groups, and the supervisor may
be killed at any moment. The reaper is a subreaper (PR_SET_CHILD_SUBREAPER), so every process that
the trainer starts stays below it, and it ends all of them when the supervisor's end of the channel
closes. If the reaper itself is killed, the kernel kills the trainer (PR_SET_PDEATHSIG), and the
supervisor, which is a subreaper too, ends the rest.

It is forked before the supervisor has threads. Its protocol is JSON lines over a socket pair.
Requests: `{"launch": {…}}`, `{"signal": N, …}` to the trainer's process group or first process,
`{"end": N, …}` to all processes below it. Replies: `{"started": PID}`, `{"ended": WAIT_STATUS}`,
`{"signalled": N}` if the reaper itself was told to end, which it does not do, and end of file once
no process is left.
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

from slurm_restart.frozen import frozen
from slurm_restart.supervise import processes

SHELL = "/bin/sh"
IN_PLACE = "CSX_RESTART_IN_PLACE"
IN_PLACE_NODES = "CSX_RESTART_IN_PLACE_NODES"
"""Set by a supervisor for the one that takes its place; the trainer does not get them."""
ORPHAN_GRACE = 0.5
"""Seconds between TERM and KILL after the supervisor was lost: the next attempt may start soon."""
_IGNORED = (signal.SIGTERM, signal.SIGINT, signal.SIGHUP, signal.SIGUSR1, signal.SIGUSR2)
_REPORTED = frozenset({signal.SIGTERM, signal.SIGINT, signal.SIGHUP})
"""Signals that tell a process to end. The supervisor never sends them to the reaper."""
_EXIT_CANNOT_START = 127
_KILL_POLL_FAST, _KILL_POLL_SLOW = 20, 1000
"""Milliseconds between two rounds of SIGKILL."""
_FAST_POLL_TIME = 2.0
"""Seconds of fast polling; a process that is left after it hangs in the kernel."""


@frozen
class TrainerCommand:
    """How to start the trainer: shell command, working directory, additional variables."""

    text: str
    directory: str
    variables: Mapping[str, str]
    own_errors: bool = False
    """Whether its standard error is read from `Reaper.errors`, not together with its output."""
    own_input: bool = False
    """Whether it reads the standard input of the batch script (--input); else /dev/null."""
    low_priority: bool = False
    """Whether it runs after all other processes, from its first instruction."""


@dataclass(frozen=True, slots=True)
class Reaper:
    """The supervisor's handle of the reaper process."""

    pid: int
    channel: socket.socket
    output: int
    """File descriptor from which the trainer's output is read."""
    errors: int
    """File descriptor from which its standard error is read, if that is apart."""

    def launch(self, command: TrainerCommand) -> None:
        """Start the trainer."""
        self._send({"launch": asdict(command)})

    def signal(self, number: int, *, group: bool = True, without_srun: bool = False) -> None:
        """Send a signal to the trainer if it still runs: its process group, or its first process.

        Args:
            number: the signal.
            group: whether the whole process group gets it.
            without_srun: whether the processes of srun in the group do not get it.
        """
        self._send({"signal": number, "group": group, "without_srun": without_srun})

    def end(self, number: int, *, already_signalled: tuple[int, int] | None = None) -> None:
        """Send a signal to all processes below the reaper; repeat SIGKILL until none is left.

        Args:
            number: the signal.
            already_signalled: a process group and the signal that it has had; see
                `signal_descendants`.
        """
        self._send({"end": number, "already_signalled": already_signalled})

    def close(self) -> None:
        """Close the channel; the reaper then ends all processes that are left."""
        self.channel.close()

    def _send(self, message: Mapping[str, Any]) -> None:
        # If the reaper is gone, `ReaperListener` reports it.
        with contextlib.suppress(BrokenPipeError, ConnectionResetError):
            self.channel.sendall(json.dumps(message).encode() + b"\n")


def start() -> Reaper:
    """Fork the reaper and make the calling process, which must have no threads, a subreaper."""
    own_end, reaper_end = socket.socketpair()
    reading, writing = os.pipe()
    errors_reading, errors_writing = os.pipe()
    processes.set_subreaper()
    pid = os.fork()
    if pid == 0:
        own_end.close()
        os.close(reading)
        os.close(errors_reading)
        _run(_ReaperProcess(reaper_end, writing, errors_writing))
    reaper_end.close()
    os.close(writing)
    os.close(errors_writing)
    return Reaper(pid, own_end, reading, errors_reading)


def _run(process: "_ReaperProcess") -> NoReturn:
    code = 1
    try:
        process.serve()
        code = 0
    finally:
        # Skip the exit handlers: they would flush copies of the supervisor's buffers.
        os._exit(code)


class _ReaperProcess:
    def __init__(self, channel: socket.socket, output: int, errors: int) -> None:
        self._channel = channel
        self._output = output
        self._errors = errors
        self._trainer: int | None = None
        self._launched = False
        self._received = b""
        self._orphaned = False
        self._kill_at: float | None = None

    def serve(self) -> None:
        """Handle requests until no process is left."""
        os.setsid()
        for number in _IGNORED:
            signal.signal(number, signal.SIG_IGN)
        # They wait while a supervisor takes the place of the one before.
        signal.pthread_sigmask(signal.SIG_SETMASK, ())
        processes.set_subreaper()
        wakeup_read, wakeup_write = os.pipe()
        os.set_blocking(wakeup_write, False)
        signal.set_wakeup_fd(wakeup_write, warn_on_full_buffer=False)
        # A handler of Python's lets the signal's number be written to the wakeup descriptor.
        for number in (signal.SIGCHLD, *_REPORTED):
            signal.signal(number, lambda *_: None)
        poll = select.poll()
        poll.register(wakeup_read, select.POLLIN)
        poll.register(self._channel, select.POLLIN)
        while True:
            for handle, _ in poll.poll(self._timeout()):
                if handle == wakeup_read:
                    for number in _REPORTED.intersection(os.read(wakeup_read, 4096)):
                        self._reply({"signalled": number})
                elif not self._receive():
                    poll.unregister(self._channel)
                    self._handle_supervisor_loss()
            if self._kill_at is not None and time.monotonic() >= self._kill_at:
                processes.signal_descendants(os.getpid(), signal.SIGKILL)
            if not self._reap() and (self._launched or self._orphaned):
                return

    def _timeout(self) -> float | None:
        """Return the time to the next round of SIGKILL in milliseconds; None: none is due."""
        if self._kill_at is None:
            return None
        left = self._kill_at - time.monotonic()
        if left > 0:
            return left * 1000
        # Processes may be forked while others are killed.
        return _KILL_POLL_FAST if left > -_FAST_POLL_TIME else _KILL_POLL_SLOW

    def _receive(self) -> bool:
        """Handle the requests that have arrived; return False at the end of file."""
        try:
            data = self._channel.recv(1 << 16)
        except ConnectionResetError:
            data = b""
        *lines, self._received = (self._received + data).split(b"\n")
        for line in lines:
            self._handle(json.loads(line))
        return bool(data)

    def _handle(self, message: Mapping[str, Any]) -> None:
        if "launch" in message:
            self._launch(TrainerCommand(**message["launch"]))
        elif "signal" in message and self._trainer is not None:
            if message["group"]:
                without = message["without_srun"]
                processes.signal_group(self._trainer, message["signal"], without_srun=without)
            else:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(self._trainer, message["signal"])
        elif "end" in message:
            group = message["already_signalled"]
            self._end(message["end"], already_signalled=group and tuple(group))

    def _end(self, number: int, *, already_signalled: tuple[int, int] | None = None) -> None:
        processes.signal_descendants(os.getpid(), number, already_signalled=already_signalled)
        if number == signal.SIGKILL:
            self._kill_at = time.monotonic()

    def _handle_supervisor_loss(self) -> None:
        self._orphaned = True
        if self._reap():
            with contextlib.suppress(OSError):
                os.write(
                    sys.stderr.fileno(),
                    b"csx-restart: the supervisor is gone: ending its program\n",
                )
        self._end(signal.SIGTERM)
        self._kill_at = time.monotonic() + ORPHAN_GRACE

    def _launch(self, command: TrainerCommand) -> None:
        reaper = os.getpid()
        self._launched = True
        try:
            pid = os.fork()
        except OSError as error:
            os.write(self._output, _format_start_error(error))
            os.close(self._output)
            os.close(self._errors)
            self._reply({"ended": _EXIT_CANNOT_START << 8})
            return
        if pid == 0:
            errors = self._errors if command.own_errors else self._output
            _exec_trainer(command, (self._output, errors), reaper)
        # Set in parent and child, as either may run first.
        with contextlib.suppress(OSError):
            os.setpgid(pid, pid)
        self._trainer = pid
        os.close(self._output)
        os.close(self._errors)
        self._reply({"started": pid})

    def _reap(self) -> bool:
        """Reap ended children; return whether any child is left."""
        while True:
            try:
                pid, status = os.waitpid(-1, os.WNOHANG)
            except ChildProcessError:
                return False
            if pid == 0:
                return True
            if pid == self._trainer:
                self._trainer = None
                self._reply({"ended": status})

    def _reply(self, message: Mapping[str, Any]) -> None:
        with contextlib.suppress(OSError):
            self._channel.sendall(json.dumps(message).encode() + b"\n")


def _format_start_error(error: OSError) -> bytes:
    return f"csx-restart: the program cannot be started: {error}\n".encode("utf-8", "replace")


def _exec_trainer(command: TrainerCommand, outputs: tuple[int, int], reaper: int) -> NoReturn:
    """In the forked child: set up the trainer's process and execute the shell."""
    try:
        processes.die_with_parent(reaper)
        os.setpgid(0, 0)
        if command.low_priority:
            processes.lower_priority()
        signal.set_wakeup_fd(-1)
        for number in (*_IGNORED, signal.SIGCHLD, signal.SIGPIPE, signal.SIGXFSZ):
            signal.signal(number, signal.SIG_DFL)
        for handle, target in zip(outputs, (1, 2), strict=True):
            os.dup2(handle, target)
        if not command.own_input:
            os.dup2(os.open(os.devnull, os.O_RDONLY), 0)
        os.chdir(command.directory)
        for name in (IN_PLACE, IN_PLACE_NODES):
            os.environ.pop(name, None)
        os.environ.update(command.variables)
        # The user wrote the command for a shell, as in a batch script.
        os.execve(SHELL, [SHELL, "-c", command.text], os.environ)  # noqa: S606
    except OSError as error:
        with contextlib.suppress(OSError):
            os.write(2, _format_start_error(error))
    finally:
        os._exit(_EXIT_CANNOT_START)
