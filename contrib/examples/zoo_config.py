"""Reads a config of the Model Zoo's form, as far as this small trainer knows it."""

from pathlib import Path
from typing import Any

import yaml

INTEGER, NUMBER, TEXT, FLAG = (int,), (int, float), (str,), (bool,)
DATALOADER = {"data_processor": TEXT, "batch_size": INTEGER}
# On a CPU the size of micro-batches has no effect, in the Model Zoo neither.
TRAIN_FLAGS = {"csx.performance.micro_batch_size": (int, str)}
KNOWN: dict[str, Any] = {
    "init": {
        "backend": {"backend_type": TEXT, "cluster_config": {"num_csx": INTEGER}},
        "model_dir": TEXT,
        "model": {
            "name": TEXT,
            "context": INTEGER,
            "embedding": INTEGER,
            "hidden": INTEGER,
            "vocab_size": INTEGER,
        },
        "optimizer": {"SGD": {"lr": NUMBER, "momentum": NUMBER}},
        "loop": {
            "num_steps": INTEGER,
            "max_steps": INTEGER,
            "eval_frequency": NUMBER,
            "eval_steps": INTEGER,
        },
        "checkpoint": {
            "steps": INTEGER,
            "autoload_last_checkpoint": FLAG,
            "save_initial_checkpoint": FLAG,
            "checkpoint_name": TEXT,
        },
        "logging": {"log_steps": INTEGER},
        "callbacks": [
            {
                "GlobalFlags": TRAIN_FLAGS,
                "ScopedTrainFlags": TRAIN_FLAGS,
                "ScopedValidateFlags": TRAIN_FLAGS,
                "LoadCheckpointStates": {"load_checkpoint_states": TEXT},
                # The loss is checked at every step anyway.
                "NaNChecker": {"num_steps": INTEGER},
            }
        ],
        "seed": INTEGER,
    },
    "fit": {"train_dataloader": DATALOADER, "val_dataloader": DATALOADER, "ckpt_path": TEXT},
    "validate": {"val_dataloader": DATALOADER, "ckpt_path": TEXT},
    "validate_all": {"val_dataloaders": DATALOADER, "ckpt_paths": [TEXT]},
}
"""Every key that is known: a mapping of keys, a list of such, or the types of a value."""
NEEDED = (("init", "backend", "backend_type"), ("init", "model", "name"))
NAMES = {int: "integer", float: "number", str: "string", bool: "boolean"}


class ValidationError(ValueError):
    """The config is not one that this trainer takes; every problem is in the message."""


class UniqueKeys(yaml.SafeLoader):
    """Refuses a key that stands twice in one mapping."""

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Any, Any]:  # noqa: FBT001, FBT002 - PyYAML's signature
        """As the parent, which would let the later one win."""
        seen = set()
        for key_node, _ in node.value:
            key = self.construct_object(key_node, deep=True)
            if key_node.tag != "tag:yaml.org,2002:merge" and key in seen:
                raise yaml.constructor.ConstructorError(
                    None, None, f"Found duplicate YAML key: '{key}'", key_node.start_mark
                )
            seen.add(key)
        return super().construct_mapping(node, deep)


def read_phases(path: Path) -> list[dict[str, Any]]:
    """The phases of a config file: mappings with init and fit, validate or validate_all.

    Raises:
        ValidationError: it is not of the form.
        OSError, yaml.YAMLError: it cannot be read.
    """
    with path.open() as stream:
        data = yaml.load(stream, Loader=UniqueKeys)
    if not isinstance(data, dict) or "trainer" not in data:
        raise ValidationError(_message(["trainer\n  Field required [type=missing]"]))
    problems = [_extra((key,), data[key]) for key in data if key != "trainer"]
    trainer = data["trainer"]
    several = isinstance(trainer, list)
    phases = [one["trainer"] for one in trainer] if several else [trainer]
    for number, phase in enumerate(phases):
        problems += _check(phase, KNOWN, (number,))
        problems += [
            f"{_dotted((number, *keys))}\n  Field required [type=missing]"
            for keys in NEEDED
            if get(phase, *keys) is None
        ]
    if problems:
        raise ValidationError(_message(problems))
    return phases


def get(phase: Any, *keys: str, default: Any = None) -> Any:
    """The value at a key; what is null, or within what is absent or null, is the default."""
    for key in keys:
        phase = phase.get(key) if isinstance(phase, dict) else None
    return default if phase is None else phase


def _check(value: Any, known: Any, where: tuple[Any, ...]) -> list[str]:
    """What is wrong with a value, and within it; null is taken for absent."""
    match known:
        case _ if value is None:
            return []
        case dict():
            if not isinstance(value, dict):
                return [_wrong(where, "dictionary", value)]
            pairs = [(key, inner, known.get(key)) for key, inner in value.items()]
            return [
                line
                for key, inner, form in pairs
                for line in (
                    [_extra((*where, key), inner)]
                    if form is None
                    else _check(inner, form, (*where, key))
                )
            ]
        case tuple():
            return [] if type(value) in known else [_wrong(where, NAMES[known[-1]], value)]
        case [form]:
            items = value if isinstance(value, list) else [value]
            return [line for n, one in enumerate(items) for line in _check(one, form, (*where, n))]
        case _:
            raise TypeError(known)


def _extra(where: tuple[Any, ...], value: Any) -> str:
    return _problem(where, "Extra inputs are not permitted", "extra_forbidden", value)


def _wrong(where: tuple[Any, ...], expected: str, value: Any) -> str:
    return _problem(where, f"Input should be a valid {expected}", f"{expected}_type", value)


def _problem(where: tuple[Any, ...], message: str, kind: str, value: Any) -> str:
    shown = f"input_value={value!r}, input_type={type(value).__name__}"
    return f"{_dotted(where)}\n  {message} [type={kind}, {shown}]"


def _dotted(where: tuple[Any, ...]) -> str:
    return ".".join(map(str, where))


def _message(problems: list[str]) -> str:
    plural = "" if len(problems) == 1 else "s"
    return f"{len(problems)} validation error{plural} for TrainerConfig\n" + "\n".join(problems)
