"""The example trainer reads configs and writes checkpoints and log lines as the Model Zoo does."""

import json
import re
import sys
from typing import Any

import h5py
import pytest
import yaml

from slurm_restart.trainer.checkpoint_probe import Soundness, probe
from tests.unit.examples.example import EXAMPLES, TIMEOUT, Example, arrays, read_until

LINE = re.compile(r"\d{4}-\d\d-\d\d \d\d:\d\d:\d\d,\d{3} (?:INFO|WARNING|ERROR):   .*")


# --- configs -------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("changes", "where"),
    [
        ({"init__bogus_key": 1}, "0.init.bogus_key"),
        ({"init__autorestart": {"max_num_restarts": 3}}, "0.init.autorestart"),
        ({"init__loop": {"max_step": 3}}, "0.init.loop.max_step"),
        ({"init__optimizer": {"AdamW": {}}}, "0.init.optimizer.AdamW"),
        ({"init__callbacks": [{"Unheard": {}}]}, "0.init.callbacks.0.Unheard"),
        ({"fit__train_dataloader": {"batch_sizes": 1}}, "0.fit.train_dataloader.batch_sizes"),
    ],
)
def test_an_unknown_key_is_refused(example: Example, changes: dict[str, Any], where: str) -> None:
    said = example.run("fit", example.config(**changes), code=1)
    assert "1 validation error for TrainerConfig" in said
    assert f"\n{where}\n  Extra inputs are not permitted [type=extra_forbidden, " in said
    assert not (example.folder / "model_dir").exists()


def test_all_problems_are_told_at_once(example: Example) -> None:
    data = yaml.safe_load(example.config(init__seed="one", init__bogus=1).read_text())
    data["slurm"] = {"command": "true"}
    del data["trainer"]["init"]["backend"]
    said = example.run("fit", example.write(data), code=1)
    assert "4 validation errors for TrainerConfig" in said
    assert "\nslurm\n  Extra inputs are not permitted" in said
    assert "\n0.init.seed\n  Input should be a valid integer [" in said
    assert "\n0.init.backend.backend_type\n  Field required" in said


@pytest.mark.parametrize("text", ["runconfig: {}", "- 1", "", "trainer: [1]", "a: {b: [}"])
def test_what_is_no_config_ends_with_1(example: Example, text: str) -> None:
    assert "Error" in example.run("fit", example.write(text), code=1)


def test_a_key_twice_is_refused(example: Example) -> None:
    text = example.config().read_text().replace("    seed: 1\n", "    seed: 1\n    seed: 2\n")
    said = example.run("fit", example.write(text), code=1)
    assert "Found duplicate YAML key: 'seed'" in said


def test_a_config_without_the_commands_section_is_refused(example: Example) -> None:
    assert "no `validate` section" in example.run("validate", example.config(), code=1)


@pytest.mark.parametrize("option", ["--validate_only", "--compile_only"])
def test_nothing_is_trained_with(option: str, example: Example) -> None:
    example.run("fit", example.config(), option)
    assert not (example.folder / "model_dir").exists()


def test_the_shipped_config_is_taken_without_what_is_not_the_trainers(example: Example) -> None:
    data = yaml.safe_load((EXAMPLES / "trainer.yaml").read_text())
    del data["slurm"], data["trainer"]["init"]["autorestart"]
    example.run("fit", example.write(data), "--validate_only")


def test_phases_run_one_after_the_other(example: Example) -> None:
    init = yaml.safe_load(example.config().read_text())["trainer"]["init"]
    phases = [
        {"trainer": {"init": init | {"loop": {"num_steps": steps}}, "fit": {}}}
        for steps in (20, 30)
    ]
    said = example.run("fit", example.write({"trainer": phases}))
    assert "from global step 1 to 20 (20 steps)" in said
    assert "from global step 21 to 50 (30 steps)" in said
    assert said.count("Training completed successfully!") == 2


# --- how far it trains, and from where -----------------------------------------------------------


@pytest.mark.parametrize(
    ("loop", "last"),
    [
        ({"max_steps": 50}, 50),
        ({"num_steps": 25}, 45),
        ({"num_steps": 30, "max_steps": 40}, 40),
        ({"num_steps": 30, "max_steps": 90}, 50),
    ],
)
def test_max_steps_is_absolute_and_num_steps_counts_from_the_start(
    example: Example, loop: dict[str, int], last: int
) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 20}))
    assert f"steps 20 to {last}\n" in example.run("fit", example.config(init__loop=loop))
    assert example.checkpoint(last).exists()


def test_a_finished_run_is_not_run_again(example: Example) -> None:
    example.run("fit", example.config())
    said = example.run("fit", example.config(), code=1)
    assert "RuntimeError: Initial global step 60 already exceeds max step 60." in said


