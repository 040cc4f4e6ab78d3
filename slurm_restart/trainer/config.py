"""A trainer config as data: one phase of it, and what the trainer is given in an attempt."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import yaml

from slurm_restart.trainer import yaml_lines

SLURM_KEY = "slurm"
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
    """The config as YAML, keys in their order.

    Aliases are written out: a value that is changed in one place must not change in another.
    """
    text: str = yaml.dump(dict(config), Dumper=_Dumper, sort_keys=False, allow_unicode=True)
    return text


class _Dumper(yaml.SafeDumper):
    def ignore_aliases(self, data: Any) -> bool:  # noqa: ARG002 - the base class's signature
        return True


def phases(config: Config) -> tuple[dict[str, Any], ...]:
    """The config of each phase in the single form: `{trainer: {init, fit, …}}`.

    Top-level keys beside `trainer` go with every phase. The config must have been checked.
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
    """The config that the trainer is given in one attempt; `config` is one phase's.

    Args:
        config: the phase, in the single form.
        model_dir: absolute.
        ckpt_path: the checkpoint to train from (absolute); None: from scratch. An evaluation
            keeps what its config says.
        num_csx: CSX systems of this attempt.
        full_num_csx: CSX systems of a full-size attempt.
        training: fit or train_and_eval.
        resumed: `ckpt_path` was written by an attempt of this phase.
        last_step: the step at which the run is done; None: not known.
        max_restarts: `max_num_restarts`; None: the config has no autorestart.
        nan_checker: watch for NaN in this attempt.
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
    if nan_checker:
        steps = (init.get("checkpoint") or {}).get("steps")
        init["callbacks"] = [*(init.get("callbacks") or []), {NAN_CHECKER: {"num_steps": steps}}]
    return result


def _copy(node: Any) -> Any:
    """A copy that shares nothing: what was an alias in the file can be changed by itself."""
    if isinstance(node, dict):
        return {key: _copy(value) for key, value in node.items()}
    return [_copy(item) for item in node] if isinstance(node, list) else node


def _section(parent: dict[str, Any], key: str) -> dict[str, Any]:
    """A mapping of the config, made where it is absent or null."""
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
        # A size per system that fitted the full number need not divide what is left.
        _replace(result, MICRO_BATCH_SIZE, "auto")


def _set_checkpointing(init: dict[str, Any], *, resumed: bool, max_restarts: int | None) -> None:
    """Set `save_initial_checkpoint` as the trainer's own restarting sets it.

    It is on in a first attempt, so that there is something to restart from, and off later. Without
    restarts it stays as the config says.
    """
    if resumed:
        _section(init, "checkpoint")["save_initial_checkpoint"] = False
    elif max_restarts:
        _section(init, "checkpoint")["save_initial_checkpoint"] = True


def _load_all_states(init: dict[str, Any]) -> None:
    """Let a run that goes on from its own checkpoint load all of it.

    `LoadCheckpointStates: model`, for a first start from somebody's weights, would drop the step,
    the optimizer and the place in the data: the run would begin anew, with exit code 0.
    """
    for callback in init.get("callbacks") or []:
        if isinstance(callback, dict) and LOAD_STATES in callback:
            callback[LOAD_STATES] = {**(callback[LOAD_STATES] or {}), STATES: "all"}


def _replace(node: Any, key: str, value: Any) -> None:
    """Set a key wherever it stands."""
    if isinstance(node, dict):
        if key in node:
            node[key] = value
        for child in node.values():
            _replace(child, key, value)
    elif isinstance(node, list):
        for child in node:
            _replace(child, key, value)
