"""Start one trainer and follow it until none of its processes is left."""

import os
import queue
import signal
import time
from collections.abc import Callable
from contextlib import suppress
from typing import Protocol, assert_never

from slurm_restart.core.hang import HangReport
from slurm_restart.frozen import frozen
from slurm_restart.supervise import processes
from slurm_restart.supervise.events import (
    EndHung,
    Event,
    Events,
    NodesDrained,
    NodesLost,
    Preempted,
    ReaperExited,
    SearchOpen,
    SignalReceived,
    StopWanted,
    Superseded,
    TrainerEnded,
    TrainerHung,
    TrainerStarted,
)
from slurm_restart.supervise.reaper import TrainerCommand
from slurm_restart.supervise.stop_request import (
    STOP_REASONS,
    GracePeriods,
    StopRequest,
    late_signal_due,
    usable,
)
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.trainer.run_plan import StopReceiver

LEFTOVER_GRACE = 3.0
"""Seconds between TERM and KILL for processes that are left after the trainer's own end."""
KILL_TIMEOUT = 5.0
"""Seconds to wait after KILL; a process that is left then hangs in the kernel."""
STACKS_TIMEOUT = 30.0
"""Seconds until a hung trainer is asked to end: longer than keeping its stacks takes."""
_STATUSES_AFTER_TERM = frozenset({0, signal.SIGTERM, (128 + signal.SIGTERM) << 8})
"""Wait statuses that TERM may lead to: exit code 0, killed by TERM, exit code 143 of a shell."""


class ProcessControl(Protocol):
    """The part of `Reaper` that `TrainerProcess` uses."""

    def launch(self, command: TrainerCommand) -> None:
        """Start the trainer."""

    def signal(self, number: int, *, group: bool = True, without_srun: bool = False) -> None:
        """Send a signal to the trainer's process group, or to its first process."""

    def end(self, number: int, *, already_signalled: tuple[int, int] | None = None) -> None:
        """Send a signal to all processes below the reaper."""


@frozen
class TrainerExit:
    """How the trainer process ended.

    `exit_code` is None if a signal ended it. If its status is unknown, `signal` is SIGKILL.
    """

    exit_code: int | None
    signal: int | None
    stop: StopReason | None
    hang: HangReport | None = None
    """What the watchdog found, if that is why the trainer was ended."""
    asked_to_end: bool = False
    """Whether a signal that asks the job to end has arrived, before or after that reason."""

    @property
    def may_be_followed(self) -> bool:
        """Whether another attempt may follow in the same allocation."""
        ended_by_itself = self.stop is None or self.stop in _BY_SUPERVISOR
        return ended_by_itself and not self.asked_to_end


_BY_SUPERVISOR = frozenset({StopReason.NODES_LOST, StopReason.HUNG, StopReason.SLOW})
"""Reasons for which the attempt counts as one that failed, and the job has not been told to end."""

_KILLS_TASKS = (signal.SIGTERM, signal.SIGINT, signal.SIGQUIT)
"""Signals on which srun does not let its tasks save: on TERM it kills them at once (measured on
22.05; Slurm, src/srun/libsrun/srun_job.c)."""

_AFTER_CHECKPOINT: dict[type[Event], StopReason] = {
    NodesDrained: StopReason.NODE_DRAINED,
    StopWanted: StopReason.STOPPED,
    SearchOpen: StopReason.NODE_SEARCH,
}
"""Why the trainer is ended now that it has completed a checkpoint."""


