"""Start one trainer and follow it until none of its processes is left."""

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
from slurm_restart.supervise.reaper import TrainerCommand
from slurm_restart.supervise.trainer_end import StopReason

LEFTOVER_GRACE = 3.0
"""Seconds between TERM and KILL for processes that are left after the trainer's own end."""
KILL_TIMEOUT = 5.0
"""Seconds to wait after KILL; a process that is left then hangs in the kernel."""
TERMINATE_GRACE = 20.0
"""Seconds between TERM and KILL: Slurm's own KILL follows after KillWait (default 30)."""
LATE_SIGNAL = 1.0
"""Seconds to wait for Slurm's signal to this process after the trainer has ended."""
_STATUSES_AFTER_TERM = frozenset({0, signal.SIGTERM, (128 + signal.SIGTERM) << 8})
"""Wait statuses that TERM may lead to: exit code 0, killed by TERM, exit code 143 of a shell."""
TIME_LIMIT_GRACE = 90.0
"""Largest number of seconds between TERM and KILL ahead of the time limit."""
TIME_LIMIT_RESERVE = 30.0
"""Seconds before the time limit that are reserved for recording the end."""


@dataclass(frozen=True, slots=True)
class SignalResponse:
    """The signal to forward, and the stop reason if the trainer has to end."""

    forward: int
    stop: StopReason | None


# Slurm sends USR1 ahead of the time limit (--signal=B:USR1@…), and TERM ahead of KILL. CONT and
# TSTP need no handler, as Slurm sends them to all processes of the job.
SIGNAL_RESPONSES: dict[int, SignalResponse] = {
    signal.SIGUSR1: SignalResponse(signal.SIGTERM, StopReason.TIME_LIMIT),
    signal.SIGTERM: SignalResponse(signal.SIGTERM, StopReason.TERMINATED),
    signal.SIGINT: SignalResponse(signal.SIGINT, StopReason.TERMINATED),
    signal.SIGHUP: SignalResponse(signal.SIGTERM, StopReason.TERMINATED),
    signal.SIGUSR2: SignalResponse(signal.SIGUSR2, None),
}


def grace_periods(signal_lead: int) -> dict[StopReason, float]:
    """Return the seconds between TERM and KILL by stop reason.

    Args:
        signal_lead: seconds between USR1 and the time limit.
    """
    lead = max(signal_lead - TIME_LIMIT_RESERVE, signal_lead / 2)
    return {
        StopReason.TIME_LIMIT: min(TIME_LIMIT_GRACE, lead),
        StopReason.TERMINATED: TERMINATE_GRACE,
    }


class ProcessControl(Protocol):
    """The part of `Reaper` that `TrainerProcess` uses."""

    def launch(self, command: TrainerCommand) -> None:
        """Start the trainer."""

    def signal(self, number: int) -> None:
        """Send a signal to the trainer's process group."""

    def end(self, number: int, *, already_signalled: int | None = None) -> None:
        """Send a signal to all processes below the reaper."""


@dataclass(frozen=True, kw_only=True, slots=True)
class TrainerExit:
    """How the trainer process ended.

    `exit_code` is None if a signal ended it. If its status is unknown, `signal` is SIGKILL.
    """

    exit_code: int | None
    signal: int | None
    stop: StopReason | None


