"""A run that is killed and resumed, on whatever ranks, ends as one that never was: bit for bit."""

import random
import re
from pathlib import Path

import pytest

from slurm_restart.trainer.checkpoint_probe import Soundness, probe
from tests.unit.examples.example import TIMEOUT, Example, arrays, read_until

STEPS = 300
NO_END = {"CSX_EXAMPLE_FAIL": f"hang@{STEPS}"}
"""What is to be killed may be faster than who kills it, and is not to finish before."""


def step_in(line: str) -> int:
    match = re.search(r"Train Device=CPU, Step=(\d+),", line)
    return int(match[1]) if match else -1


def newest(folder: Path) -> Path | None:
    """The newest checkpoint that is complete, as a supervisor would choose it."""
    found = sorted(folder.glob("checkpoint_*.mdl"), key=lambda path: path.stat().st_mtime_ns)
    complete = [path for path in found if probe(str(path)).soundness is Soundness.COMPLETE]
    steps = {path: probe(str(path)).step or 0 for path in complete}
    return max(complete, key=lambda path: steps[path], default=None)


@pytest.fixture
def undisturbed(example: Example) -> dict[str, bytes]:
    """How a run of one rank ends that nothing happened to."""
    config = example.config(init__loop={"max_steps": STEPS}, init__model_dir="undisturbed")
    example.run("fit", config)
    return arrays(example.checkpoint(STEPS, "undisturbed"))


@pytest.mark.parametrize("seed", [1, 2])
def test_killed_five_times_and_resumed_by_the_index(
    example: Example, undisturbed: dict[str, bytes], seed: int
) -> None:
    config = example.config(init__loop={"max_steps": STEPS}, init__checkpoint={"steps": 7})
    moments = random.Random(seed)
    reached = 0
    for kill in range(5):
        process = example.start("fit", config, **NO_END)
        at = moments.randint(reached + 1, reached + (STEPS - reached) // (6 - kill))
        read_until(process, lambda line, at=at: step_in(line) >= at)
        process.kill()
        rest = process.communicate(timeout=TIMEOUT)[0]
        assert process.returncode == -9, rest
        reached = at
    example.run("fit", config)
    assert arrays(example.checkpoint(STEPS)) == undisturbed


def test_resumed_from_a_path_with_fewer_ranks_every_time(
    example: Example, undisturbed: dict[str, bytes]
) -> None:
    for size, at in ((3, 100), (2, 200)):
        path = newest(example.folder / "model_dir")
        config = example.config(init__loop={"max_steps": STEPS}, fit__ckpt_path=path and str(path))
        fail = {"CSX_EXAMPLE_FAIL": f"hang@{STEPS}/rank={size - 1}"}
        ranks = example.start_ranks(size, "fit", config, **fail)
        read_until(ranks[0], lambda line, at=at: step_in(line) >= at)
        ranks[-1].kill()
        for rank in ranks:
            rank.communicate(timeout=TIMEOUT)
        assert [rank.returncode for rank in ranks] == [1] * (size - 1) + [-9]
    path = newest(example.folder / "model_dir")
    config = example.config(init__loop={"max_steps": STEPS}, fit__ckpt_path=str(path))
    said = example.run("fit", config)
    assert f"Loading weights from checkpoint {path}" in said
    assert arrays(example.checkpoint(STEPS)) == undisturbed


@pytest.mark.parametrize("size", [2, 3, 9])
def test_the_number_of_ranks_does_not_matter(example: Example, size: int) -> None:
    example.run("fit", example.config(init__model_dir="one", init__loop={"max_steps": 40}))
    # More ranks than micro-batches: some have nothing to do, and the sum is the same.
    said = example.run_ranks(size, "fit", example.config(init__loop={"max_steps": 40}))
    for rank, text in enumerate(said):
        assert f"rank {rank} of {size} on csx{rank + 1}: steps 0 to 40" in text
    assert arrays(example.checkpoint(40)) == arrays(example.checkpoint(40, "one"))


def test_another_seed_or_text_gives_other_weights(example: Example) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 10}))
    other = example.config(init__loop={"max_steps": 10}, init__seed=2, init__model_dir="other")
    example.run("fit", other)
    assert arrays(example.checkpoint(10)) != arrays(example.checkpoint(10, "other"))
    other = example.config(
        init__seed=3, init__model_dir="other", fit__ckpt_path="model_dir/checkpoint_10.mdl"
    )
    said = example.run("fit", other)
    assert "WARNING:   model_dir/checkpoint_10.mdl was trained with dataloader.seed 1" in said


def test_it_learns(example: Example) -> None:
    said = example.run("fit", example.config(init__loop={"max_steps": 300}))
    losses = [float(loss) for loss in re.findall(r"Train Device=CPU, .*Loss=([\d.]+)", said)]
    assert len(losses) == 300
    assert losses[0] > 5
    assert sum(losses[-20:]) / 20 < 3


def test_the_other_trainer_too(example: Example) -> None:
    arguments = ("--steps", 100, "--every", 10)
    example.run("--folder", "undisturbed", *arguments, program="train.py")
    ranks = example.start_ranks(2, "--folder", "killed", *arguments, program="train.py")
    read_until(ranks[0], lambda line: step_in(line) >= 55)
    ranks[0].kill()
    for rank in ranks:
        rank.communicate(timeout=TIMEOUT)
    assert [rank.returncode for rank in ranks] == [-9, 1]
    resumed = max((example.folder / "killed").glob("ckpt-*.npz"))
    said = example.run("--folder", "killed", *arguments, "--resume", resumed, program="train.py")
    assert f"rank 0 of 1 on {said.split(' on ')[1].split(':')[0]}: steps " in said
    ends = [example.folder / name / "ckpt-000100.npz" for name in ("undisturbed", "killed")]
    assert arrays(ends[0]) == arrays(ends[1])
