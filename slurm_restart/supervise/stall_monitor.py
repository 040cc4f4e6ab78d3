"""Report file systems that do not answer while a thread waits for them."""

import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

LIMIT = 6.0
"""Seconds after which an access is reported. With `INTERVAL` and the 2 s between two scans for
checkpoints, a file system that hangs is reported within 10 s."""
INTERVAL = 1.0
"""Seconds between two checks."""


@dataclass(kw_only=True, slots=True, eq=False)
class _Access:
    """One access that a thread has begun."""

    what: str
    thread: int
    since: float = field(default_factory=time.monotonic)
    reported: bool = False


class StallMonitor(threading.Thread):
    """Knows the file accesses of other threads, and reports those that take too long.

    Args:
        warn: called with a message; must return at once.
    """

    def __init__(self, warn: Callable[[str], None]) -> None:
        super().__init__(name="stall-monitor", daemon=True)
        self._warn = warn
        self._lock = threading.Lock()
        self._accesses: set[_Access] = set()

    @contextmanager
    def access(self, what: str) -> Iterator[None]:
        """Mark an access to files of the calling thread.

        Args:
            what: the path, for messages.
        """
        access = _Access(what=what, thread=threading.get_ident())
        with self._lock:
            self._accesses.add(access)
        try:
            yield
        finally:
            with self._lock:
                self._accesses.discard(access)
            if access.reported:
                seconds = time.monotonic() - access.since
                self._warn(f"{what}: the file system answered after {seconds:.0f} s")

    def is_stalled(self, thread: threading.Thread) -> bool:
        """Return whether an access of that thread has been reported and has not ended."""
        with self._lock:
            return any(
                access.reported and access.thread == thread.ident for access in self._accesses
            )

    @property
    def any_stalled(self) -> bool:
        """Whether an access of any thread has been reported and has not ended."""
        with self._lock:
            return any(access.reported for access in self._accesses)

    def run(self) -> None:
        """Check until the process ends."""
        while True:
            time.sleep(INTERVAL)
            self.report()

    def report(self) -> None:
        """Report each access that has taken longer than `LIMIT`, once."""
        now = time.monotonic()
        with self._lock:
            late = [
                access
                for access in self._accesses
                if not access.reported and now - access.since >= LIMIT
            ]
            for access in late:
                access.reported = True
        for access in sorted(late, key=lambda access: access.since):
            self._warn(
                f"{access.what}: the file system has not answered for {now - access.since:.0f} s"
            )
