"""Detect new complete checkpoints while the trainer runs; only these count as progress."""

import time
from collections.abc import Callable, Sequence
from contextlib import AbstractContextManager, nullcontext
from functools import partial
from typing import Protocol

from slurm_restart.supervise.absence_warning import AbsenceWarning
from slurm_restart.supervise.checkpoint_check import check
from slurm_restart.supervise.periodic_thread import PeriodicThread
from slurm_restart.trainer.attempt_records import Saved
from slurm_restart.trainer.checkpoint_probe import Probe, Soundness
from slurm_restart.trainer.checkpoints import (
    Checkpoint,
    Mark,
    Marks,
    complete_by_name,
    directory_state,
    iterate,
)
from slurm_restart.trainer.run_plan import CheckpointLayout

INTERVAL = 2.0
"""Seconds between two scans, at least."""
MAX_SHARE = 0.015
"""Of a CPU that scans may take; a directory with very many names is read less often."""
RESCAN = 30.0
"""Seconds after which the directory is read even if its modification time is unchanged: a network
file system may show an old time, and a marker inside a checkpoint does not change it."""


class CheckpointMonitor:
    """Finds the complete checkpoints that have appeared since the attempt started.

    Args:
        layout: where checkpoints are and when they are complete.
        known: marks of the checkpoints that existed at the start, by name.
        clock: returns epoch seconds.
        probe: the check of checkpoints; None: by their form, in a process of its own.
    """

    def __init__(
        self,
        layout: CheckpointLayout,
        known: Marks,
        *,
        clock: Callable[[], float] = time.time,
        probe: Callable[[Sequence[str]], Sequence[Probe]] | None = None,
    ) -> None:
        self._layout = layout
        self._known = known
        self._clock = clock
        self._probe = probe or partial(check, form=layout.format, first=False)
        self._directory_state: int | None = None
        self._read_at = float("-inf")
        self._saved: set[int] = set()
        """Hashes of the names that were reported."""
        self._incomplete: dict[str, Mark | None] = {}
        """New checkpoints that were not complete when they were checked, with their marks then;
        None: the file that marks them as complete was not there."""
        self._seen: dict[str, Mark] = {}
        """The marks of these at the last scan."""
        self.reasons: dict[str, str] = {}
        """Why they were not complete."""

    def scan(self, *, full: bool = False) -> tuple[Saved, ...]:
        """Return the new complete checkpoints in the order of their steps.

        Args:
            full: read the directory even if its modification time is unchanged.

        Raises:
            OSError: the directory or a checkpoint cannot be read.
        """
        state = directory_state(self._layout)
        rescan = full or time.monotonic() - self._read_at >= RESCAN
        # What is written under its final name changes without a change of the directory.
        if state == self._directory_state and not (rescan or self._incomplete):
            return ()
        # What was there before is looked at again only at a rescan: a name costs less than a mark.
        new = [
            checkpoint
            for checkpoint in iterate(self._layout, lambda name: self._skip(name, rescan=rescan))
            if self._is_new(checkpoint, rescan=rescan)
        ]
        self._directory_state = state
        if rescan:
            self._read_at = time.monotonic()
        return self._select_complete(sorted(new, key=lambda checkpoint: checkpoint.order))

    def _skip(self, name: str, *, rescan: bool) -> bool:
        if hash(name) in self._saved:
            return True
        return not rescan and name in self._known and name not in self._incomplete

    def _is_new(self, checkpoint: Checkpoint, *, rescan: bool) -> bool:
        name, mark = checkpoint.name, checkpoint.mark
        if self._known.get(name) == mark:
            return False
        if rescan or not self._layout.format.is_opened or self._incomplete.get(name) is None:
            return True
        # To open a checkpoint is expensive: one that was not complete is opened again once it has
        # changed and changes no more, or at a rescan.
        settled = self._seen.get(name) == mark
        self._seen[name] = mark
        return settled and self._incomplete[name] != mark

    def _select_complete(self, new: Sequence[Checkpoint]) -> tuple[Saved, ...]:
        if not new:
            return ()
        steps: dict[str, int | None] = {
            checkpoint.path: checkpoint.step
            for checkpoint in new
            if complete_by_name(self._layout, checkpoint.path)
        }
        marked = steps.keys()
        reasons: dict[str, str] = {}
        if self._layout.format.is_opened:
            results = self._probe(list(steps)) if steps else ()
            reasons = {result.path: result.reason for result in results}
            steps = {
                result.path: result.step
                for result in results
                if result.soundness is Soundness.COMPLETE
            }
        saved = []
        for checkpoint in new:
            path, name = checkpoint.path, checkpoint.name
            if path not in steps:
                self._incomplete[name] = checkpoint.mark if path in marked else None
                self._seen[name] = checkpoint.mark
                self.reasons[name] = reasons.get(path) or "it is not marked as complete"
                continue
            self._incomplete.pop(name, None)
            self._seen.pop(name, None)
            self.reasons.pop(name, None)
            self._saved.add(hash(name))
            step = checkpoint.step if (stored := steps[path]) is None else stored
            saved.append(Saved(at=self._clock(), step=step, path=path, mark=checkpoint.mark))
        return tuple(saved)


class Monitor(Protocol):
    """Finds new complete checkpoints, on a file system or in the output."""

    reasons: dict[str, str]
    """Why others are not complete, by name."""

    def scan(self, *, full: bool = False) -> tuple[Saved, ...]:
        """Return what is new since the last scan.

        Args:
            full: for the last time.

        Raises:
            OSError: the checkpoints cannot be read.
        """


class CheckpointMonitorThread(PeriodicThread):
    """Scans for checkpoints.

    Args:
        monitor: performs the scans.
        report: called with each new complete checkpoint.
        warn: called with a message when a scan fails.
        absence: warns of checkpoints that do not appear; None: nobody does.
        watch: returns a context that is entered around each scan.
    """

    def __init__(
        self,
        monitor: Monitor,
        report: Callable[[Saved], None],
        warn: Callable[[str], None],
        absence: AbsenceWarning | None = None,
        watch: Callable[[], AbstractContextManager[None]] = nullcontext,
    ) -> None:
        failure = "checkpoints cannot be listed or checked"
        super().__init__("checkpoint-monitor", failure, warn, watch)
        self._monitor = monitor
        self._report = report
        self._absence = absence

    def _pause(self, used: float) -> float:
        return max(INTERVAL, used / MAX_SHARE)

    def _look(self, *, last: bool) -> None:
        with self._failures_reported():
            with self._watch():
                found = self._monitor.scan(full=last)
                if self._absence is not None:
                    if found:
                        self._absence.stop()
                    self._absence.look(self._monitor.reasons)
            for saved in found:
                self._report(saved)