class TrainerProcess:
    """Controls one trainer.

    Args:
        reaper: starts and signals its processes.
        events: signals received, and the reaper's messages.
        grace: how long the trainer has to end.
        request: how it is asked to save and end.
        before_stop: called once, with the reason, before the first signal that asks the trainer to
            end.
        signal_due: returns until when a signal of Slurm's that has ended the trainer at the given
            time reaches this process, both by `time.monotonic`.
    """

    def __init__(
        self,
        reaper: ProcessControl,
        events: Events,
        grace: GracePeriods,
        request: StopRequest = StopRequest(),  # noqa: B008 - frozen
        *,
        before_stop: Callable[[StopReason], None] = lambda _: None,
        signal_due: Callable[[float], float] = late_signal_due,
    ) -> None:
        self._reaper = reaper
        self._signal_due = signal_due
        self._before_stop = before_stop
        self._events = events
        self._grace = grace
        self._request = request
        self._pid: int | None = None
        self._status: int | None = None
        self._signalled: tuple[int, int] | None = None
        """The process group that was asked to end, and the last signal that it was sent."""
        self._warned_at: float | None = None
        self._stop: StopReason | None = None
        self._hang: HangReport | None = None
        self._asked_to_end = False
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
                self._respond(number)
            case Preempted(grace_time):
                self._set_grace_time(grace_time)
            case NodesDrained() | StopWanted() | SearchOpen():
                self._end_after_checkpoint(_AFTER_CHECKPOINT[type(event)])
            case NodesLost():
                self._end_without_nodes()
            case Superseded():
                # Two trainers that write the same checkpoints do more damage than a KILL.
                self._stop = StopReason.SUPERSEDED
                self._kill()
            case TrainerHung():
                self._note_hung(event)
            case EndHung():
                self._end_hung(group=event.group)

    def _end_leftovers(self) -> None:
        """End processes that are left after the trainer: data loaders, services, srun clients."""
        self._reaper.end(signal.SIGTERM, already_signalled=self._signalled)
        # Its process group may still be saving if it was asked to end: a shell ends at once, the
        # program that it ran may need its grace period. So may the others of one that hung.
        if self._signalled is None and self._hang is None:
            self._kill_by(time.monotonic() + LEFTOVER_GRACE)

    def _respond(self, number: int) -> None:
        stop = STOP_REASONS[number]
        if stop is None:
            self._forward(number)
            return
        self._asked_to_end = True
        if self._stop is None:
            self._before_stop(stop)
        if stop is StopReason.TIME_LIMIT:
            self._warned_at = self._warned_at or time.monotonic()
            self._ask_to_end()
        else:
            self._forward(signal.SIGINT if number == signal.SIGINT else signal.SIGTERM, ends=True)
        if self._is_due_to(stop):
            # The first reason counts: Slurm's TERM at the time limit comes after its warning.
            self._stop = self._stop or stop
        self._kill_by(time.monotonic() + self._grace.of(stop))

    def _end_after_checkpoint(self, stop: StopReason) -> None:
        """Ask the trainer to end, as a checkpoint is complete; it may save once more."""
        if self._stop is not None or self._status is not None:
            return
        self._before_stop(stop)
        self._stop = stop
        self._ask_to_end()
        self._kill_by(time.monotonic() + self._grace.of(stop))

    def _end_without_nodes(self) -> None:
        """End a trainer that has lost some of its nodes, and may wait for them for ever."""
        if self._stop is not None or self._status is not None:
            return
        self._before_stop(StopReason.NODES_LOST)
        self._stop = StopReason.NODES_LOST
        self._forward(signal.SIGTERM, ends=True)
        self._kill_by(time.monotonic() + LEFTOVER_GRACE)

    def _note_hung(self, hung: TrainerHung) -> None:
        """End a trainer that hangs; it may be ending already, for another reason."""
        if self._stop is not None or self._status is not None:
            return
        self._before_stop(hung.stop)
        self._stop, self._hang = hung.stop, hung.report
        # The thread that keeps its stacks first may hang, too.
        self._kill_by(time.monotonic() + STACKS_TIMEOUT + self._grace.of(hung.stop))

    def _end_hung(self, *, group: bool) -> None:
        """Ask a trainer that hangs to end."""
        if self._hang is None or self._stop is None:
            return
        if group:
            self._forward(signal.SIGTERM, ends=True)
            # A stopped process handles no signal but KILL.
            self._forward(signal.SIGCONT)
        self._kill_by(time.monotonic() + self._grace.of(self._stop))

    def _is_due_to(self, stop: StopReason) -> bool:
        """Return whether a signal for that reason may have ended the trainer.

        Slurm's TERM goes to all processes of a job, one after the other, so that the trainer may
        have ended on it before this process is told. Its warning goes to this process alone.
        """
        if self._status is None:
            return True
        return stop is StopReason.TERMINATED and self._status in _STATUSES_AFTER_TERM

    def _ask_to_end(self) -> None:
        """Send the signal on which the trainer saves to who expects it."""
        if self._status is not None:
            return
        match self._request.receiver:
            case StopReceiver.GROUP:
                self._ask_group(self._request.number)
            case StopReceiver.SCRIPT:
                self._reaper.signal(self._request.number, group=False)
            case StopReceiver.STEPS:
                self._request.signal_steps()
            case _:
                assert_never(self._request.receiver)

    def _ask_group(self, number: int) -> None:
        """Send a signal to the process group, and to the tasks of srun what would kill them."""
        by_steps = number in _KILLS_TASKS and self._request.has_steps and self._pid is not None
        by_steps = by_steps and bool(processes.find_srun(self._pid or 0))
        if by_steps:
            self._request.signal_steps()
        self._forward(number, ends=True, without_srun=by_steps)

    def _forward(self, number: int, *, ends: bool = False, without_srun: bool = False) -> None:
        """Send a signal to the trainer's process group while the trainer runs."""
        if self._status is not None:
            return
        self._reaper.signal(number, without_srun=without_srun)
        if ends and self._pid is not None:
            self._signalled = self._pid, number

    def _set_grace_time(self, grace_time: float) -> None:
        """Give the trainer the time until Slurm's KILL after a preemption, not the lead's."""
        if self._stop is not StopReason.TIME_LIMIT or self._warned_at is None:
            return
        self._stop = StopReason.TERMINATED
        if self._give_up_at is None and self._status is None:
            self._kill_at = self._warned_at + usable(grace_time + self._grace.kill_wait)

    def _kill_by(self, at: float) -> None:
        self._kill_at = at if self._kill_at is None else min(at, self._kill_at)

    def _await_late_signal(self) -> None:
        """Wait briefly for Slurm's signal if the trainer's status is one that TERM leads to.

        Slurm signals the processes of a job one after the other, and this one may be the last.
        """
        if self._stop is not None or self._status not in _STATUSES_AFTER_TERM:
            return
        until = self._signal_due(time.monotonic())
        with suppress(queue.Empty):
            while self._stop is None:
                event = self._events.get(timeout=max(0.0, until - time.monotonic()))
                if isinstance(event, SignalReceived):
                    stop = STOP_REASONS[event.number]
                    self._stop = stop if stop is not None and self._is_due_to(stop) else None

    def _kill(self) -> bool:
        """Send KILL to all processes; return False if that was already done."""
        if self._give_up_at is not None:
            return False
        self._reaper.end(signal.SIGKILL)
        self._give_up_at = time.monotonic() + KILL_TIMEOUT
        return True

    def _result(self) -> TrainerExit:
        code: int = -signal.SIGKILL
        if self._status is not None:
            code = os.waitstatus_to_exitcode(self._status)
        return TrainerExit(
            exit_code=code if code >= 0 else None,
            signal=-code if code < 0 else None,
            stop=self._stop,
            hang=self._hang,
            asked_to_end=self._asked_to_end,
        )


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
