"""Check directories of Hugging Face's Trainer: `trainer_state.json` is written last."""

import json
from pathlib import Path
from typing import Any

from slurm_restart.safe_files import read_bounded
from slurm_restart.trainer.probes.broken import BrokenCheckpointError
from slurm_restart.trainer.probes.checks import check_known

_STATE = "trainer_state.json"
_INDEX = ".index.json"
_MAX_JSON = 256 << 20
"""Bytes; the state holds a line for each logged step."""
# Files beside the weights. What else is there, also a directory (FSDP, DeepSpeed), are weights.
_OTHER_FILES = ("optimizer.pt", "optimizer.bin", "scheduler.pt", "scaler.pt", "training_args.bin",
                "rng_state", "README.md", "vocab.txt", "merges.txt", "spiece.model",
                "tokenizer.model", "sentencepiece.bpe.model")  # fmt: skip


def check_hf(path: str) -> int | None:
    """Check a directory of the Trainer and return its step.

    Raises:
        BrokenCheckpointError: it is not complete.
        OSError: it cannot be read now.
    """
    folder = Path(path)
    step = _step(folder)
    names = sorted(file.name for file in folder.iterdir())
    if not any(_is_weights(name) for name in names):
        raise BrokenCheckpointError("it has no weights")
    for name in names:
        if name.endswith(_INDEX):
            _check_shards(folder, name)
        check_known(folder / name)
    return step


def _step(folder: Path) -> int | None:
    try:
        step = _json(folder / _STATE).get("global_step")
    except FileNotFoundError:
        raise BrokenCheckpointError(f"it has no {_STATE}, which is written last") from None
    return step if isinstance(step, int) else None


def _check_shards(folder: Path, index: str) -> None:
    shards = _json(folder / index).get("weight_map")
    if not isinstance(shards, dict):
        raise BrokenCheckpointError(f"{index} has no weight_map")
    for shard in sorted({str(shard_name) for shard_name in shards.values()}):
        if not (folder / shard).is_file():
            raise BrokenCheckpointError(f"{shard} of {index} is not there")


def _json(path: Path) -> dict[str, Any]:
    try:
        data = json.loads(read_bounded(path, _MAX_JSON))
    except (ValueError, RecursionError):
        raise BrokenCheckpointError(f"{path.name} is no whole JSON") from None
    if not isinstance(data, dict):
        raise BrokenCheckpointError(f"{path.name} is no JSON object")
    return data


def _is_weights(name: str) -> bool:
    return not name.endswith((".json", ".jinja", ".txt")) and not name.startswith(_OTHER_FILES)