def test_the_index_is_what_autoloading_reads(example: Example) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 20}))
    index = example.folder / "model_dir" / "checkpoints_index.yaml"
    assert yaml.safe_load(index.read_text()) == [f"model_dir/checkpoint_{n}.mdl" for n in (10, 20)]
    example.checkpoint(20).unlink()
    assert "steps 10 to 30" in example.run("fit", example.config(init__loop={"max_steps": 30}))
    index.unlink()
    assert "steps 0 to 40" in example.run("fit", example.config(init__loop={"max_steps": 40}))


@pytest.mark.parametrize(
    "changes",
    [{"fit__ckpt_path": None}, {"init__checkpoint": {"autoload_last_checkpoint": False}}],
)
def test_it_starts_from_nothing_if_told_to(example: Example, changes: dict[str, Any]) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 20}))
    assert "steps 0 to 60" in example.run("fit", example.config(**changes))


def test_the_command_line_beats_the_config(example: Example) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 20}))
    config = example.config(fit__ckpt_path="model_dir/checkpoint_20.mdl")
    path = example.checkpoint(10)
    said = example.run("fit", config, "--checkpoint_path", path, "--model_dir", "other")
    assert "steps 10 to 60" in said
    assert example.checkpoint(60, "other").exists()


def test_weights_alone_start_a_new_run(example: Example) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 20}))
    callbacks = [{"LoadCheckpointStates": {"load_checkpoint_states": "model"}}]
    config = example.config(init__callbacks=callbacks, init__loop={"max_steps": 1})
    said = example.run("fit", config)
    assert "steps 0 to 1\n" in said
    loss = re.search(r"Step=1, Loss=([\d.]+)", said)
    assert loss is not None
    assert float(loss[1]) < 5.4


# --- checkpoints ---------------------------------------------------------------------------------


def test_a_checkpoint_says_that_it_is_complete_and_of_which_step(example: Example) -> None:
    example.run("fit", example.config())
    path = example.checkpoint(50)
    assert path.stat().st_size < 1_000_000
    with h5py.File(path) as file:
        assert bool(file.attrs["__SUCCESS__"])
        entry = json.loads(file.attrs["global_step.__metadata__"])
        assert entry["global_step.__metadata__"]["scalar_value"] == 50
        assert file.attrs["dataloader.samples_streamed"] == 50 * 64
    read = probe(str(path))
    assert (read.soundness, read.step) == (Soundness.COMPLETE, 50)
    parts = ("embedding", "hidden", "output")
    assert set(arrays(path)) == {f"{kind}.{p}" for kind in ("model", "optimizer") for p in parts}


def test_checkpoints_are_counted_from_the_resume_point_and_the_last_step_has_one(
    example: Example,
) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 12}))
    example.run("fit", example.config(init__loop={"max_steps": 25}))
    assert example.names() == {f"checkpoint_{step}.mdl" for step in (10, 12, 22, 25)}


def test_without_checkpoint_steps_there_are_no_checkpoints(example: Example) -> None:
    example.run("fit", example.config(init__checkpoint={}))
    assert example.names() == set()


def test_the_initial_checkpoint(example: Example) -> None:
    wanted = {"steps": 50, "save_initial_checkpoint": True}
    example.run("fit", example.config(init__checkpoint=wanted))
    assert example.names() == {f"checkpoint_{step}.mdl" for step in (0, 50, 60)}


def test_a_step_that_is_saved_again_has_a_timestamp(example: Example) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 20}))
    before = example.checkpoint(20).stat().st_mtime_ns
    config = example.config(
        init__loop={"max_steps": 20}, fit__ckpt_path="model_dir/checkpoint_10.mdl"
    )
    example.run("fit", config)
    again = example.names() - {"checkpoint_10.mdl", "checkpoint_20.mdl"}
    assert [name for name in again if re.fullmatch(r"checkpoint_20_\d{8}_\d{6}\.mdl", name)]
    assert len(again) == 1
    assert example.checkpoint(20).stat().st_mtime_ns == before
    assert f"model_dir/{again.pop()}" in example.run(
        "fit", example.config(init__loop={"max_steps": 30})
    )


def test_killed_while_saving_it_leaves_a_temporary_file_without_the_mark(example: Example) -> None:
    # The last thing before the mark is a flush; here the process dies just after it.
    killer = example.folder / "killer.py"
    killer.write_text(
        f"import os, sys; sys.path.insert(0, {str(EXAMPLES)!r})\n"
        "import h5py, zoo\n"
        "flush = h5py.File.flush\n"
        "h5py.File.flush = lambda file: (flush(file), os.kill(os.getpid(), 9))\n"
        "sys.exit(zoo.main())\n"
    )
    example.run("fit", example.config(), program=str(killer), code=-9)
    [name] = example.names()
    assert re.fullmatch(r"checkpoint_10\.mdl\.[0-9a-f]{8}\.tmp", name)
    with h5py.File(example.folder / "model_dir" / name) as file:
        assert "__SUCCESS__" not in file.attrs
    assert "steps 0 to 60" in example.run("fit", example.config())


