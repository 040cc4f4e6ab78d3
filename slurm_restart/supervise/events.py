"""Events that the supervisor's main thread handles, and the queue that they arrive in."""

import json
import queue
import signal
import socket
import threading
from collections.abc import Iterable
from dataclasses import dataclass

from slurm_restart.core.hang import HangReport
from slurm_restart.logs.scanner import LogScanner
from slurm_restart.supervise.prepare_attempt import PreparedAttempt
from slurm_restart.supervise.trainer_end import StopReason
from slurm_restart.trainer.run_plan import RunPlan


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """The supervisor has received a signal."""

    number: int


@dataclass(frozen=True, slots=True)
class PlanLoaded:
    """The run's plan has been read."""

    plan: RunPlan


@dataclass(frozen=True, slots=True)
class AttemptPrepared:
    """The trainer can be started."""

    prepared: PreparedAttempt


@dataclass(frozen=True, slots=True)
class PreparationFailed:
    """The attempt cannot be prepared."""

    error: Exception


@dataclass(frozen=True, slots=True)
class RulesRead:
    """The rules over log lines have been read."""

    scanner: LogScanner
    problems: tuple[str, ...]
    """Why others were refused."""


@dataclass(frozen=True, slots=True)
class TrainerStarted:
    """The reaper has started the trainer."""

    pid: int


@dataclass(frozen=True, slots=True)
class TrainerEnded:
    """The trainer has ended."""

    status: int
    """Wait status as waitpid(2) returns it."""


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another attempt of this run has begun on another node."""


@dataclass(frozen=True, slots=True)
class Preempted:
    """The warning signal was sent because a job of higher priority takes the nodes."""

    grace_time: float
    """Seconds between the signal and the time at which Slurm ends the job."""


@dataclass(frozen=True, slots=True)
class NodesDrained:
    """The site drains a node of the job, and a checkpoint has just been completed."""


@dataclass(frozen=True, slots=True)
class StopWanted:
    """A person wants the run to end, and a checkpoint has just been completed."""


@dataclass(frozen=True, slots=True)
class NodesLost:
    """Slurm has lost nodes that the trainer runs on, and the job goes on without them."""


@dataclass(frozen=True, slots=True)
class SearchOpen:
    """The search for a faulty node goes on, and a checkpoint has just been completed."""


@dataclass(frozen=True, slots=True)
class TrainerHung:
    """The watchdog has found that the trainer hangs, or is slow, and ends it: `EndHung` follows."""

    stop: StopReason
    report: HangReport


@dataclass(frozen=True, slots=True)
class EndHung:
    """The trainer that the watchdog ends is to be asked to: its stacks are kept, if they can be."""

    group: bool
    """Whether its process group gets TERM; else that of its job steps has been sent."""


@dataclass(frozen=True, slots=True)
class ReaperExited:
    """The reaper has ended, usually because no process is left below it."""


Event = (
    SignalReceived
    | PlanLoaded
    | AttemptPrepared
    | PreparationFailed
    | RulesRead
    | TrainerStarted
    | TrainerEnded
    | Superseded
    | Preempted
    | NodesDrained
    | StopWanted
    | NodesLost
    | SearchOpen
    | TrainerHung
    | EndHung
    | ReaperExited
)
Events = queue.SimpleQueue[Event]
"""Its `put` may be called in a signal handler."""


def queue_signals(numbers: Iterable[int], events: Events) -> None:
    """Turn signals to this process into events; SIGPIPE is ignored.

    Args:
        numbers: the signals.
        events: where the events are put.
    """

    def enqueue(number: int, _frame: object) -> None:
        events.put(SignalReceived(number))

    listed = tuple(numbers)
    for number in listed:
        signal.signal(number, enqueue)
    # They wait while a supervisor takes the place of the one before.
    signal.pthread_sigmask(signal.SIG_UNBLOCK, listed)
    # If the reader of Slurm's log goes away, the training continues.
    signal.signal(signal.SIGPIPE, signal.SIG_IGN)


class ReaperListener(threading.Thread):
    """Turns the reaper's messages into events.

    Args:
        channel: the supervisor's end of the socket pair.
        events: where the events are put.
    """

    def __init__(self, channel: socket.socket, events: Events) -> None:
        super().__init__(name="reaper-listener", daemon=True)
        self._channel = channel
        self._events = events
        self._signalled = threading.Event()

    def reaper_signalled(self) -> bool:
        """Return whether the reaper, too, was told to end by a signal from elsewhere."""
        return self._signalled.is_set()

    def run(self) -> None:
        """Read messages until the reaper closes the channel."""
        try:
            for line in self._channel.makefile("rb", buffering=4096):
                message = json.loads(line)
                if "started" in message:
                    self._events.put(TrainerStarted(message["started"]))
                elif "signalled" in message:
                    self._signalled.set()
                else:
                    self._events.put(TrainerEnded(message["ended"]))
        except OSError:
            pass  # ECONNRESET: the reaper was killed, which is treated like its end of file
        self._events.put(ReaperExited())
