"""Read the facts of each phase from a trainer config, and check them before submission."""

import re
from collections.abc import Mapping, Sequence
from enum import Enum
from typing import Any

from slurm_restart.core.checkpoint_url import is_url, url_problem
from slurm_restart.core.job_comment import MAX_NODES, MAX_RESTARTS, Mode
from slurm_restart.frozen import frozen
from slurm_restart.trainer import config
from slurm_restart.trainer.config_checker import Checker, nearest
from slurm_restart.trainer.run_plan import LoopFacts
from slurm_restart.trainer.settings_files import SLURM_KEY
from slurm_restart.trainer.yaml_lines import Document, Key

AUTORESTART_KEYS = ("max_num_restarts", "min_num_csx")
_LEGACY_KEYS = ("runconfig", "train_input", "eval_input", "optimizer", "model")
_READ = ("backend", "model_dir", "loop", "checkpoint", "autorestart")
_OTHERS = ("model", "device", "optimizer", "schedulers", "precision", "sparsity", "logging",
           "callbacks", "loggers", "seed")  # fmt: skip
_SECTIONS: dict[Mode, str] = {
    Mode.FIT: "fit",
    Mode.TRAIN_AND_EVAL: "fit",
    Mode.VALIDATE: "validate",
    Mode.VALIDATE_ALL: "validate_all",
}
_KEEP_N = "KeepNCheckpoints"
_HARNESS = "EvalHarness"
"""End of the names of callbacks that evaluate a model after each validation."""
DEFAULT_MODEL_DIR = "./model_dir"
DEFAULT_CHECKPOINT_NAME = "checkpoint_{step}.mdl"


class Backend(Enum):
    """Hardware that the trainer computes on; for all but CSX, num_csx is the number of nodes."""

    CSX = "CSX"
    CPU = "CPU"
    GPU = "GPU"


@frozen
class Autorestart:
    """The `autorestart` block."""

    max_num_restarts: int
    min_num_csx: int = 1


@frozen
class Phase:
    """The facts of one phase; paths are as in the file. None: not given."""

    index: int
    keys: tuple[Key, ...]
    """Keys that lead to the phase's `init`, for messages."""
    config: dict[str, Any]
    """The phase in the single form."""
    backend: Backend
    num_csx: int | None
    autorestart: Autorestart | None
    model_dir: str
    checkpoint_steps: int | None
    checkpoint_root: str | None
    checkpoint_name: str
    autoload_last_checkpoint: bool
    ckpt_path: str | None
    """Of `fit`, or of `validate` in an evaluation; it may be a URL."""
    loop: LoopFacts
    keep_checkpoints: int | None = None
    """`n` of the callback KeepNCheckpoints."""
    validates_at_end: bool = False
    """A training that the trainer validates after its last step."""


def read_phases(
    document: Document, mode: Mode, *, section_required: bool = True
) -> tuple[tuple[Phase, ...], list[str]]:
    """Return the phases of a config, and its problems; with problems, phases may be incomplete.

    Args:
        document: the config.
        mode: what the trainer is to do.
        section_required: whether the mode's own section (`fit`, …) has to be present, as for the
            trainer of the Model Zoo.
    """
    checker = Checker(document)
    places = _phase_keys(checker)
    if checker.problems:
        return (), checker.problems
    configs = config.phases(document.data)
    checker.refuse_misspelt((), (SLURM_KEY,), ("trainer",))
    phases = tuple(
        _read_phase(checker, index, keys, configs[index], mode) for index, keys in enumerate(places)
    )
    if section_required:
        for keys in places:
            _require_section(checker, keys, mode)
    _require_autorestart_alike(checker, phases)
    return phases, checker.problems


def _phase_keys(checker: Checker) -> list[tuple[Key, ...]]:
    """Return the keys of every phase's inner `trainer`; empty, with a problem, if there is none."""
    data = checker.document.data
    if "trainer" not in data:
        legacy = [key for key in _LEGACY_KEYS if key in data]
        hint = nearest("trainer", map(str, data), cutoff=0.8)
        got = f"the key {hint!r}" if hint else "a file without it"
        if legacy:
            got = (
                f"the legacy form ({', '.join(legacy)}), which never restarts: convert it with "
                "`cszoo config convert_legacy OLD.yaml -o NEW.yaml`"
            )
        message = f"expected the key trainer, got {got}"
        checker.problems.append(f"{checker.document.path}:1: trainer: {message}")
        return []
    trainer = data["trainer"]
    if not isinstance(trainer, list):
        places: list[tuple[Key, ...]] = [("trainer",)]
    else:
        places = [("trainer", index, "trainer") for index in range(len(trainer))]
        if not places:
            checker.add_problem(("trainer",), "at least one phase", trainer)
    for keys in places:
        if len(keys) > 1:
            _require_mapping(checker, keys[:-1])
        _require_mapping(checker, keys)
        _require_mapping(checker, (*keys, "init"))
    return places


