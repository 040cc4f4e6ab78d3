"""Watch the trainer for a hang or a slowdown, in a thread; `core.hang_rule` judges."""

import time
from collections.abc import Callable
from dataclasses import replace
from typing import assert_never

from slurm_restart.core.hang import HangReport, StoppedLook
from slurm_restart.core.hang_rule import HEALTHY, Health, Judgement, Phase, Signs, Watch
from slurm_restart.core.watchdog_settings import WatchdogSettings
from slurm_restart.frozen import frozen
from slurm_restart.supervise.job_processes import BUSY_SHARE, JobProcesses
from slurm_restart.supervise.life_signs import LifeSigns, Seen
from slurm_restart.supervise.periodic_thread import PeriodicThread

MAX_INTERVAL = 10.0
MIN_INTERVAL = 0.2
"""Seconds between two looks."""
_LOOKS = 40
"""Looks in the shortest floor."""
BUSY_BYTES = 1 << 20
"""Bytes read and written in a second from which they do: a checkpoint that is written slowly."""
MAX_CPU_SHARE = 0.02
"""CPUs that the watchdog uses at most: it looks less often where it has to read much."""

NOT_ENDED = (
    "the run is not ended, as it is not known what its steps are: watchdog.steps or progress say it"
)
STOPPED = (
    "the run is ended if a stopped process stays so, and nothing but CPU time is seen, for {:.0f} s"
)


@frozen
class Watched:
    """What the watchdog looks at. The functions return at once."""

    output: LifeSigns
    processes: JobProcesses
    saved: Callable[[], int]
    """Returns a number that grows with each checkpoint."""
    is_blind: Callable[[], bool]
    """Returns whether a file system does not answer, so that nothing is known of checkpoints."""
    is_done: Callable[[], bool]
    """Returns whether the last step was reached."""


@frozen
class Reactions:
    """What is done. The functions may take their time, but `tell`."""

    gather: Callable[[str], HangReport]
    """Returns the report of a hang."""
    end: Callable[[HangReport, Health], None]
    """Ends the trainer."""
    tell: Callable[[str], None]
    """Tells people."""


