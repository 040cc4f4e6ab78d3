"""Simulated training runs under a simulated clock, for the watchdog: healthy ones, and hung ones.

Every run is a function of its number. The whole watchdog judges it, without its thread: what the
trainer prints is searched, and CPU time is read from simulated processes.
"""

import random
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field

from slurm_restart.core.hang import HangReport
from slurm_restart.core.hang_rule import Health, Watch
from slurm_restart.core.watchdog_settings import WatchdogSettings
from slurm_restart.supervise.hang_watch import HangWatch, Reactions, Watched
from slurm_restart.supervise.job_processes import ProcessStat
from slurm_restart.supervise.life_signs import GENERIC_STEPS, LifeSigns

MINUTE, HOUR = 60.0, 3600.0
LOOK = 10.0
SLOW_WRITE = 2 << 20
"""Bytes a second that a slow checkpoint writes."""
LONGEST_BURST = 10 * MINUTE
"""Seconds for which buffered output is held back."""


@dataclass(kw_only=True)
class Stretch:
    """A time in which the run does one thing. Seconds; the text is printed when it begins."""

    seconds: float
    text: str = ""
    busy: bool = False
    saved: bool = False
    """Whether a checkpoint is complete at its end."""
    writes: bool = False
    """Whether it writes data all the time, at a low rate and without CPU time."""
    paused: bool = False
    """Whether the supervisor is stopped all the time."""


@dataclass(kw_only=True)
class SimulatedRun:
    """What the watchdog sees of a run.

    Args:
        stretches: what it does.
        speaks: whether its trainer is known to print steps.
        pattern: finds the steps.
        gather: returns the report of a hang; the time that it takes is added to `now`.
    """

    stretches: Iterator[Stretch]
    speaks: bool = True
    pattern: str = GENERIC_STEPS
    settings: WatchdogSettings = field(default_factory=WatchdogSettings)
    now: float = 0.0
    cpu: float = 0.0
    written: float = 0.0
    saved: int = 0
    hung_at: float | None = None
    slow_at: float | None = None
    messages: list[str] = field(default_factory=list)
    gather: Callable[["SimulatedRun"], HangReport] = lambda _: HangReport(reason="")
    gathered_at: list[float] = field(default_factory=list)

    def find(self) -> tuple[ProcessStat, ...]:
        """Return the trainer's one process."""
        stat = ProcessStat(pid=1, parent=0, name="python", state="S", cpu=self.cpu, started=0)
        return (stat,)

    def transferred(self, _stats: tuple[ProcessStat, ...]) -> int:
        """Return the bytes that it has written."""
        return int(self.written)

    def work(self, stretch: Stretch, seconds: float) -> None:
        """Use CPU time and write, as the stretch says."""
        self.cpu += stretch.busy * seconds
        self.written += stretch.writes * seconds * SLOW_WRITE

    def play(self) -> "SimulatedRun":
        """Play it to its end, or until a hang is called."""
        output = LifeSigns(self.pattern, clock=lambda: self.now)

        def end(_report: HangReport, health: Health) -> None:
            if health is Health.HUNG:
                self.hung_at = self.now
            else:
                self.slow_at = self.now

        def gather(_reason: str) -> HangReport:
            self.gathered_at.append(self.now)
            return self.gather(self)

        watch = HangWatch(
            Watch(settings=self.settings, speaks=self.speaks),
            Watched(
                output=output,
                processes=self,  # type: ignore[arg-type]
                saved=lambda: self.saved,
                is_blind=lambda: False,
                is_done=lambda: False,
            ),
            Reactions(gather=gather, end=end, tell=self.messages.append),
            self.messages.append,
            ends=True,
            clock=lambda: self.now,
        )
        look_at = LOOK
        for stretch in self.stretches:
            if stretch.text:
                output.feed(f"{stretch.text}\n".encode())
            until = self.now + stretch.seconds
            if stretch.paused:
                self.now, look_at = until, until
            while look_at <= until:
                self.work(stretch, look_at - self.now)
                self.now, look_at = look_at, look_at + LOOK
                watch._look(last=False)  # noqa: SLF001 - as its thread does
                if self.hung_at is not None:
                    return self
            self.work(stretch, until - self.now)
            self.now, self.saved = until, self.saved + stretch.saved
        return self


@dataclass(kw_only=True)
class Habits:
    """How a simulated run behaves; drawn at random."""

    step: float
    """Seconds from one printed step to the next."""
    busy: bool
    start: float
    compile: bool
    evaluation: float
    evaluation_every: int
    announced: bool
    checkpoint: float
    checkpoint_every: int
    buffered: int
    """Printed steps that appear at once, as the output is buffered."""
    paused_every: int
    slow_from: int | None = None
    """From this printed step on, steps take ten times as long."""