def _require_mapping(checker: Checker, keys: tuple[Key, ...]) -> None:
    parent = checker.get(*keys[:-1]) if len(keys) > 1 else checker.document.data
    # For a parent of another type there is a problem already.
    if isinstance(parent, dict | list) and checker.get(*keys) is None:
        checker.add_problem(keys, "a mapping")
    else:
        checker.mapping(*keys)


def _require_section(checker: Checker, keys: tuple[Key, ...], mode: Mode) -> None:
    name = _SECTIONS[mode]
    if checker.mapping(*keys, name) or checker.get(*keys, name) is not None:
        return
    near = nearest(name, misspelt_sections(checker.get(*keys) or {}))
    if near is None:
        checker.add_problem((*keys, name), f"this section, as --mode is {mode.value}")
    else:
        checker.add_problem((*keys, near), f"{name}, as --mode is {mode.value}", near)


def misspelt_sections(trainer: Mapping[Any, Any]) -> list[str]:
    """Return the keys of a phase that are similar to a section's name and are none."""
    known = {"init", *_SECTIONS.values()}
    others = [str(key) for key in trainer if key not in known]
    return [key for key in others if nearest(key, known, cutoff=0.8)]


def _require_autorestart_alike(checker: Checker, phases: Sequence[Phase]) -> None:
    """Require that all phases have `autorestart`, or none."""
    has = [checker.get(*phase.keys, "autorestart") is not None for phase in phases]
    if any(has) and not all(has):
        first = phases[has.index(True)].index
        for phase, given in zip(phases, has, strict=True):
            if not given:
                expected = f"this block in all phases or in none (phase {first + 1} has it)"
                checker.add_problem((*phase.keys, "autorestart"), expected)


def _read_phase(
    checker: Checker, index: int, trainer: tuple[Key, ...], single: dict[str, Any], mode: Mode
) -> Phase:
    init = (*trainer, "init")
    checker.refuse_misspelt(init, _READ, _OTHERS)
    checkpoint = (*init, "checkpoint")
    checker.mapping(*checkpoint)
    return Phase(
        index=index,
        keys=init,
        config=single,
        backend=_backend(checker, init),
        num_csx=checker.whole(*init, "backend", "cluster_config", "num_csx", low=1, high=MAX_NODES),
        autorestart=_autorestart(checker, (*init, "autorestart")),
        model_dir=_local_path(checker, (*init, "model_dir")) or DEFAULT_MODEL_DIR,
        checkpoint_steps=checker.whole(*checkpoint, "steps", low=0),
        checkpoint_root=_path_or_url(checker, (*checkpoint, "checkpoint_root")),
        checkpoint_name=_checkpoint_name(checker, (*checkpoint, "checkpoint_name")),
        autoload_last_checkpoint=not _is_ckpt_path_null(single)
        and checker.flag(*checkpoint, "autoload_last_checkpoint", default=True),
        ckpt_path=_ckpt_path(checker, trainer, mode),
        loop=_loop(checker, (*init, "loop")),
        keep_checkpoints=None if mode.is_evaluation else _keep_checkpoints(checker, init),
        validates_at_end=not mode.is_evaluation and _validates_at_end(checker, trainer),
    )


def _ckpt_path(checker: Checker, trainer: tuple[Key, ...], mode: Mode) -> str | None:
    """Return the checkpoint that the config names; of `validate_all` it may name several."""
    if not mode.is_evaluation:
        return _path_or_url(checker, (*trainer, "fit", "ckpt_path"))
    path = checker.get(*trainer, "validate", "ckpt_path") if mode is Mode.VALIDATE else None
    return path if isinstance(path, str) and path and "\0" not in path else None


