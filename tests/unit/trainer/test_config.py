import pytest
import yaml

from slurm_restart.trainer.config import dump, for_attempt, for_last_validation, load, phases

CONFIG = """
common: &flags {csx.performance.micro_batch_size: 8}
slurm: {sbatch: {partition: gpu}}
trainer:
  init:
    model: {name: gpt2, lr: 1e-4, eps: 1.0e-05}
    backend: {backend_type: CSX, cluster_config: {num_csx: 4, mount_dirs: [/a]}}
    model_dir: out
    loop: &loop {num_steps: 100, eval_frequency: 10}
    checkpoint: {steps: 10}
    autorestart: {max_num_restarts: 3}
    callbacks:
      - ScopedTrainFlags: *flags
      - ScopedValidateFlags: *flags
  fit:
    train_dataloader: {batch_size: 4, loop: *loop}
"""


def attempt(config=CONFIG, **changes):
    given = {
        "model_dir": "/m",
        "ckpt_path": None,
        "num_csx": 4,
        "full_num_csx": 4,
        "training": True,
        "max_restarts": 3,
    } | changes
    return for_attempt(yaml.safe_load(config), **given)


def test_the_first_attempt():
    config = attempt()
    init = config["trainer"]["init"]
    assert "slurm" not in config
    assert "autorestart" not in init
    assert init["model_dir"] == "/m"
    assert init["checkpoint"] == {"steps": 10, "save_initial_checkpoint": True}
    assert init["backend"]["cluster_config"] == {"num_csx": 4, "mount_dirs": ["/a"]}
    assert init["callbacks"][0] == {"ScopedTrainFlags": {"csx.performance.micro_batch_size": 8}}
    # An explicit null keeps the trainer from loading what it finds.
    assert config["trainer"]["fit"]["ckpt_path"] is None
    assert "max_steps" not in init["loop"]


def test_the_last_validation():
    text = CONFIG.replace("  fit:\n", "  fit:\n    val_dataloader: {batch_size: 2}\n")
    path = "/m/a[b]/checkpoint_[1].mdl"
    config = for_last_validation(attempt(text, ckpt_path=path, resumed=True), path)
    assert "fit" not in config["trainer"]
    # The trainer takes the name as a pattern, the directory as it is.
    assert config["trainer"]["validate_all"] == {
        "val_dataloaders": {"batch_size": 2},
        "ckpt_paths": ["/m/a[b]/checkpoint_[[]1].mdl"],
    }
    assert config["trainer"]["init"]["checkpoint"]["save_initial_checkpoint"] is False


def test_a_resumed_smaller_attempt():
    config = attempt(ckpt_path="/m/checkpoint_60.mdl", num_csx=3, resumed=True, last_step=150)
    init, fit = config["trainer"]["init"], config["trainer"]["fit"]
    assert fit["ckpt_path"] == "/m/checkpoint_60.mdl"
    assert init["backend"]["cluster_config"]["num_csx"] == 3
    assert init["checkpoint"]["save_initial_checkpoint"] is False
    assert init["loop"] == {"num_steps": 100, "eval_frequency": 10, "max_steps": 150}
    for callback in init["callbacks"]:
        assert list(callback.values()) == [{"csx.performance.micro_batch_size": "auto"}]
    assert config["common"] == {"csx.performance.micro_batch_size": "auto"}


@pytest.mark.parametrize(
    "given", ["{load_checkpoint_states: model}", "{load_checkpoint_states: [model]}", ""]
)
def test_a_resumed_attempt_loads_all_of_its_own_checkpoint(given):
    text = CONFIG.replace("callbacks:", f"callbacks:\n      - LoadCheckpointStates: {given}")
    first = attempt(text, ckpt_path="/theirs.mdl")["trainer"]["init"]["callbacks"][0]
    assert first == yaml.safe_load(f"LoadCheckpointStates: {given}")
    resumed = attempt(text, ckpt_path="/m/c", resumed=True)["trainer"]["init"]["callbacks"]
    assert resumed[0] == {"LoadCheckpointStates": {"load_checkpoint_states": "all"}}
    assert len(resumed) == 3


