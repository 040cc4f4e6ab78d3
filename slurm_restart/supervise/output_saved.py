"""Find in the trainer's output which checkpoints at a URL it has saved."""

import time
from collections import deque
from collections.abc import Callable

from slurm_restart.supervise.output_lines import OutputLines
from slurm_restart.supervise.saved_lines import SavedLines
from slurm_restart.trainer.attempt_records import Saved
from slurm_restart.trainer.run_plan import CheckpointLayout

MAX_KNOWN = 4096
"""Checkpoints that are kept to recognise that several ranks say the same."""


class OutputSaved:
    """Finds checkpoints, each once, as `CheckpointMonitor` does; one thread feeds, another scans.

    Args:
        layout: its directory is a URL.
        attempt: number of the attempt.
        clock: returns epoch seconds.
    """

    def __init__(
        self, layout: CheckpointLayout, attempt: int, *, clock: Callable[[], float] = time.time
    ) -> None:
        self._saved_lines = SavedLines(layout)
        self._lines = OutputLines(self._saved_lines.texts, self._take)
        self._mark = attempt, 0
        self._clock = clock
        self._found: deque[Saved] = deque()
        self._known: dict[str, None] = {}
        """The newest paths that were found, in their order."""
        self.reasons: dict[str, str] = {}
        """Empty: none is known to be incomplete."""

    def feed(self, chunk: bytes) -> None:
        """Search the next bytes of the output, cut at any position."""
        self._lines.feed(chunk)

    def scan(self, *, full: bool = False) -> tuple[Saved, ...]:  # noqa: ARG002 - as CheckpointMonitor
        """Return what was found since the last scan, in the order of the output."""
        return tuple(self._found.popleft() for _ in range(len(self._found)))

    def _take(self, line: bytes) -> None:
        found = self._saved_lines.read(line, self._mark)
        if found is None or found.path in self._known:
            return
        self._known[found.path] = None
        if len(self._known) > MAX_KNOWN:
            del self._known[next(iter(self._known))]
        self._found.append(
            Saved(at=self._clock(), step=found.step, path=found.path, mark=self._mark)
        )