class TrainerProcess:
    """Controls one trainer.

    Args:
        reaper: starts and signals its processes.
        events: signals received, and the reaper's messages.
        grace_periods: seconds between TERM and KILL by stop reason.
        before_stop: called once, before the first signal that asks the trainer to end.
    """

    def __init__(
        self,
        reaper: ProcessControl,
        events: Events,
        grace_periods: Mapping[StopReason, float],
        before_stop: Callable[[], None] = lambda: None,
    ) -> None:
        self._reaper = reaper
        self._before_stop = before_stop
        self._events = events
        self._grace_periods = grace_periods
        self._pid: int | None = None
        self._status: int | None = None
        self._signalled_group: int | None = None
        self._stop: StopReason | None = None
        self._kill_at: float | None = None
        self._give_up_at: float | None = None

    def run(self, command: TrainerCommand) -> TrainerExit:
        """Start the trainer and return when none of its processes is left."""
        self._reaper.launch(command)
        while True:
            event = self._next()
            if event is None and not self._kill():
                break
            if isinstance(event, ReaperExited):
                break
            self._handle(event)
        if self._status is None and self._pid is not None:
            # The reaper was killed, and the kernel killed the trainer. The trainer's other
            # processes are now children of this process.
            self._status = _kill_adopted(self._pid)
        self._await_late_signal()
        return self._result()

    def _next(self) -> Event | None:
        """Return the next event, or None once the deadline for TERM or KILL has passed."""
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
                self._respond(SIGNAL_RESPONSES[number])
            case Superseded():
                # Two trainers that write the same checkpoints do more damage than a KILL.
                self._stop = StopReason.SUPERSEDED
                self._kill()

    def _end_leftovers(self) -> None:
        """End processes that are left after the trainer: data loaders, services, srun clients."""
        if self._stop is None:
            self._reaper.end(signal.SIGTERM)
            self._kill_at = time.monotonic() + LEFTOVER_GRACE
        else:
            # Its process group has had TERM and may still be saving: a shell ends at once, the
            # program that it ran may need its grace period.
            self._reaper.end(signal.SIGTERM, already_signalled=self._signalled_group)

    def _respond(self, response: SignalResponse) -> None:
        if response.stop is not None and self._stop is None:
            self._before_stop()
        if self._status is None:
            self._reaper.signal(response.forward)
            if response.forward == signal.SIGTERM:
                self._signalled_group = self._pid
        if response.stop is None:
            return
        until = time.monotonic() + self._grace_periods[response.stop]
        if self._status is None or self._status in _STATUSES_AFTER_TERM:
            # The first reason counts: Slurm's TERM at the time limit comes after its warning.
            self._stop = self._stop or response.stop
        self._kill_at = until if self._kill_at is None else min(until, self._kill_at)

    def _await_late_signal(self) -> None:
        """Wait briefly for Slurm's signal if the trainer's status is one that TERM leads to.

        Slurm signals the processes of a job one after the other, and this one may be the last.
        """
        if self._stop is not None or self._status not in _STATUSES_AFTER_TERM:
            return
        until = time.monotonic() + LATE_SIGNAL
        with suppress(queue.Empty):
            while self._stop is None:
                event = self._events.get(timeout=max(0.0, until - time.monotonic()))
                if isinstance(event, SignalReceived):
                    self._stop = SIGNAL_RESPONSES[event.number].stop

    def _kill(self) -> bool:
        """Send KILL to all processes; return False if that was already done."""
        if self._give_up_at is not None:
            return False
        self._reaper.end(signal.SIGKILL)
        self._give_up_at = time.monotonic() + KILL_TIMEOUT
        return True

    def _result(self) -> TrainerExit:
        if self._status is None:
            return TrainerExit(exit_code=None, signal=signal.SIGKILL, stop=self._stop)
        code = os.waitstatus_to_exitcode(self._status)
        if code < 0:
            return TrainerExit(exit_code=None, signal=-code, stop=self._stop)
        return TrainerExit(exit_code=code, signal=None, stop=self._stop)


def _kill_adopted(pid: int) -> int | None:
    """Kill the processes left by a killed reaper; return the trainer's wait status, if known."""
    processes.signal_descendants(os.getpid(), signal.SIGKILL)
    until = time.monotonic() + KILL_TIMEOUT
    with suppress(ChildProcessError):
        while time.monotonic() < until:
            found, status = os.waitpid(pid, os.WNOHANG)
            if found:
                return status
            time.sleep(0.02)
    return None
