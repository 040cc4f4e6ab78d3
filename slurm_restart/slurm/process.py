"""Run other programs: a list of arguments, a deadline, no shell, the full output.

The hook is a fresh process that imports this module, so it imports little.
"""

import os
import signal
import subprocess
import threading
import time
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from itertools import takewhile

from slurm_restart.errors import SlurmError, SlurmUnavailableError

_TERM_GRACE = 3.0
"""Seconds between TERM and KILL for a program that may leave something running elsewhere."""
_REAP_TIMEOUT = 1.0
"""Seconds to wait for a killed child; a child that hangs in the kernel is abandoned."""


@dataclass(frozen=True)
class Completed:
    """The result of a program; `code` is its exit status, negative for a signal."""

    code: int
    stdout: str
    stderr: str


@dataclass(frozen=True)
class Call:
    """A program with its arguments, its whole environment (None: inherited), and its input."""

    args: Sequence[str]
    env: Mapping[str, str] | None = None
    input: str | None = None

    @property
    def name(self) -> str:
        """The program and its first words, for messages: `scontrol show job`."""
        words = list(takewhile(str.isalpha, self.args[1:]))[:2]
        return " ".join([os.path.basename(self.args[0]), *words])  # noqa: PTH119 - cheap to import


def run(
    args: Sequence[str],
    *,
    timeout: float,
    env: Mapping[str, str] | None = None,
    input: str | None = None,  # noqa: A002 - as subprocess names it
) -> Completed:
    """Run one program; see `run_all`."""
    return run_all([Call(args, env, input)], timeout=timeout)[0]


def run_all(calls: Sequence[Call], *, timeout: float) -> tuple[Completed, ...]:
    """Run programs in parallel, each in its own process group, and return their results.

    No program outlives this call, even if it raises.

    Args:
        calls: the programs.
        timeout: seconds for all of them together.

    Raises:
        SlurmUnavailableError: a program did not end in time.
        SlurmError: a program could not be started.
    """
    if signal.getsignal(signal.SIGCHLD) is signal.SIG_IGN:
        # If ignored, which is inherited, every exit code would be read as 0.
        signal.signal(signal.SIGCHLD, signal.SIG_DFL)
    deadline = time.monotonic() + timeout
    children: list[subprocess.Popen[bytes]] = []
    try:
        for call in calls:
            children.append(_start(call))  # noqa: PERF401 - `finally` ends those that were started
        return tuple(
            _collect(child, call, deadline, timeout)
            for child, call in zip(children, calls, strict=True)
        )
    finally:
        for child in children:
            _end(child)


def run_until(
    args: Sequence[str], *, timeout: float, env: Mapping[str, str] | None = None
) -> Completed:
    """Run one program and return what it has printed, also if it does not end in time.

    At the deadline its process group gets TERM, on which srun ends its step, then KILL; the code is
    that of the last signal, negative.

    Raises:
        SlurmError: it could not be started.
    """
    deadline = time.monotonic() + timeout
    child = _start(Call(args, env))
    try:
        try:
            return _completed(
                child, *child.communicate(timeout=max(0.0, deadline - time.monotonic()))
            )
        except subprocess.TimeoutExpired:
            return _end_gently(child)
    finally:
        _end(child)


class Running:
    """A program that runs beside its caller.

    Args:
        call: what is started.

    Raises:
        SlurmError: it could not be started.
    """

    def __init__(self, call: Call) -> None:
        self._child = _start(call)

    def wait(self) -> Completed:
        """Return its result once it has ended; for one thread."""
        return _completed(self._child, *self._child.communicate())

    def signal(self, number: int) -> None:
        """Send it a signal, if it has not ended; for any thread.

        On TERM srun kills its step; USR2 it passes on to the step's tasks (measured on 22.05).
        """
        self._child.send_signal(number)


class Interactive:
    """A program whose lines are read as they come, and whose input ends when its caller says so.

    Args:
        call: what is started.
        timeout: seconds after which it is killed.

    Raises:
        SlurmError: it could not be started.
    """

    def __init__(self, call: Call, *, timeout: float) -> None:
        self._child = _start(replace(call, input=""))
        self._errors: list[bytes] = []
        self._reader = threading.Thread(target=self._read_errors, daemon=True)
        self._reader.start()
        self._killer = threading.Timer(timeout, self._kill)
        self._killer.daemon = True
        self._killer.start()

    def end_input(self) -> None:
        """End its standard input; for any thread."""
        if self._child.stdin is not None:
            self._child.stdin.close()

    def lines(self) -> Iterator[str]:
        """Yield the lines that it prints until it ends; for one thread, once."""
        try:
            for line in self._child.stdout or ():
                yield line.decode(errors="replace").rstrip("\n")
            self._child.wait()
        finally:
            self._killer.cancel()
            _end(self._child)

    def result(self) -> Completed:
        """Return its exit status and standard error, once its lines have been read."""
        self._reader.join(_REAP_TIMEOUT)
        return _completed(self._child, b"", b"".join(self._errors))

    def _read_errors(self) -> None:
        if self._child.stderr is not None:
            self._errors.append(self._child.stderr.read())

    def _kill(self) -> None:
        with suppress(ProcessLookupError):
            if self._child.poll() is None:
                os.killpg(self._child.pid, signal.SIGKILL)


def _end_gently(child: subprocess.Popen[bytes]) -> Completed:
    out = err = b""
    for number, seconds in ((signal.SIGTERM, _TERM_GRACE), (signal.SIGKILL, _REAP_TIMEOUT)):
        os.killpg(child.pid, number)
        try:
            out, err = child.communicate(timeout=seconds)
        except subprocess.TimeoutExpired as late:
            out, err = late.output or b"", late.stderr or b""
        else:
            break
    return _completed(child, out, err, code=-number)


def _completed(
    child: subprocess.Popen[bytes], out: bytes, err: bytes, *, code: int | None = None
) -> Completed:
    code = child.returncode if code is None else code
    return Completed(code, out.decode(errors="replace"), err.decode(errors="replace"))


def _start(call: Call) -> subprocess.Popen[bytes]:
    try:
        return subprocess.Popen(
            call.args,
            env=call.env,
            stdin=subprocess.DEVNULL if call.input is None else subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            process_group=0,
        )
    except (OSError, ValueError) as error:
        # ValueError: a null byte in an argument.
        reason = error.strerror if isinstance(error, OSError) else str(error)
        raise SlurmError(f"{call.args[0]}: cannot be run: {reason}") from error


def _collect(
    child: subprocess.Popen[bytes], call: Call, deadline: float, timeout: float
) -> Completed:
    data = None if call.input is None else call.input.encode()
    try:
        out, err = child.communicate(data, timeout=max(0.0, deadline - time.monotonic()))
    except subprocess.TimeoutExpired as late:
        said = (late.stderr or b"").decode(errors="replace")
        problem = f"{call.name}: no answer within {timeout:g} s"
        raise SlurmUnavailableError(problem, stderr=said) from None
    return _completed(child, out, err)


def _end(child: subprocess.Popen[bytes]) -> None:
    """Kill the process group of a child whose end was not awaited, and close the pipes."""
    # Not poll(): until the child is reaped, its id is that of the group and of nothing else.
    if child.returncode is None:
        with suppress(ProcessLookupError):
            os.killpg(child.pid, signal.SIGKILL)
        with suppress(subprocess.TimeoutExpired):
            child.wait(_REAP_TIMEOUT)
    for pipe in (child.stdin, child.stdout, child.stderr):
        if pipe is not None:
            with suppress(BrokenPipeError):
                pipe.close()
