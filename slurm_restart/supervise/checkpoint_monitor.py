"""Watches for new complete checkpoints: the only thing that counts as progress."""

import os
import threading
import time
from collections.abc import Callable, Mapping, Sequence

from slurm_restart.supervise.checkpoint_check import check
from slurm_restart.trainer.attempt_records import Saved
from slurm_restart.trainer.checkpoint_probe import Probe, Soundness
from slurm_restart.trainer.checkpoints import Checkpoint, Mark, complete_by_name, find
from slurm_restart.trainer.plan import CheckpointFormat, CheckpointLayout

INTERVAL = 2.0
RESCAN = 30.0
"""Seconds after which the directory is read although its time of change is the same: a network
file system may show an old one, and a marker inside a checkpoint does not change it."""


class CheckpointMonitor:
    """What has appeared since the attempt started.

    Args:
        rule: where checkpoints are and when they are complete.
        known: checkpoints that were there at the start, with their marks.
        clock: epoch seconds.
        probe: the check of `.mdl` files.
    """

    def __init__(
        self,
        rule: CheckpointLayout,
        known: Mapping[str, Mark],
        *,
        clock: Callable[[], float] = time.time,
        probe: Callable[[Sequence[str]], Sequence[Probe]] = lambda paths: check(paths, first=False),
    ) -> None:
        self._rule = rule
        self._seen = dict(known)
        self._clock = clock
        self._probe = probe
        self._directory_mark: object = None
        self._read_at = float("-inf")
        self._saved: set[str] = set()
        self._refused: dict[str, Mark] = {}
        """New ones that were not complete when they were last looked at."""

    def look(self, *, thoroughly: bool = False) -> tuple[Saved, ...]:
        """New complete checkpoints, in the order of their steps.

        Args:
            thoroughly: read the directory even where it looks unchanged.

        Raises:
            OSError: the file system does not let us.
        """
        mark = self._mark()
        stale = thoroughly or time.monotonic() - self._read_at >= RESCAN
        by_marker = self._rule.complete is not None and self._refused
        if mark == self._directory_mark and not (stale or by_marker):
            return ()
        found = find(self._rule)
        self._directory_mark = mark
        if stale:
            self._read_at = time.monotonic()
        return self._complete([one for one in reversed(found) if self._is_new(one, stale=stale)])

    def _is_new(self, one: Checkpoint, *, stale: bool) -> bool:
        if one.name in self._saved or self._seen.get(one.name) == one.mark:
            return False
        # Opening a file is dear: a broken one is looked at again only now and then.
        cheap = self._rule.format is not CheckpointFormat.MDL
        return stale or cheap or self._refused.get(one.name) != one.mark

    def _mark(self) -> object:
        try:
            return os.stat(self._rule.directory).st_mtime_ns  # noqa: PTH116 - called every 2 s
        except FileNotFoundError:
            return None

    def _complete(self, new: Sequence[Checkpoint]) -> tuple[Saved, ...]:
        if not new:
            return ()
        if self._rule.format is CheckpointFormat.MDL:
            steps = self._sound([one.path for one in new])
        else:
            steps = {one.path: one.step for one in new if complete_by_name(self._rule, one.path)}
        saved = []
        for one in new:
            if one.path not in steps:
                self._refused[one.name] = one.mark
                continue
            self._refused.pop(one.name, None)
            self._saved.add(one.name)
            step = steps[one.path]
            saved.append(
                Saved(at=self._clock(), step=one.step if step is None else step, path=one.path)
            )
        return tuple(saved)

    def _sound(self, paths: Sequence[str]) -> dict[str, int | None]:
        return {
            result.path: result.step
            for result in self._probe(paths)
            if result.soundness is Soundness.COMPLETE
        }


class CheckpointMonitorThread(threading.Thread):
    """Looks every few seconds, in a thread of its own: a file system may hang.

    Args:
        watch: what looks.
        report: called with each new complete checkpoint.
        tell: called with a message when looking fails.
    """

    def __init__(
        self,
        watch: CheckpointMonitor,
        report: Callable[[Saved], None],
        tell: Callable[[str], None],
    ) -> None:
        super().__init__(name="progress", daemon=True)
        self._watch = watch
        self._report = report
        self._tell = tell
        self._finish = threading.Event()
        self._failing = False

    def finish(self, timeout: float) -> bool:
        """Look one last time; whether that was done within `timeout` seconds."""
        self._finish.set()
        self.join(timeout)
        return not self.is_alive()

    def run(self) -> None:
        """Look until told to finish."""
        while not self._finish.wait(INTERVAL):
            self._look(thoroughly=False)
        self._look(thoroughly=True)

    def _look(self, *, thoroughly: bool) -> None:
        try:
            for saved in self._watch.look(thoroughly=thoroughly):
                self._report(saved)
        except OSError as error:
            if not self._failing:
                self._tell(f"checkpoints cannot be looked for: {error}")
            self._failing = True
        else:
            self._failing = False
