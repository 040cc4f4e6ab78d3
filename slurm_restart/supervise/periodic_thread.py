"""A thread that looks at files every few seconds, as a file system may hang."""

import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, contextmanager, nullcontext


class PeriodicThread(threading.Thread, ABC):
    """Calls `_look` every few seconds until `finish` is called, and then a last time.

    Args:
        name: of the thread.
        failure: how the message begins when files cannot be read.
        warn: called with it, once until they can be read again.
        watch: returns a context to be entered around each access to files.
    """

    def __init__(
        self,
        name: str,
        failure: str,
        warn: Callable[[str], None],
        watch: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        super().__init__(name=name, daemon=True)
        self._failure = failure
        self._warn = warn
        self._watch = watch
        self._finish = threading.Event()
        self._failing = False

    @abstractmethod
    def _look(self, *, last: bool) -> None:
        """Look at the files; `last`: for the last time."""

    @abstractmethod
    def _pause(self, used: float) -> float:
        """Return the seconds until the next look; the one before took `used` seconds of CPU."""

    def finish(self, timeout: float) -> bool:
        """Let the thread look a last time; return whether it ended within `timeout` seconds."""
        self._finish.set()
        self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        """Look until `finish` is called."""
        used = 0.0
        while not self._finish.wait(self._pause(used)):
            began = time.thread_time()
            self._look(last=False)
            used = time.thread_time() - began
        self._look(last=True)

    @contextmanager
    def _failures_reported(self) -> Iterator[None]:
        """Report OSError, the first of several in a row."""
        try:
            yield
        except OSError as error:
            if not self._failing:
                self._warn(f"{self._failure}: {error}")
            self._failing = True
        else:
            self._failing = False
