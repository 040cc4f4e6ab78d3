"""Tell early that an attempt has written no checkpoint: a wrong pattern costs the whole run."""

import time
from collections.abc import Callable, Mapping

from slurm_restart.trainer.near_names import describe_absence
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout

INTERVALS = 2
"""Checkpoint intervals in which a first checkpoint is expected; the trainer writes it meanwhile."""
WRITE_TIME = 60.0
"""Seconds more for one that is written while the training goes on, and for a network file system
that shows it late."""


class AbsenceWarning:
    """Warns once if no complete checkpoint was seen in time.

    In time is after `warn_after` seconds, or `WRITE_TIME` after the training has got `INTERVALS`
    checkpoint intervals further, whichever is sooner.

    Args:
        layout: where checkpoints are expected, and after how many seconds it is told.
        warn: called with the message.
        clock: returns seconds that only increase.
        interval: steps between checkpoints; None or 0: not known.
        step: returns the highest step that the training has shown; None: none yet.
    """

    def __init__(
        self,
        layout: CheckpointLayout,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
        *,
        interval: int | None = None,
        step: Callable[[], int | None] = lambda: None,
    ) -> None:
        self._layout = layout
        self._warn = warn
        self._clock = clock
        self._interval = interval
        self._step = step
        self._due: float | None = None
        self._first_step: int | None = None
        self._passed_at: float | None = None
        if layout.format is not CheckpointFormat.NONE:
            self._due = clock() + layout.warn_after

    def look(self, incomplete: Mapping[str, str]) -> None:
        """Warn if it is time.

        Args:
            incomplete: names that match, and why each is not complete.

        Raises:
            OSError: the directory cannot be read; the next call tries again.
        """
        if self._due is None:
            return
        now = self._clock()
        late = self._is_late_by_steps(now)
        if now >= self._due:
            since = f"for {round(self._layout.warn_after / 60, 1):g} min"
        elif late and len(incomplete) != 1:  # a single one may still be written
            since = f"by step {self._step()}, with one to be written every {self._interval} steps"
        else:
            return
        if incomplete:
            name, reason = max(incomplete.items())
            found = f"{len(incomplete)} incomplete, such as {name}: {reason}"
        else:
            found = describe_absence(self._layout)
        self._due = None
        self._warn(f"no checkpoint seen {since}: {found}")

    def stop(self) -> None:
        """Warn no more: a checkpoint was seen."""
        self._due = None

    def _is_late_by_steps(self, now: float) -> bool:
        step = self._step() if self._interval else None
        if step is None:
            return False
        if self._first_step is None:
            self._first_step = step
        intervals = (step - self._first_step) // (self._interval or 1)
        if self._passed_at is None and intervals >= INTERVALS:
            self._passed_at = now
        return self._passed_at is not None and now - self._passed_at >= WRITE_TIME
