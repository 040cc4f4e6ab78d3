"""Read signs of life from the trainer's output: that there is some, steps, and announced phases.

Only so many bytes a second are searched, which bounds the cost of a flood of output. What is left
out may have had a step in it, and is reported as such.
"""

import re
import time
from collections.abc import Callable

from slurm_restart.core.hang_rule import Phase
from slurm_restart.frozen import frozen

RATE = 1 << 17
"""Bytes a second that are searched."""
BURST = 1 << 20
"""Bytes that may be searched at once."""
_OVERLAP = 200
"""Bytes of a chunk that are searched again with the next one."""
_MAX_DIGITS = 12
APART = 0.05
"""Seconds between steps that are counted: the numbers in settings that a program prints as it
starts come at once."""

MODEL_ZOO_STEPS = r"\bStep=(\d{1,12})|\bGlobalStep=\d{1,12}, Batch=(\d{1,12})"
"""Of the Model Zoo: `| Train Device=CSX, Step=50, Loss=8.34375, Rate=…`, and of an evaluation, in
which the step stays the same: `| Eval Device=CSX, GlobalStep=50, Batch=20, Loss=…`."""
GENERIC_STEPS = (
    # `step 12`, `step: 12`, `global_step=12`, ` iteration      100/  500000` (Megatron), `batch 3`.
    r"(?i:\b(?:global[_ ]?step|step|iter|iteration|batch|num_updates)s?)[\"']?\s{0,3}[=:#]?"
    r"\s{0,10}\[?(\d{1,12})"
    # tqdm of Lightning, Hugging Face and Keras: `| 12/500 [00:10<…`, ` 12/500 [====>`.
    r"|\b(\d{1,12})/\d{1,12} \["
    # The log of Hugging Face's Trainer: `{'loss': 2.1, …, 'epoch': 0.35}`.
    r"|'epoch': (\d{1,12}(?:\.\d{1,12})?)"
)
_PHASES = {
    "compile": Phase.COMPILE,
    "evaluation": Phase.EVALUATION,
    "checkpoint": Phase.CHECKPOINT,
}
_WORDS = re.compile(
    rb"\b(?:(?P<compile>[Cc]ompil(?:ing|ation|e job))"
    rb"|(?P<evaluation>[Ee]val(?:uat(?:ing|ion))?|[Vv]alidat(?:ing|ion))"
    rb"|(?P<checkpoint>[Ss]aving|[Cc]heckpoint))\b"
)


def _place(match: re.Match[bytes]) -> tuple[int, bool, int]:
    """Return what sorts matches by lines; in a line the words come last.

    The step in `Saving checkpoint at step 500` does not end that phase.
    """
    begin = match.start()
    line = max(match.string.rfind(end, 0, begin) for end in (b"\n", b"\r"))
    return line, match.re is _WORDS, begin


@frozen
class Seen:
    """What the output has shown so far. Times of the monotonic clock, in seconds."""

    output_at: float | None
    steps: int
    """How often the printed step changed."""
    steps_apart: int
    """The same, without the changes that came less than `APART` after another one."""
    phase: Phase
    unsearched: int
    """How often output was left out."""
    step_time: float | None
    """Mean seconds of the steps since the look before, if nothing but steps came in between."""


class LifeSigns:
    """Searches the output; one thread feeds, another looks.

    Args:
        pattern: a regular expression, in which the first group that matches is the step.
        clock: returns seconds that only increase.
    """

    def __init__(self, pattern: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._find_steps = re.compile(pattern.encode()).finditer
        self._clock = clock
        self._credit, self._credited_at = float(BURST), clock()
        self._tail = b""
        self._output_at: float | None = None
        self._steps = self._steps_apart = self._unsearched = 0
        self._counted_at = float("-inf")
        self._phase = Phase.START
        self._step: bytes | None = None
        """The step as it was printed last."""
        self._reached: tuple[int, float] | None = None
        """The last step and its time, unless another phase has begun since."""
        self._measured_from: tuple[int, float] | None = None
        """The step and time from which the next look measures."""

    def feed(self, chunk: bytes) -> None:
        """Search the next bytes of the output, cut at any position."""
        now = self._clock()
        self._output_at = now
        try:
            self._search(chunk, now)
        except Exception:  # noqa: BLE001 - a fault here must not stop the copying of the output
            self._leave_out()

    def _leave_out(self) -> None:
        self._tail, self._unsearched = b"", self._unsearched + 1
        self._reached = self._measured_from = None

    def _search(self, chunk: bytes, now: float) -> None:
        self._credit = min(BURST, self._credit + RATE * (now - self._credited_at))
        self._credited_at = now
        if len(chunk) > self._credit:
            self._leave_out()
            return
        self._credit -= len(chunk)
        block = self._tail + chunk
        # A number at the end of the block may go on in the next one.
        ends = max(block.rfind(b"\n"), block.rfind(b"\r")) + 1
        if len(block) - ends > _OVERLAP:
            ends = len(block)
        self._tail = block[ends:]
        found = [*_WORDS.finditer(block, 0, ends), *self._find_steps(block, 0, ends)]
        for match in sorted(found, key=_place):
            if match.re is _WORDS:
                self._phase = _PHASES[str(match.lastgroup)]
                self._reached = self._measured_from = None
            else:
                self._note_step(next(filter(None, match.groups()), b""), now)

    def _note_step(self, text: bytes, now: float) -> None:
        if text == self._step:
            return
        self._step, self._steps, self._phase = text, self._steps + 1, Phase.TRAIN
        if now - self._counted_at >= APART:
            self._steps_apart, self._counted_at = self._steps_apart + 1, now
        if not text.isdigit() or len(text) > _MAX_DIGITS:
            return
        step = int(text)
        if self._reached is not None and step < self._reached[0]:
            self._measured_from = None
        self._reached = step, now
        self._measured_from = self._measured_from or self._reached

    @property
    def executes(self) -> bool:
        """Whether the trainer has printed steps, and has announced nothing else since."""
        return self._phase is Phase.TRAIN

    def look(self) -> Seen:
        """Return what was seen; the next measurement of the time of a step begins now."""
        begun, reached = self._measured_from, self._reached
        step_time = None
        if begun is not None and reached is not None and reached[0] > begun[0]:
            step_time = (reached[1] - begun[1]) / (reached[0] - begun[0])
            self._measured_from = reached
        return Seen(
            output_at=self._output_at,
            steps=self._steps,
            steps_apart=self._steps_apart,
            phase=self._phase,
            unsearched=self._unsearched,
            step_time=step_time,
        )

    def skip_measurement(self) -> None:
        """Leave out the time of the steps up to now, as this process did not run all the time."""
        self._measured_from = None
