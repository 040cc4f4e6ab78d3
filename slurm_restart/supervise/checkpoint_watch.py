"""Ask Slurm, after each complete checkpoint, whether the trainer is to end there."""

import threading

from slurm_restart.errors import SlurmError
from slurm_restart.supervise.events import Event, Events


class CheckpointWatch:
    """Asks a question after each complete checkpoint, until the answer is an event.

    Only then does the answer matter, so that the controller is asked no more often.

    Args:
        events: receives the answer, once.
    """

    def __init__(self, events: Events) -> None:
        self._events = events
        self._asking = threading.Lock()
        self._found = False
        self._made_progress = False

    def saved(self, what: str, *, made_progress: bool) -> None:
        """Ask in a thread, as Slurm may not answer; an earlier question that waits suffices.

        Args:
            what: the checkpoint, for the line that says why the run stops.
            made_progress: whether it is beyond those of the attempts before.
        """
        self._made_progress = made_progress
        if self._found or not self._asking.acquire(blocking=False):
            return
        name = type(self).__name__
        threading.Thread(target=self._run, args=(what,), name=name, daemon=True).start()

    def _run(self, what: str) -> None:
        try:
            answer = self._ask(what)
        except SlurmError:
            return  # the next checkpoint asks again
        finally:
            self._asking.release()
        if answer is not None and not self._found:
            self._found = True
            self._events.put(answer)

    def _ask(self, what: str) -> Event | None:
        """Return the event that the answer is, after reporting it; None: the trainer goes on."""
        raise NotImplementedError
