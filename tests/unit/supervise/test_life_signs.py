"""Steps and phases in the output of trainers."""

import pytest

from slurm_restart.core.hang_rule import Phase
from slurm_restart.supervise.life_signs import (
    BURST,
    GENERIC_STEPS,
    MODEL_ZOO_STEPS,
    RATE,
    LifeSigns,
)


class Clock:
    now = 0.0

    def __call__(self) -> float:
        return self.now


@pytest.fixture
def clock() -> Clock:
    return Clock()


MODEL_ZOO = (
    "2025-07-11 18:04:19,669 INFO:   | Train Device=CSX, Step={}, Loss=8.34375, "
    "Rate=65.83 samples/sec, GlobalRate=65.83 samples/sec"
)


@pytest.mark.parametrize(
    "line",
    [
        MODEL_ZOO,
        "step {} of 20",
        "global_step: {} loss 1.2",
        " iteration      {}/  500000 | consumed samples:  25600 | elapsed time",
        "Epoch 0:  10%|█         | {}/500 [00:10<01:30,  5.00it/s, v_num=3]",
        "{}/782 [====>.........] - ETA: 1:02",
        "{{'loss': 2.1, 'grad_norm': 0.5, 'learning_rate': 5e-05, 'epoch': 0.{}}}",
        '{{"step": {}, "loss": 2.5}}',
        "Train Epoch: 1 Batch {} Loss 0.3",
        "[rank0] Iter [{}/2000] loss: 0.1",
    ],
)
def test_steps_of_many_trainers_are_recognised(line: str, clock: Clock) -> None:
    signs = LifeSigns(GENERIC_STEPS, clock=clock)
    for number in (11, 12, 12, 13):
        signs.feed(f"{line.format(number)}\n".encode())
    assert signs.look().steps == 3
    assert signs.look().phase is Phase.TRAIN


def test_steps_that_come_at_once_are_counted_as_one(clock: Clock) -> None:
    signs = LifeSigns(GENERIC_STEPS, clock=clock)
    # Settings that a program prints as it starts.
    signs.feed(b"log_step: 10\nstep: 5\nbatch: 8\n")
    assert (signs.look().steps, signs.look().steps_apart) == (2, 1)
    for step in range(3):
        clock.now += 0.06
        signs.feed(b"step %d\n" % step)
    assert (signs.look().steps, signs.look().steps_apart) == (5, 4)


def test_steps_of_the_model_zoo(clock: Clock) -> None:
    signs = LifeSigns(MODEL_ZOO_STEPS, clock=clock)
    for step in range(10, 50, 10):
        signs.feed(f"{MODEL_ZOO.format(step)}\n".encode())
        clock.now += 20
    assert signs.look().steps == 4
    assert signs.look().output_at == 60


def test_batches_of_an_evaluation_of_the_model_zoo_are_progress(clock: Clock) -> None:
    signs = LifeSigns(MODEL_ZOO_STEPS, clock=clock)
    signs.feed(f"{MODEL_ZOO.format(50)}\n".encode())
    for batch in (10, 20, 30):
        clock.now += 60
        signs.feed(f"INFO:   | Eval Device=CSX, GlobalStep=50, Batch={batch}, Loss=2.0\n".encode())
    seen = signs.look()
    assert (seen.steps, seen.phase, seen.step_time) == (4, Phase.EVALUATION, None)
    assert not signs.executes


@pytest.mark.parametrize("size", [1, 2, 7, 1000])
def test_output_may_be_cut_anywhere(size: int, clock: Clock) -> None:
    text = b"".join(b"step %d\r" % step for step in range(95, 105)) + b"Compiling\nstep 105\n"
    signs = LifeSigns(GENERIC_STEPS, clock=clock)
    for start in range(0, len(text), size):
        signs.feed(text[start : start + size])
    seen = signs.look()
    assert (seen.steps, seen.phase) == (11, Phase.TRAIN)


@pytest.mark.parametrize(
    ("line", "phase"),
    [
        ("loading data", Phase.START),
        ("Compiling the model. This may take a few minutes.", Phase.COMPILE),
        ("Compile job id: wsjob-1", Phase.COMPILE),
        ("***** Running Evaluation *****", Phase.EVALUATION),
        ("Validation DataLoader 0", Phase.EVALUATION),
        ("Saving checkpoint at 100", Phase.CHECKPOINT),
        ("Saving checkpoint at step 100", Phase.CHECKPOINT),
        ("step 99\nstep 100", Phase.TRAIN),
        ("Saving checkpoint\r12/500 [", Phase.TRAIN),
        ("a decompiling evaluator", Phase.START),
    ],
)
def test_what_the_output_announces(line: str, phase: Phase, clock: Clock) -> None:
    signs = LifeSigns(GENERIC_STEPS, clock=clock)
    signs.feed(f"{line}\n".encode())
    assert signs.look().phase is phase


def test_the_time_of_a_step(clock: Clock) -> None:
    signs = LifeSigns(GENERIC_STEPS, clock=clock)

    def shown(step: int, at: float) -> float | None:
        clock.now = at
        signs.feed(b"step %d\n" % step)
        return signs.look().step_time

    assert shown(10, 100) is None
    assert shown(20, 120) == 2
    signs.feed(b"Evaluation\n")
    assert shown(30, 500) is None  # the evaluation took its time
    assert shown(40, 530) == 3
    signs.skip_measurement()
    assert shown(50, 900) is None
    assert shown(10, 901) is None  # the next epoch
    assert shown(20, 911) == 1


def test_a_pattern_of_the_user(clock: Clock) -> None:
    signs = LifeSigns(r"round (\d+)|done (\d+)", clock=clock)
    signs.feed(b"round 1\nstep 5\ndone 2\n")
    assert signs.look().steps == 2


def test_a_flood_is_not_searched_and_said_to_be_so(clock: Clock) -> None:
    signs = LifeSigns(GENERIC_STEPS, clock=clock)
    line = b"step 12345 " * 5000 + b"\n"
    fed = 0
    while signs.look().unsearched == 0:
        signs.feed(line)
        fed += len(line)
    assert BURST - len(line) <= fed - len(line) <= BURST
    assert signs.look().steps == 1
    clock.now += 1
    before = signs.look().unsearched
    for _ in range(RATE // len(line)):
        signs.feed(line)
    assert signs.look().unsearched == before


def test_a_fault_of_the_search_is_output_that_was_not_searched(
    clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    signs = LifeSigns(GENERIC_STEPS, clock=clock)
    monkeypatch.setattr(signs, "_note_step", None)
    clock.now = 5.0
    signs.feed(b"step 1\n")
    seen = signs.look()
    assert (seen.output_at, seen.unsearched, seen.steps) == (5.0, 1, 0)


def test_a_trainer_executes_from_its_first_step_on_but_while_something_else_is_announced(
    clock: Clock,
) -> None:
    signs = LifeSigns(MODEL_ZOO_STEPS, clock=clock)
    assert not signs.executes
    signs.feed(b"INFO:   Compiling the model. This may take a few minutes.\n")
    assert not signs.executes
    signs.feed(f"{MODEL_ZOO.format(1)}\n".encode())
    assert signs.executes
    signs.feed(b"INFO:   Compiling for the evaluation\n")
    assert not signs.executes
