"""Split a trainer config into phases, and derive the config of one attempt."""

import glob
import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slurm_restart.trainer import yaml_lines
from slurm_restart.trainer.settings_files import SLURM_KEY

MICRO_BATCH_SIZE = "csx.performance.micro_batch_size"
NAN_CHECKER = "NaNChecker"
LOAD_STATES, STATES = "LoadCheckpointStates", "load_checkpoint_states"

Config = Mapping[str, Any]


def load(path: Path) -> dict[str, Any]:
    """Read the config of a file.

    Raises:
        ConfigError: as `yaml_lines.read`.
    """
    return yaml_lines.read(path).data


def dump(config: Config) -> str:
    """Return the config as YAML, with the order of keys kept.

    Aliases are written out: a value that is changed in one place must not change in another.
    """
    text: str = yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


def phases(config: Config) -> tuple[dict[str, Any], ...]:
    """Return the config of each phase in the single form: `{trainer: {init, fit, …}}`.

    Top-level keys other than `trainer` are part of every phase. The config must have been checked.
    """
    trainer = config["trainer"]
    items = trainer if isinstance(trainer, Sequence) else [config]
    return tuple({**config, "trainer": item["trainer"]} for item in items)


def for_attempt(
    config: Config,
    *,
    model_dir: str,
    ckpt_path: str | None,
    num_csx: int,
    full_num_csx: int,
    training: bool,
    resumed: bool = False,
    last_step: int | None = None,
    max_restarts: int | None = None,
    nan_checker: bool = False,
) -> dict[str, Any]:
    """Return the config for the trainer in one attempt.

    Args:
        config: the phase, in the single form.
        model_dir: absolute.
        ckpt_path: the checkpoint to train from (absolute); None: from scratch. An evaluation
            keeps the path in its config.
        num_csx: CSX systems of this attempt.
        full_num_csx: CSX systems of a full-size attempt.
        training: fit or train_and_eval.
        resumed: `ckpt_path` was written by an attempt of this phase.
        last_step: the step at which the run is done; None: not known.
        max_restarts: `max_num_restarts`; None: the config has no autorestart.
        nan_checker: add the trainer's check for NaN.
    """
    result: dict[str, Any] = _copy(
        {key: value for key, value in config.items() if key != SLURM_KEY}
    )
    init = result["trainer"]["init"]
    init.pop("autorestart", None)
    init["model_dir"] = model_dir
    _set_size(result, init, num_csx, full_num_csx)
    if training:
        _section(result["trainer"], "fit")["ckpt_path"] = ckpt_path
        _set_checkpointing(init, resumed=resumed, max_restarts=max_restarts)
        if resumed:
            _load_all_states(init)
        if resumed and last_step is not None:
            # The trainer takes the smallest of max_steps, num_steps and num_epochs, and counts
            # the last two anew from where it starts.
            _section(init, "loop")["max_steps"] = last_step
    if nan_checker and not _has_callback(init, NAN_CHECKER):
        steps = (init.get("checkpoint") or {}).get("steps")
        init["callbacks"] = [*(init.get("callbacks") or []), {NAN_CHECKER: {"num_steps": steps}}]
    return result


def for_last_validation(config: Config, ckpt_path: str) -> dict[str, Any]:
    """Return the config for `validate_all` with what `fit` validates after the last step.

    Args:
        config: as `for_attempt` returned it for training from `ckpt_path`.
        ckpt_path: the checkpoint of the last step (absolute).
    """
    sections = dict(config["trainer"])
    fit = sections.pop("fit", None) or {}
    directory, name = os.path.split(ckpt_path)
    # The trainer takes the file name as a pattern.
    paths = [os.path.join(directory, glob.escape(name))]  # noqa: PTH118 - as it was split
    sections["validate_all"] = {"val_dataloaders": fit.get("val_dataloader"), "ckpt_paths": paths}
    return {**config, "trainer": sections}


def _copy(node: Any) -> Any:
    """Return a deep copy in which aliases of the file are independent values."""
    if isinstance(node, dict):
        return {key: _copy(value) for key, value in node.items()}
    return [_copy(item) for item in node] if isinstance(node, list) else node


def _section(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """Return a mapping of the config; it is created if it is absent or null."""
    if parent.get(key) is None:
        parent[key] = {}
    section: dict[str, Any] = parent[key]
    return section


def _set_size(result: dict[str, Any], init: dict[str, Any], num_csx: int, full: int) -> None:
    backend = init.get("backend") or {}
    kind = str(backend.get("backend_type") or init.get("device") or "CSX").upper()
    if kind == "CSX" or backend.get("cluster_config") is not None:
        _section(_section(init, "backend"), "cluster_config")["num_csx"] = num_csx
    if num_csx < full:
        # The batch size per system of a full-size attempt may not divide that of a smaller one.
        _replace(result, MICRO_BATCH_SIZE, "auto")


def _set_checkpointing(init: dict[str, Any], *, resumed: bool, max_restarts: int | None) -> None:
    """Set `save_initial_checkpoint` as the trainer's own restarting sets it.

    On in a first attempt, so that a restart has a checkpoint, and off later. Without restarts the
    value of the config is kept.
    """
    if resumed:
        _section(init, "checkpoint")["save_initial_checkpoint"] = False
    elif max_restarts:
        _section(init, "checkpoint")["save_initial_checkpoint"] = True


def _load_all_states(init: dict[str, Any]) -> None:
    """Set `LoadCheckpointStates` to all states, for a run that resumes from its own checkpoint.

    `model`, meant for a first start from given weights, would drop the step, the optimizer and
    the position in the data: the run would start from step 0 without an error.
    """
    for callback in init.get("callbacks") or []:
        if isinstance(callback, dict) and LOAD_STATES in callback:
            callback[LOAD_STATES] = {**(callback[LOAD_STATES] or {}), STATES: "all"}


def _has_callback(init: dict[str, Any], name: str) -> bool:
    listed = init.get("callbacks") or []
    return any(isinstance(callback, dict) and name in callback for callback in listed)


def _replace(node: Any, key: str, value: Any) -> None:
    """Set the value of a key at every level of the config."""
    if isinstance(node, dict):
        if key in node:
            node[key] = value
        for child in node.values():
            _replace(child, key, value)
    elif isinstance(node, list):
        for child in node:
            _replace(child, key, value)
