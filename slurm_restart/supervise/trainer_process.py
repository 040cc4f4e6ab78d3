"""The watch over one trainer, from its start until nothing of it is left."""

import os
import queue
import signal
import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from dataclasses import dataclass
from typing import Protocol

from slurm_restart.supervise import processes
from slurm_restart.supervise.events import (
    Event,
    Events,
    ReaperExited,
    SignalReceived,
    Superseded,
    TrainerEnded,
    TrainerStarted,
)
from slurm_restart.supervise.reaper import Command
from slurm_restart.supervise.trainer_end import StopReason

LEFTOVER_GRACE = 3.0
"""Seconds that what the trainer left behind has after TERM."""
KILL_TIMEOUT = 5.0
"""Seconds after KILL in which everything has to be gone; what hangs in the kernel is left."""
TERMINATE_GRACE = 20.0
"""Seconds that the trainer has after Slurm's TERM: its KILL follows after KillWait (default 30)."""
LATE_SIGNAL = 0.3
_ENDS_OF_TERM = frozenset({0, signal.SIGTERM, (128 + signal.SIGTERM) << 8})
"""Wait statuses of a trainer that was told to end: success, the signal, a shell's word for it."""
TIME_LIMIT_GRACE = 90.0
TIME_LIMIT_RESERVE = 30.0
"""Seconds before the time limit that stay for recording the end."""


@dataclass(frozen=True, slots=True)
class SignalResponse:
    """What is done about a signal: what the trainer gets, and whether that is to be its end."""

    forward: int
    stop: StopReason | None


# Slurm sends USR1 ahead of the time limit (--signal=B:USR1@…), and TERM before it kills. CONT and
# TSTP do to supervisor and trainer what they do to every process, as Slurm sends them to all.
SIGNAL_RESPONSES: dict[int, SignalResponse] = {
    signal.SIGUSR1: SignalResponse(signal.SIGTERM, StopReason.TIME_LIMIT),
    signal.SIGTERM: SignalResponse(signal.SIGTERM, StopReason.TERMINATED),
    signal.SIGINT: SignalResponse(signal.SIGINT, StopReason.TERMINATED),
    signal.SIGHUP: SignalResponse(signal.SIGTERM, StopReason.TERMINATED),
    signal.SIGUSR2: SignalResponse(signal.SIGUSR2, None),
}


def grace_periods(signal_lead: int) -> dict[StopReason, float]:
    """Seconds between TERM and KILL; `signal_lead`: seconds between USR1 and the time limit."""
    lead = max(signal_lead - TIME_LIMIT_RESERVE, signal_lead / 2)
    return {
        StopReason.TIME_LIMIT: min(TIME_LIMIT_GRACE, lead),
        StopReason.TERMINATED: TERMINATE_GRACE,
    }