@pytest.mark.parametrize("size", [0, 5000])
def test_a_damaged_checkpoint_ends_the_run(example: Example, size: int) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 20}))
    with example.checkpoint(20).open("r+b") as file:
        file.truncate(size)
    assert "OSError: Unable to" in example.run("fit", example.config(), code=1)


def test_a_checkpoint_of_another_model_ends_the_run(example: Example) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 20}))
    config = example.config(init__model={"name": "textmodel", "hidden": 16})
    assert "ValueError: size mismatch for model.hidden" in example.run("fit", config, code=1)


def test_a_checkpoint_that_is_not_there_ends_the_run(example: Example) -> None:
    said = example.run("fit", example.config(fit__ckpt_path="none.mdl"), code=1)
    assert "FileNotFoundError: none.mdl does not exist" in said


# --- evaluation, log, signals --------------------------------------------------------------------


def test_validation_while_training_does_not_change_the_training(example: Example) -> None:
    example.run("fit", example.config(init__model_dir="plain"))
    loop = {"max_steps": 60, "eval_frequency": 20, "eval_steps": 3}
    config = example.config(init__loop=loop, fit__val_dataloader={"batch_size": 32})
    said = example.run("fit", config)
    steps = re.findall(r"\| Eval Device=CPU, GlobalStep=(\d+), Batch=3, Loss=\d", said)
    assert steps == ["20", "40", "60"]
    assert arrays(example.checkpoint(60)) == arrays(example.checkpoint(60, "plain"))


def test_validate_gives_the_same_loss_on_any_number_of_ranks(example: Example) -> None:
    example.run("fit", example.config())
    config = example.config(validate={"val_dataloader": {"batch_size": 64}})
    alone = example.run("validate", config)
    together = example.run_ranks(2, "validate", config)[0]
    losses = [re.findall(r"GlobalStep=60, .*Loss=([\d.]+)", said) for said in (alone, together)]
    assert len(losses[0]) == 1
    assert losses[0] == losses[1]
    assert "Evaluation completed successfully!" in alone


def test_validate_all_takes_every_checkpoint(example: Example) -> None:
    example.run("fit", example.config(init__loop={"max_steps": 30}))
    section = {"val_dataloaders": {"batch_size": 64}}
    steps = re.compile(r"Eval Device=CPU, GlobalStep=(\d+)")
    said = example.run("validate_all", example.config(validate_all=section))
    assert steps.findall(said) == ["10", "20", "30"]
    named = section | {"ckpt_paths": ["model_dir/checkpoint_[12]0.mdl"]}
    said = example.run("validate_all", example.config(validate_all=named))
    assert steps.findall(said) == ["10", "20"]


def test_its_log_is_in_the_trainers_form(example: Example) -> None:
    said = example.run("fit", example.config(init__logging={"log_steps": 25}))
    assert all(LINE.fullmatch(line) for line in said.splitlines())
    progress = re.findall(
        r"\| Train Device=CPU, Step=(\d+), Loss=\d\.\d{5}, Rate=\d+\.\d\d samples/sec, "
        r"GlobalRate=\d+\.\d\d samples/sec\n",
        said,
    )
    assert progress == ["25", "50", "60"]
    assert "Saved checkpoint model_dir/checkpoint_60.mdl\n" in said
    assert "Training completed successfully!\n" in said


@pytest.mark.parametrize(("rank", "size"), [(0, 1), (0, 2), (1, 2)])
def test_term_ends_it_at_once_with_143(example: Example, rank: int, size: int) -> None:
    config = example.config()
    ranks = example.start_ranks(size, "fit", config, CSX_EXAMPLE_STEP_SECONDS="600")
    read_until(ranks[rank], lambda line: "steps 0 to 60" in line)
    ranks[rank].terminate()
    ranks[rank].communicate(timeout=TIMEOUT)
    assert ranks[rank].returncode == 143


def test_the_help_tells_of_the_environment(example: Example) -> None:
    for program in ("cszoo", "train.py"):
        assert "CSX_EXAMPLE_FAIL" in example.run("--help", program=program)


def test_the_command_is_executable() -> None:
    for name in ("cszoo", "train.py"):
        path = EXAMPLES / name
        assert path.stat().st_mode & 0o111
        assert path.read_text().startswith("#!/usr/bin/env python3\n")
    assert sys.version_info >= (3, 11)
