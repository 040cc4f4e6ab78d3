"""What happens to the supervisor, as values in one queue."""

import json
import queue
import socket
import threading
from dataclasses import dataclass

from slurm_restart.supervise.prepare_attempt import Prepared
from slurm_restart.trainer.plan import RunPlan


@dataclass(frozen=True, slots=True)
class SignalReceived:
    """A signal came."""

    number: int


@dataclass(frozen=True, slots=True)
class PlanLoaded:
    """The plan was read."""

    plan: RunPlan


@dataclass(frozen=True, slots=True)
class AttemptPrepared:
    """The attempt is prepared."""

    prepared: Prepared


@dataclass(frozen=True, slots=True)
class PreparationFailed:
    """The attempt cannot be prepared."""

    error: Exception


@dataclass(frozen=True, slots=True)
class TrainerStarted:
    """The guardian has started the trainer."""

    pid: int


@dataclass(frozen=True, slots=True)
class TrainerEnded:
    """The trainer has ended; `status` as waitpid tells it."""

    status: int


@dataclass(frozen=True, slots=True)
class Superseded:
    """Another attempt of this run has begun elsewhere."""


@dataclass(frozen=True, slots=True)
class ReaperExited:
    """The guardian has ended, most often because nothing is left to guard."""


Event = (
    SignalReceived
    | PlanLoaded
    | AttemptPrepared
    | PreparationFailed
    | TrainerStarted
    | TrainerEnded
    | Superseded
    | ReaperExited
)
Events = queue.SimpleQueue[Event]
"""Its `put` may be called in a signal handler."""


class Listener(threading.Thread):
    """Turns what the guardian says into events."""

    def __init__(self, channel: socket.socket, events: Events) -> None:
        super().__init__(name="listener", daemon=True)
        self._channel = channel
        self._events = events

    def run(self) -> None:
        """Listen until the guardian is gone."""
        try:
            for line in self._channel.makefile("rb", buffering=4096):
                message = json.loads(line)
                if "started" in message:
                    self._events.put(TrainerStarted(message["started"]))
                else:
                    self._events.put(TrainerEnded(message["ended"]))
        except OSError:
            pass  # reset by a guardian that was killed: the same as its end of file
        self._events.put(ReaperExited())
