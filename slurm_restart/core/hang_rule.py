"""Judge from a run's signs of life whether it is healthy, slow or hung.

Two clocks run: since the last sign of life of any kind, and since the last progress (a new step or
checkpoint). Each has a limit, which follows from the run's own pauses and is never below a floor.
Pauses at the start, in compilations, evaluations and checkpoints are learned apart, as far as the
output announces them.
"""

from collections.abc import Mapping
from dataclasses import field, replace
from enum import Enum

from slurm_restart.core.rhythm import Rhythm
from slurm_restart.core.step_pace import StepPace
from slurm_restart.core.watchdog_settings import WatchdogSettings
from slurm_restart.frozen import frozen

LEARNED_STEPS = 10
"""Looks with a new step after which the rhythm of a run is known whose steps are guessed: it may
print some at its start and then nothing for hours."""
LEARNED_STEPS_IF_SPEAKS = 3
"""Steps after which that of a run is known which says what its steps are."""
LEARNED_CHECKPOINTS = 3
"""Checkpoints after which that of any run is known."""


class Phase(Enum):
    """What a run does; the values are words for people."""

    START = "start-up"
    COMPILE = "a compilation"
    TRAIN = "training"
    EVALUATION = "an evaluation"
    CHECKPOINT = "a checkpoint"
    END = "the end after the last step"


class Health(Enum):
    """The judgement."""

    HEALTHY = "healthy"
    SLOW = "slow"
    HUNG = "hung"


@frozen
class Signs:
    """What was seen since the look before. Times in seconds in which the watchdog itself ran."""

    at: float
    phase: Phase = Phase.TRAIN
    """What the output announced last; TRAIN: a step came after it."""
    output: bool = False
    busy: bool = False
    """Whether the processes used CPU time or moved data, or it cannot be known what they did."""
    steps: int = 0
    """New steps; those that came at the same time are one."""
    checkpoints: int = 0
    """New checkpoints."""
    unsearched: bool = False
    """Whether there was so much output that a step in it may have been missed."""
    step_time: float | None = None
    """Seconds per step, where steps of a training were printed without a pause of another kind."""

    @property
    def progress(self) -> bool:
        """Whether the run got on."""
        return self.steps > 0 or self.checkpoints > 0

    @property
    def any(self) -> bool:
        """Whether there was a sign of life."""
        return self.progress or self.output or self.busy


@frozen
class Judgement:
    """The judgement with its reason in words, and the time since when it holds, as in `Signs`."""

    health: Health
    reason: str = ""
    since: float | None = None
    is_sure: bool = True
    """Whether it is good enough to end the run for."""


HEALTHY = Judgement(health=Health.HEALTHY)


