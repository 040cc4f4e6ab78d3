"""The training loop that both example trainers share."""

import os
import signal
import sys
import time
from collections.abc import Callable
from dataclasses import dataclass

from ranks import Ranks, log
from textmodel import Model, corpus, micro_batch


@dataclass(frozen=True)
class Job:
    """What is trained. Steps are global: a resumed run goes on counting."""

    first_step: int
    last_step: int
    batch_size: int
    rate: float
    seed: int
    checkpoint_steps: int | None


def fail_on_purpose(step: int, rank: int) -> None:
    """Do what CSX_EXAMPLE_FAIL asks for at this step (see `cszoo --help`)."""
    wanted = os.environ.get("CSX_EXAMPLE_FAIL", "")
    what, _, where = wanted.partition("@")
    at, _, on = where.partition("/")
    if not what or str(step) != at or (on and int(on.removeprefix("rank=")) != rank):
        return
    kind, _, value = what.partition(":")
    if kind == "print":
        print(value, file=sys.stderr, flush=True)
    elif kind == "exit":
        os._exit(int(value))
    elif kind == "signal":
        os.kill(os.getpid(), int(value))
    elif kind == "raise":
        raise {"TypeError": TypeError, "ValueError": ValueError}.get(value, RuntimeError)(
            "failed on purpose"
        )
    elif kind == "nan":
        raise FloatingPointError("NaN error: loss is nan")
    elif kind == "hang":
        signal.pause()


def train(model: Model, job: Job, ranks: Ranks, save: Callable[[int], None]) -> None:
    """Train from `first_step` to `last_step`; rank 0 saves checkpoints with `save(step)`."""
    text = corpus()
    pace = float(os.environ.get("CSX_EXAMPLE_STEP_SECONDS", "0"))
    size = max(1, job.batch_size // 8)
    begun = time.monotonic()
    log(
        f"rank {ranks.rank} of {ranks.size} on {ranks.node}: steps {job.first_step} to "
        f"{job.last_step}"
    )
    for step in range(job.first_step + 1, job.last_step + 1):
        until = time.monotonic() + pace
        fail_on_purpose(step, ranks.rank)
        gradients, losses = {}, []
        for number in ranks.mine():
            before, after = micro_batch(
                text, model.shape, seed=job.seed, step=step, number=number, size=size
            )
            gradients[number], loss = model.gradient(before, after)
            losses.append(loss)
        model.apply(ranks.add_up(gradients), job.rate)
        time.sleep(max(0.0, until - time.monotonic()))  # a demo's pace, not a wait for anything
        if ranks.rank == 0:
            speed = (step - job.first_step) * job.batch_size / (time.monotonic() - begun)
            mean = sum(losses) / len(losses)
            log(f"| Train Device=CPU, Step={step}, Loss={mean:.5f}, Rate={speed:.2f} samples/sec")
            due = job.checkpoint_steps and step % job.checkpoint_steps == 0
            if due or step == job.last_step:
                save(step)