class ProcessControl(Protocol):
    """The guardian, as far as the watch needs it."""

    def launch(self, command: Command) -> None:
        """Start the trainer."""

    def signal(self, number: int) -> None:
        """Send a signal to the trainer's process group."""

    def end(self, number: int, *, already_signalled: int | None = None) -> None:
        """Send a signal to everything below the guardian; `told_group` has had it already."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerExit:
    """How it ended: `exit_code` is None where a signal ended the trainer, or nobody knows."""

    exit_code: int | None
    signal: int | None
    stop: StopReason | None


class TrainerProcess:
    """Watches one trainer.

    Args:
        guardian: what holds it.
        events: signals and the guardian's words.
        graces: seconds between TERM and KILL.
        stopping: called once, before the trainer is told to end.
    """

    def __init__(
        self,
        reaper: ProcessControl,
        events: Events,
        grace_periods: Mapping[StopReason, float],
        stopping: Callable[[], None] = lambda: None,
    ) -> None:
        self._guardian = reaper
        self._stopping = stopping
        self._events = events
        self._graces = grace_periods
        self._pid: int | None = None
        self._status: int | None = None
        self._told_group: int | None = None
        self._stop: StopReason | None = None
        self._kill_at: float | None = None
        self._give_up_at: float | None = None

    def run(self, command: Command) -> TrainerExit:
        """Start the trainer and return when nothing of it is left."""
        self._guardian.launch(command)
        while True:
            event = self._next()
            if event is None and not self._kill():
                break
            if isinstance(event, ReaperExited):
                break
            self._handle(event)
        if self._status is None and self._pid is not None:
            # The guardian was killed, and its trainer with it. The rest is this process's now.
            self._status = _end_adopted(self._pid)
        self._await_late_signal()
        return self._result()

    def _next(self) -> Event | None:
        """The next event; None: a deadline has passed."""
        deadline = self._kill_at if self._give_up_at is None else self._give_up_at
        try:
            if deadline is None:
                return self._events.get()
            return self._events.get(timeout=max(0.0, deadline - time.monotonic()))
        except queue.Empty:
            return None

    def _handle(self, event: Event | None) -> None:
        match event:
            case TrainerStarted(pid):
                self._pid = pid
            case TrainerEnded(status):
                self._status = status
                self._end_leftovers()
            case SignalReceived(number):
                self._react(SIGNAL_RESPONSES[number])
            case Superseded():
                # Two that write the same checkpoints are worse than one that is cut short.
                self._stop = StopReason.SUPERSEDED
                self._kill()

    def _end_leftovers(self) -> None:
        """End what the trainer left behind: data loaders, services, the clients of its steps."""
        if self._stop is None:
            self._guardian.end(signal.SIGTERM)
            self._kill_at = time.monotonic() + LEFTOVER_GRACE
        else:
            # Its group has been told already, and may still be saving: a shell is gone at once
            # while the program that it ran takes its time.
            self._guardian.end(signal.SIGTERM, already_signalled=self._told_group)

    def _react(self, reaction: SignalResponse) -> None:
        if reaction.stop is not None and self._stop is None:
            self._stopping()
        if self._status is None:
            self._guardian.signal(reaction.forward)
            if reaction.forward == signal.SIGTERM:
                self._told_group = self._pid
        if reaction.stop is None:
            return
        until = time.monotonic() + self._graces[reaction.stop]
        if self._status is None or self._status in _ENDS_OF_TERM:
            # The first reason counts: Slurm's TERM at the time limit comes after its warning.
            self._stop = self._stop or reaction.stop
        self._kill_at = until if self._kill_at is None else min(until, self._kill_at)

    def _await_late_signal(self) -> None:
        """Learn that Slurm told the job to end, if that is why the trainer has ended.

        Slurm tells all processes of a job, one after the other, and this one may be the last.
        """
        if self._stop is not None or self._status not in _ENDS_OF_TERM:
            return
        until = time.monotonic() + LATE_SIGNAL
        with suppress(queue.Empty):
            while self._stop is None:
                event = self._events.get(timeout=max(0.0, until - time.monotonic()))
                if isinstance(event, SignalReceived):
                    self._stop = SIGNAL_RESPONSES[event.number].stop

    def _kill(self) -> bool:
        """Kill everything; False: that was done, and something is still there."""
        if self._give_up_at is not None:
            return False
        self._guardian.end(signal.SIGKILL)
        self._give_up_at = time.monotonic() + KILL_TIMEOUT
        return True

    def _result(self) -> TrainerExit:
        if self._status is None:
            return TrainerExit(exit_code=None, signal=signal.SIGKILL, stop=self._stop)
        code = os.waitstatus_to_exitcode(self._status)
        if code < 0:
            return TrainerExit(exit_code=None, signal=-code, stop=self._stop)
        return TrainerExit(exit_code=code, signal=None, stop=self._stop)


def _end_adopted(pid: int) -> int | None:
    """End the orphans of a guardian that was killed; the trainer's wait status."""
    processes.signal_descendants(os.getpid(), signal.SIGKILL)
    until = time.monotonic() + KILL_TIMEOUT
    with suppress(ChildProcessError):
        while time.monotonic() < until:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return status
            time.sleep(0.02)
    return None