class HangWatch(PeriodicThread):
    """Looks every few seconds until `finish` is called, or the trainer was ended.

    Time in which this process itself did not run does not count: it was stopped, or its node was
    suspended or overloaded.

    Args:
        watch: the rule, at the trainer's start.
        watched: what is looked at.
        reactions: what is done.
        ends: whether a hung trainer is ended; else it is only reported.
        warn: called with a message if /proc cannot be read.
        clock: returns seconds that only increase.
    """

    def __init__(
        self,
        watch: Watch,
        watched: Watched,
        reactions: Reactions,
        warn: Callable[[str], None],
        *,
        ends: bool,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        super().__init__("hang-watch", "the processes cannot be watched", warn)
        self._rule = watch
        self._watched = watched
        self._reactions = reactions
        self._ends = ends
        self._clock = clock
        self._interval = interval(watch.settings)
        self._pausing = self._interval
        """Seconds from the last look to the next one."""
        self._looked_at = clock()
        self._now = 0.0
        """Seconds in which this process ran."""
        self._seen = watched.output.look()
        self._saved = watched.saved()
        self._used: tuple[float, int] | None = None
        """CPU seconds and bytes at the last look, if there was no other sign of life then."""
        self._reported = HEALTHY
        self._stopped: StoppedLook | None = None
        """The last look that found a process stopped."""
        self._over = False

    def _pause(self, used: float) -> float:
        self._pausing = max(self._interval, used / MAX_CPU_SHARE)
        return self._pausing

    def _look(self, *, last: bool) -> None:
        if last or self._over:
            return
        passed = self._since_last_look()
        if passed > 2 * self._pausing + 1:
            self._watched.output.skip_measurement()
            passed = self._pausing
        self._now += passed
        try:
            with self._failures_reported():
                signs = self._signs(passed)
                self._rule = self._rule.after(signs)
                self._react(self._rule.judge(self._now), checkpoint=signs.checkpoints > 0)
        except Exception as error:  # noqa: BLE001 - a fault of the watchdog must not end a run
            self._over = True
            self._warn(f"the run is not watched any more: {type(error).__name__}: {error}")

    def _since_last_look(self) -> float:
        now = self._clock()
        passed, self._looked_at = now - self._looked_at, now
        return passed

    def _signs(self, passed: float) -> Signs:
        before, seen = self._seen, self._watched.output.look()
        self._seen = seen
        saved = self._watched.saved()
        found, self._saved = max(0, saved - self._saved), saved
        output = seen.output_at != before.output_at
        stepped = seen.steps != before.steps
        return Signs(
            at=self._now,
            phase=Phase.END if self._watched.is_done() else seen.phase,
            output=output,
            busy=self._is_busy(passed, signs=output or found > 0),
            steps=max(stepped, seen.steps_apart - before.steps_apart),
            checkpoints=found,
            unsearched=seen.unsearched != before.unsearched,
            step_time=_step_time(seen),
        )

    def _is_busy(self, passed: float, *, signs: bool) -> bool:
        """Return whether CPU time was used or data moved since the last look, or is not known.

        /proc is read only while there is no other sign of life.
        """
        if signs:
            self._used = None
            return False
        if self._watched.is_blind():
            self._used = None
            return True
        found = self._watched.processes.find()
        moved = self._watched.processes.transferred(found)
        before, self._used = self._used, (sum(stat.cpu for stat in found), moved)
        if any(stat.state == "t" for stat in found):
            return True  # a person looks at the program with a debugger
        if before is None:
            return False  # the next look tells
        cpu, data = self._used[0] - before[0], self._used[1] - before[1]
        # Less CPU time than before: a process has ended.
        return cpu < 0 or cpu > BUSY_SHARE * passed or data > BUSY_BYTES * passed

    def _react(self, judgement: Judgement, *, checkpoint: bool) -> None:
        match judgement.health:
            case Health.HUNG:
                known = self._reported.health is Health.HUNG
                is_reported = known and (self._reported.is_sure or not judgement.is_sure)
                if is_reported and not self._looks_again():
                    return
                if not self._hung(judgement):
                    return
            case Health.SLOW:
                if self._reported.health is Health.HEALTHY:
                    self._reactions.tell(f"slowdown: {judgement.reason}")
                if self._ends and self._rule.settings.restart_when_slow and checkpoint:
                    self._end(HangReport(reason=judgement.reason), Health.SLOW)
            case Health.HEALTHY:
                if self._reported.health is not Health.HEALTHY:
                    self._reactions.tell("the run gets on as before")
            case _:
                assert_never(judgement.health)
        self._reported = judgement

    def _hung(self, judgement: Judgement) -> bool:
        """Report a hang and end the run; return whether it is one after all that was gathered."""
        report = self._reactions.gather(judgement.reason)
        # Gathering took its time, which does not count: the run may have got on meanwhile.
        signs = self._signs(self._since_last_look())
        stopped = self._stays_stopped(report)
        busy = signs.busy or (report.busy_elsewhere and not stopped)
        self._rule = self._rule.after(replace(signs, busy=busy))
        judgement = self._rule.judge(self._now)
        if judgement.health is not Health.HUNG:
            return False
        is_sure = judgement.is_sure or stopped
        if is_sure or self._reported.health is not Health.HUNG:
            self._tell(report, judgement.reason, is_sure=is_sure)
        if is_sure and self._ends:
            self._end(report, Health.HUNG)
        return True

    def _tell(self, report: HangReport, reason: str, *, is_sure: bool) -> None:
        for line in (reason, *report.lines):
            self._reactions.tell(f"hang: {line}")
        if self._ends and not is_sure:
            will = NOT_ENDED if self._stopped is None else STOPPED.format(self._apart)
            self._reactions.tell(f"hang: {will}")

    @property
    def _apart(self) -> float:
        """Seconds between two looks at a process that are to find it stopped."""
        return min(self._rule.settings.floor, self._rule.floor)

    def _looks_again(self) -> bool:
        """Return whether it is time to look whether a stopped process still is."""
        before = self._stopped
        return self._ends and before is not None and self._now - before.at >= self._apart

    def _stays_stopped(self, report: HangReport) -> bool:
        """Return whether a process has been stopped since an earlier report, without a sign since.

        It neither computes nor prepares data, whatever the others do that wait for it.
        """
        before, shown = self._stopped, (self._seen.output_at, self._saved)
        now = StoppedLook(at=self._now, shown=shown, cpu=report.stopped)
        if report.stopped:
            self._stopped = now
        elif before is not None and before.shown == shown:
            # Its node may not have answered: it is looked at once more.
            self._stopped = replace(before, at=self._now)
        else:
            self._stopped = None
        if before is None or self._watched.is_blind():
            return False
        return before.goes_on(now, apart=self._apart)

    def _end(self, report: HangReport, health: Health) -> None:
        self._over = True
        self._reactions.end(report, health)


def interval(settings: WatchdogSettings) -> float:
    """Return the seconds between two looks."""
    shortest = min(settings.floor, settings.start_floor, settings.slow_after)
    return min(MAX_INTERVAL, max(MIN_INTERVAL, shortest / _LOOKS))


def _step_time(seen: Seen) -> float | None:
    return seen.step_time if seen.phase is Phase.TRAIN else None