def _validates_at_end(checker: Checker, trainer: tuple[Key, ...]) -> bool:
    """Return whether `fit` ends with a validation, of data or by a harness of the callbacks.

    The trainer's `eval_frequency` is 1.0 by default: once, after all steps.
    """
    loop = checker.get(*trainer, "init", "loop")
    frequency = loop.get("eval_frequency", 1.0) if isinstance(loop, dict) else 1.0
    listed = checker.get(*trainer, "init", "callbacks")
    callbacks = listed if isinstance(listed, list) else []
    names = {str(name) for entry in callbacks if isinstance(entry, dict) for name in entry}
    has_harness = any(name.endswith(_HARNESS) for name in names)
    has_data = checker.get(*trainer, "fit", "val_dataloader") is not None
    return bool(frequency) and (has_data or has_harness)


def _keep_checkpoints(checker: Checker, init: tuple[Key, ...]) -> int | None:
    """Return the limit of the only callback KeepNCheckpoints; None: there is none, or no limit.

    A value that the trainer refuses is no limit here: the trainer reports it.
    """
    listed = checker.get(*init, "callbacks")
    callbacks = listed if isinstance(listed, list) else []
    entries = [entry for entry in callbacks if isinstance(entry, dict) and _KEEP_N in entry]
    if len(entries) != 1 or not isinstance(entries[0][_KEEP_N], dict):
        return None
    text = str(entries[0][_KEEP_N].get("n"))
    return int(text) if re.fullmatch(r"[1-9][0-9]{0,8}", text, re.ASCII) else None


def _is_ckpt_path_null(single: config.Config) -> bool:
    """Return whether `ckpt_path` is null, which the trainer treats unlike an absent key."""
    fit = single["trainer"].get("fit") if isinstance(single["trainer"], dict) else None
    return isinstance(fit, dict) and "ckpt_path" in fit and fit["ckpt_path"] is None


def _backend(checker: Checker, init: tuple[Key, ...]) -> Backend:
    backend = (*init, "backend")
    if checker.mapping(*backend):
        checker.mapping(*backend, "cluster_config")
    keys = (*backend, "backend_type")
    if checker.get(*keys) is None:
        keys = (*init, "device")
    value = checker.text(*keys)
    if value is None:
        return Backend.CSX
    try:
        return Backend(value.upper())
    except ValueError:
        checker.add_problem(keys, f"one of {', '.join(kind.value for kind in Backend)}", value)
        return Backend.CSX


def _autorestart(checker: Checker, keys: tuple[Key, ...]) -> Autorestart | None:
    if not checker.mapping(*keys):
        return None
    checker.refuse_unknown(keys, AUTORESTART_KEYS)
    most = checker.whole(*keys, "max_num_restarts", low=0, high=MAX_RESTARTS)
    if checker.get(*keys, "max_num_restarts") is None:
        checker.add_problem((*keys, "max_num_restarts"), "a whole number from 0")
    least = checker.whole(*keys, "min_num_csx", low=1, high=MAX_NODES)
    return Autorestart(max_num_restarts=most or 0, min_num_csx=1 if least is None else least)


def _local_path(checker: Checker, keys: tuple[Key, ...]) -> str | None:
    """Return a path on a file system of the nodes; a URL is a problem."""
    value = checker.text(*keys)
    if value is not None and is_url(value):
        checker.add_problem(keys, "a path on a file system", value)
    return value


def _path_or_url(checker: Checker, keys: tuple[Key, ...]) -> str | None:
    """Return a path, or a URL, of which nothing is read here."""
    value = checker.text(*keys)
    if value is not None and is_url(value) and (problem := url_problem(value)) is not None:
        checker.add_problem(keys, problem, value)
        return None
    return value


def _checkpoint_name(checker: Checker, keys: tuple[Key, ...]) -> str:
    name = checker.text(*keys)
    if name is None:
        return DEFAULT_CHECKPOINT_NAME
    if name.count("{step}") != 1 or "/" in name or set("{}") & set(name.replace("{step}", "")):
        checker.add_problem(keys, "a file name with {step} in it once", name)
        return DEFAULT_CHECKPOINT_NAME
    return name


def _loop(checker: Checker, keys: tuple[Key, ...]) -> LoopFacts:
    if not checker.mapping(*keys):
        return LoopFacts()

    def steps(name: str) -> int | None:
        return checker.whole(*keys, name, low=1)

    num_steps, epochs, length = steps("num_steps"), steps("num_epochs"), steps("steps_per_epoch")
    accumulated = steps("grad_accum_steps") or 1
    if epochs is not None and length is not None:
        # The trainer takes num_epochs or num_steps, not both; a step is an optimizer step.
        num_steps = num_steps or epochs * max(length // accumulated, 1)
    return LoopFacts(
        max_steps=steps("max_steps"),
        num_steps=num_steps,
        unknown_epochs=epochs is not None and length is None,
    )