@frozen
class Watch:
    """What has been learned of one attempt. Its start is time 0.

    Args:
        settings: the thresholds.
        speaks: whether such a run is known to print steps: it is judged before its rhythm is known,
            and computing without a new step is a hang. The steps of others are guessed: one may
            print some while it prepares its data, and none in its training.
    """

    settings: WatchdogSettings
    speaks: bool
    phase: Phase = Phase.START
    last_sign: float = 0.0
    last_progress: float = 0.0
    steps: int = 0
    step_looks: int = 0
    """Looks that have seen a new step."""
    checkpoints: int = 0
    sign_pauses: Mapping[Phase, Rhythm] = field(default_factory=dict)
    progress_pauses: Mapping[Phase, Rhythm] = field(default_factory=dict)
    pace: StepPace = field(default_factory=StepPace)

    def after(self, signs: Signs) -> "Watch":
        """Return what is known after one more look."""
        begun = self.phase
        watch = replace(self, phase=self._next_phase(signs))
        if signs.any:
            watch = replace(
                watch,
                sign_pauses=_add(self.sign_pauses, begun, signs.at - self.last_sign),
                last_sign=signs.at,
            )
        if signs.progress:
            watch = replace(
                watch,
                progress_pauses=_add(self.progress_pauses, begun, signs.at - self.last_progress),
                last_progress=signs.at,
                steps=self.steps + signs.steps,
                step_looks=self.step_looks + (signs.steps > 0),
                checkpoints=self.checkpoints + signs.checkpoints,
            )
        elif signs.unsearched:
            watch = replace(watch, last_progress=signs.at)
        if signs.step_time is not None and begun is Phase.TRAIN:
            pace = self.pace.after(
                signs.step_time,
                since=self.last_progress,
                at=signs.at,
                factor=self.settings.slow_factor,
            )
            watch = replace(watch, pace=pace)
        return watch

    def judge(self, at: float) -> Judgement:
        """Return the judgement at a time that is not before the last look."""
        return self._hung(at) or self._slow() or HEALTHY

    def _next_phase(self, signs: Signs) -> Phase:
        started = self.steps or self.checkpoints or signs.progress
        # A run whose steps are not recognised trains once it has written a checkpoint.
        return Phase.TRAIN if started and signs.phase is Phase.START else signs.phase

    # --- limits ----------------------------------------------------------------------------------

    @property
    def floor(self) -> float:
        """The floor of the present phase, in seconds."""
        match self.phase:
            case Phase.TRAIN:
                return self.settings.floor
            case Phase.COMPILE:
                return self.settings.compile_floor
            case _:
                return self.settings.start_floor

    @property
    def progress_is_known(self) -> bool:
        """Whether the rhythm of steps or checkpoints has been learned."""
        if self.checkpoints >= LEARNED_CHECKPOINTS:
            return True
        if self.speaks:
            return self.steps >= LEARNED_STEPS_IF_SPEAKS
        return self.step_looks >= LEARNED_STEPS

    @property
    def quiet_limit(self) -> float | None:
        """Seconds without any sign of life that are a hang; None: it cannot be told yet."""
        if not (self.speaks or self.progress_is_known):
            return None
        known = self.sign_pauses.get(self.phase, Rhythm())
        floor = self.floor if self.progress_is_known else max(self.floor, self.settings.start_floor)
        return known.limit(floor, self.settings)

    @property
    def progress_limit(self) -> float | None:
        """Seconds without progress that are a hang whatever else is seen; None: not known."""
        if not self.progress_is_known:
            return None
        known = self.progress_pauses.get(self.phase, Rhythm())
        if self.phase is not Phase.TRAIN:
            # The usual pauses are part of a longer one, too.
            usual = self.progress_pauses.get(Phase.TRAIN, Rhythm())
            known = known if known.longest > usual.longest else usual
        return known.limit(self.settings.busy_factor * self.floor, self.settings)

    def _hung(self, at: float) -> Judgement | None:
        quiet, stuck = at - self.last_sign, at - self.last_progress
        if max(quiet, stuck) < self.floor:
            return None  # below every limit
        limit = self.quiet_limit
        if limit is not None and quiet >= limit:
            return self._judgement(
                f"no output, no step, no checkpoint and no CPU time for {quiet:.0f} s",
                limit,
                self.last_sign,
                is_sure=True,
            )
        limit = self.progress_limit
        if limit is not None and stuck >= limit:
            return self._judgement(
                f"output or CPU time, but no new step and no checkpoint for {stuck:.0f} s",
                limit,
                self.last_progress,
                is_sure=self.speaks and self.steps >= LEARNED_STEPS_IF_SPEAKS,
            )
        return None

    def _judgement(self, what: str, limit: float, since: float, *, is_sure: bool) -> Judgement:
        reason = f"{what} in {self.phase.value}; {limit:.0f} s are the limit for this run"
        return Judgement(health=Health.HUNG, reason=reason, since=since, is_sure=is_sure)

    def _slow(self) -> Judgement | None:
        since, now = self.pace.slow_since, self.pace.slow_time
        if since is None or now is None or not self.pace.is_slow:
            return None
        usual = self.pace.median
        # A pause after some slow steps is none of them.
        seconds = self.pace.slow_until - since
        if usual is None or seconds < self.settings.slow_after:
            return None
        reason = (
            f"a step takes {now:.3g} s, {now / usual:.1f} times the run's own median of "
            f"{usual:.3g} s, for {seconds:.0f} s now"
        )
        return Judgement(health=Health.SLOW, reason=reason, since=since)


def _add(known: Mapping[Phase, Rhythm], phase: Phase, pause: float) -> Mapping[Phase, Rhythm]:
    return {**known, phase: known.get(phase, Rhythm()).after(pause)}
