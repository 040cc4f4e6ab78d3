"""Tell early that an attempt has written no checkpoint: a wrong pattern costs the whole run."""

import time
from collections.abc import Callable, Mapping

from slurm_restart.trainer.near_names import describe_absence
from slurm_restart.trainer.run_plan import CheckpointFormat, CheckpointLayout


class AbsenceWarning:
    """Warns once if no complete checkpoint was seen in time.

    Args:
        layout: where checkpoints are expected, and after how many seconds it is told.
        warn: called with the message.
        clock: returns seconds that only increase.
    """

    def __init__(
        self,
        layout: CheckpointLayout,
        warn: Callable[[str], None],
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._layout = layout
        self._warn = warn
        self._clock = clock
        self._due: float | None = None
        if layout.format is not CheckpointFormat.NONE:
            self._due = clock() + layout.warn_after

    def look(self, incomplete: Mapping[str, str]) -> None:
        """Warn if it is time.

        Args:
            incomplete: names that match, and why each is not complete.

        Raises:
            OSError: the directory cannot be read; the next call tries again.
        """
        if self._due is None or self._clock() < self._due:
            return
        if incomplete:
            name, reason = max(incomplete.items())
            found = f"{len(incomplete)} incomplete, such as {name}: {reason}"
        else:
            found = describe_absence(self._layout)
        self._due = None
        minutes = round(self._layout.warn_after / 60, 1)
        self._warn(f"no checkpoint seen for {minutes:g} min: {found}")

    def stop(self) -> None:
        """Warn no more: a checkpoint was seen."""
        self._due = None