def habits(dice: random.Random) -> Habits:
    """Draw the habits of a run.

    An evaluation that the output does not announce keeps this host busy, or takes up to 25 min.
    """
    busy, announced = dice.random() < 0.6, dice.random() < 0.6
    longest = 50 if announced or busy else 25
    step = 10 ** dice.uniform(-0.3, 2.1)
    return Habits(
        step=step,
        busy=busy,
        start=dice.uniform(10, 50 * MINUTE),
        compile=dice.random() < 0.5,
        evaluation=dice.uniform(20, longest * MINUTE),
        evaluation_every=dice.randint(40, 400),
        announced=announced,
        checkpoint=dice.uniform(5, 25 * MINUTE),
        checkpoint_every=dice.randint(20, 200),
        buffered=max(1, min(dice.choice((1, 1, 1, 5, 50)), int(LONGEST_BURST / step))),
        paused_every=dice.choice((0, 0, 150)),
        slow_from=dice.choice((None, None, None, 120)),
    )


def training(run: Habits, dice: random.Random, hours: float) -> Iterator[Stretch]:
    """Yield what a healthy run does in so many hours."""
    yield Stretch(seconds=5, text="loading")
    text = "Compiling the model. This may take a few minutes." if run.compile else ""
    yield Stretch(seconds=run.start, text=text, busy=dice.random() < 0.5)
    left, printed = hours * HOUR, 0
    held: list[str] = []
    while left > 0:
        printed += 1
        held.append(f"| Train Device=X, Step={printed * 10}, Loss=2.1")
        slow = run.slow_from is not None and printed >= run.slow_from
        seconds = run.step * dice.lognormvariate(0, 0.2) * (10 if slow else 1)
        shown, held = ("\n".join(held), []) if len(held) >= run.buffered else ("", held)
        yield Stretch(seconds=seconds, text=shown, busy=run.busy)
        left -= seconds
        for stretch in _interruptions(run, printed, dice):
            left -= stretch.seconds
            yield stretch


def _interruptions(run: Habits, printed: int, dice: random.Random) -> Iterator[Stretch]:
    if printed % run.checkpoint_every == 0:
        seconds = run.checkpoint * dice.uniform(0.3, 1)
        yield Stretch(seconds=seconds, saved=True)
    if printed % run.evaluation_every == 0:
        seconds = run.evaluation * dice.uniform(0.5, 1)
        text = "Running evaluation" if run.announced else ""
        yield Stretch(seconds=seconds, text=text, busy=run.busy)
    if run.paused_every and printed % run.paused_every == 0:
        yield Stretch(seconds=dice.uniform(1, 90) * MINUTE, paused=True)


def healthy(number: int) -> SimulatedRun:
    """Play a healthy run of three hours."""
    dice = random.Random(number)
    return SimulatedRun(stretches=training(habits(dice), dice, 3)).play()


@dataclass(frozen=True, kw_only=True)
class HangKind:
    """A kind of hang, in the words of the documentation."""

    meaning: str
    busy: bool
    prints: bool = False
    started: bool = True
    """Whether it hangs in training; else before its first step."""


HANGS = (
    HangKind(meaning="in training, without CPU time and output", busy=False),
    HangKind(meaning="in training, at 100 % CPU, without output", busy=True),
    HangKind(
        meaning="in training, with a line a minute that says it waits", busy=False, prints=True
    ),
    HangKind(
        meaning="before the first step, without CPU time and output", busy=False, started=False
    ),
)
EACH = 50


@dataclass(frozen=True, kw_only=True)
class Hang:
    """A hung run, and after how many seconds that was called; None: it was not."""

    kind: HangKind
    late: float | None
    usual_pause: float
    """Seconds between two printed steps, or bursts of them, of the run before."""


def hung(number: int) -> Hang:
    """Play a run that hangs, for at most 24 hours after."""
    dice = random.Random(10_000 + number)
    kind, run = HANGS[number % len(HANGS)], habits(dice)
    run.slow_from = None
    begun: list[float] = []

    def stretches() -> Iterator[Stretch]:
        if kind.started:
            yield from training(run, dice, 2)
        else:
            yield Stretch(seconds=5, text="loading")
        begun.append(played.now)
        for _ in range(24 * 60):
            text = "rank 3: still waiting for rank 1" if kind.prints else ""
            yield Stretch(seconds=60, text=text, busy=kind.busy)

    played = SimulatedRun(stretches=stretches())
    played.play()
    late = None if played.hung_at is None or not begun else played.hung_at - begun[0]
    return Hang(kind=kind, late=late, usual_pause=run.step * run.buffered)


def table(play: Callable[[int], Hang] = hung) -> str:
    """Return how late hangs are called, as a table of Markdown; minutes."""
    runs = [play(number) for number in range(EACH * len(HANGS))]
    lines = ["| the run hangs | runs | called | after, at least | median | at most |"]
    lines.append("| --- | --- | --- | --- | --- | --- |")
    for kind in HANGS:
        late = sorted(run.late for run in runs if run.kind is kind and run.late is not None)
        shown = [late[0], late[len(late) // 2], late[-1]] if late else []
        times = " | ".join(f"{seconds / MINUTE:.0f} min" for seconds in shown)
        lines.append(f"| {kind.meaning} | {EACH} | {len(late)} | {times} |")
    return "\n".join(lines) + "\n"


if __name__ == "__main__":
    print(table(), end="")
