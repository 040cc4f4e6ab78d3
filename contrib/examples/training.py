"""The training loop that both example trainers share."""

import math
import os
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np
from faults import fail_on_purpose
from ranks import Ranks
from textmodel import Corpus, Model, micro_batch

VALIDATION_SEED = 0
"""The same batches in every validation, so that their losses compare."""


@dataclass(frozen=True, kw_only=True)
class Job:
    """What is trained. Steps are global: a resumed run goes on counting."""

    first_step: int
    last_step: int
    batch_size: int
    rate: float
    seed: int
    momentum: float = 0.9
    checkpoint_steps: int | None = None
    """Counted from `first_step`, as the Model Zoo does; the last step is saved too. None: never."""
    log_steps: int = 1
    eval_batch_size: int = 64
    eval_steps: int = 10
    """Batches of a validation."""
    eval_every: int = 0
    """Training steps from one validation to the next; 0: none."""

    def due(self, step: int, every: int | None) -> bool:
        """Whether what happens every so many steps, and at the last one, happens now."""
        return bool(every) and ((step - self.first_step) % every == 0 or step == self.last_step)


def log(message: str, level: str = "INFO") -> None:
    """A line in the trainer's form."""
    now = time.time()
    stamp = time.strftime("%Y-%m-%d %H:%M:%S", time.localtime(now))
    # In one piece: other ranks write to the same file.
    sys.stdout.write(f"{stamp},{int(now % 1 * 1000):03d} {level}:   {message}\n")
    sys.stdout.flush()


def share_state(ranks: Ranks, text: Corpus, model: Model, step: int) -> int:
    """Give every rank the model of rank 0, which alone has read a checkpoint; returns its step.

    Raises:
        RuntimeError: this rank would train on another text.
    """
    digest = ranks.share(text.digest.encode()).decode()
    if digest != text.digest:
        raise RuntimeError(f"{ranks.node}: Python's library is not the same as on rank 0's node")
    state = np.concatenate([model.flat, model.flat_momentum])
    model.flat, model.flat_momentum = np.split(
        np.frombuffer(bytearray(ranks.share(state.tobytes())), dtype=np.float32), 2
    )
    return int.from_bytes(ranks.share(step.to_bytes(8)))


def train(model: Model, text: Corpus, job: Job, ranks: Ranks, save: Callable[[int], None]) -> None:
    """Train from `first_step` to `last_step`; rank 0 saves checkpoints with `save(step)`.

    Raises:
        FloatingPointError: the loss is not a number any more.
        PeerLostError: another rank has gone.
    """
    pace = float(os.environ.get("CSX_EXAMPLE_STEP_SECONDS") or 0)
    speed = Speed(job.batch_size)
    log(
        f"rank {ranks.rank} of {ranks.size} on {ranks.node}: steps {job.first_step} to "
        f"{job.last_step}"
    )
    for step in range(job.first_step + 1, job.last_step + 1):
        until = time.monotonic() + pace
        fail_on_purpose(step, ranks.rank, model)
        loss = _step(model, text, job, ranks, step)
        time.sleep(max(0.0, until - time.monotonic()))  # a demo's pace, not a wait for anything
        speed.count()
        if ranks.rank == 0 and job.due(step, job.log_steps):
            log(f"| Train Device=CPU, Step={step}, Loss={loss:.5f}, {speed}")
        if not math.isfinite(loss):
            raise FloatingPointError(f"NaN loss detected at step {step}: {loss}")
        if ranks.rank == 0 and job.due(step, job.checkpoint_steps):
            save(step)
        if job.due(step, job.eval_every):
            evaluate(model, text, job, ranks, step)
    if ranks.rank == 0:
        log("Training completed successfully!")
        log(f"Processed {speed.samples} training sample(s) in {speed.seconds:.3f} seconds.")


def _step(model: Model, text: Corpus, job: Job, ranks: Ranks, step: int) -> float:
    parts = {
        number: model.gradient(
            *micro_batch(
                text.train,
                model.shape,
                seed=job.seed,
                step=step,
                number=number,
                batch_size=job.batch_size,
            )
        )
        for number in ranks.mine()
    }
    total = ranks.add_up(parts) / np.float32(job.batch_size)
    model.apply(total[:-1], rate=job.rate, momentum=job.momentum)
    return float(total[-1])


def evaluate(model: Model, text: Corpus, job: Job, ranks: Ranks, step: int) -> None:
    """Log the mean loss over the first batches of the text that is never trained on."""
    speed, sum_of_losses = Speed(job.eval_batch_size), 0.0
    for batch in range(1, job.eval_steps + 1):
        if batch == job.eval_steps:
            fail_on_purpose(step, ranks.rank, model, validation=True)
        parts = {}
        for number in ranks.mine():
            before, after = micro_batch(
                text.validate,
                model.shape,
                seed=VALIDATION_SEED,
                step=batch,
                number=number,
                batch_size=job.eval_batch_size,
            )
            parts[number] = np.array([model.loss(before, after)], dtype=np.float32)
        sum_of_losses += float(ranks.add_up(parts)[0]) / job.eval_batch_size
        speed.count()
    if ranks.rank == 0:
        loss = sum_of_losses / job.eval_steps
        log(
            f"| Eval Device=CPU, GlobalStep={step}, Batch={job.eval_steps}, "
            f"Loss={loss:.5f}, {speed}"
        )
        log("Evaluation completed successfully!")


class Speed:
    """Samples per second: since it was last shown, and since it was made."""

    def __init__(self, batch_size: int) -> None:
        self._batch_size = batch_size
        self._begun = self._shown = time.monotonic()
        self._since_shown = self.samples = 0

    def count(self) -> None:
        """Another batch is done."""
        self.samples += self._batch_size
        self._since_shown += self._batch_size

    @property
    def seconds(self) -> float:
        """Since it was made."""
        return time.monotonic() - self._begun

    def __str__(self) -> str:
        now = time.monotonic()
        rate = self._since_shown / max(now - self._shown, 1e-9)
        self._shown, self._since_shown = now, 0
        overall = self.samples / max(self.seconds, 1e-9)
        return f"Rate={rate:.2f} samples/sec, GlobalRate={overall:.2f} samples/sec"