def test_aliases_are_changed_independently():
    config = attempt(ckpt_path="/m/c", resumed=True, last_step=150)
    assert config["trainer"]["fit"]["train_dataloader"]["loop"] == {
        "num_steps": 100,
        "eval_frequency": 10,
    }


def test_the_given_config_is_not_changed():
    before = yaml.safe_load(CONFIG)
    config = yaml.safe_load(CONFIG)
    for_attempt(
        config,
        model_dir="/m",
        ckpt_path="/c",
        num_csx=1,
        full_num_csx=4,
        training=True,
        nan_checker=True,
    )
    assert config == before


@pytest.mark.parametrize("max_restarts", [None, 0])
def test_without_restarts_the_initial_checkpoint_is_as_configured(max_restarts):
    config = attempt(max_restarts=max_restarts)
    assert config["trainer"]["init"]["checkpoint"] == {"steps": 10}


def test_an_evaluation_keeps_its_checkpoint():
    config = attempt(CONFIG.replace("fit:", "validate:\n    ckpt_path: x"), training=False)
    assert config["trainer"]["validate"]["ckpt_path"] == "x"
    assert "fit" not in config["trainer"]
    assert config["trainer"]["init"]["checkpoint"] == {"steps": 10}


@pytest.mark.parametrize(
    ("init", "backend"),
    [
        ("{model: 1}", {"cluster_config": {"num_csx": 2}}),
        ("{model: 1, backend: }", {"cluster_config": {"num_csx": 2}}),
        ("{device: GPU}", None),
        ("{backend: {backend_type: cpu}}", {"backend_type": "cpu"}),
        (
            "{backend: {backend_type: CPU, cluster_config: {num_csx: 4}}}",
            {"backend_type": "CPU", "cluster_config": {"num_csx": 2}},
        ),
    ],
)
def test_the_size_is_set_where_the_trainer_reads_it(init, backend):
    config = attempt(f"trainer: {{init: {init}, fit: }}", num_csx=2)
    assert config["trainer"]["init"].get("backend") == backend
    assert config["trainer"]["fit"] == {"ckpt_path": None}


def test_the_nan_checker_is_set_for_the_steps_of_a_checkpoint():
    callbacks = attempt(nan_checker=True)["trainer"]["init"]["callbacks"]
    assert len(callbacks) == 3
    assert callbacks[-1] == {"NaNChecker": {"num_steps": 10}}
    bare = attempt("trainer: {init: {}, fit: {}}", nan_checker=True)["trainer"]["init"]
    assert bare["callbacks"] == [{"NaNChecker": {"num_steps": None}}]
    own = "trainer: {init: {callbacks: [{NaNChecker: {num_steps: 5}}]}, fit: {}}"
    kept = attempt(own, nan_checker=True)["trainer"]["init"]["callbacks"]
    assert kept == [{"NaNChecker": {"num_steps": 5}}]


def test_each_phase_has_the_single_form():
    single = yaml.safe_load(CONFIG)
    assert phases(single) == (single,)
    both = {"x": 1, "trainer": [{"trainer": {"init": {"seed": 1}}}, {"trainer": {"init": {}}}]}
    assert phases(both) == (
        {"x": 1, "trainer": {"init": {"seed": 1}}},
        {"x": 1, "trainer": {"init": {}}},
    )


def test_a_dumped_config_is_loaded_unchanged(tmp_path):
    config = attempt()
    (tmp_path / "p.yaml").write_text(dump(config))
    assert load(tmp_path / "p.yaml") == config
    assert "&" not in dump(config)
    # Text that only looks like a number to some readers stays text to this trainer's.
    assert "lr: 1e-4" in dump(config)
