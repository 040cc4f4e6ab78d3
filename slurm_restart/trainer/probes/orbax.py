"""Check directories of Orbax, which get their final name once they are committed."""

import json
from pathlib import Path

from slurm_restart.safe_files import read_bounded
from slurm_restart.trainer.probes.broken import BrokenCheckpointError

_COMMITTED = "_CHECKPOINT_METADATA"
_OLD_SIGNS = ("commit_success.txt", "_METADATA", "checkpoint")
"""Of releases before 0.6, and of Flax's single files."""
_TEMPORARY = ".orbax-checkpoint-tmp"
_MAX_JSON = 64 << 20


def check_orbax(path: str) -> None:
    """Check that the checkpoint and each item in it are committed.

    Raises:
        BrokenCheckpointError: it is not complete.
        OSError: it cannot be read now.
    """
    folder = Path(path)
    inside = sorted(folder.iterdir())
    for file in inside:
        if _TEMPORARY in file.name:
            raise BrokenCheckpointError(f"{file.name} is not committed")
    _check_committed(folder, [file.name for file in inside])
    for file in inside:
        if file.is_dir():
            _check_item(file)


def _check_committed(folder: Path, names: list[str]) -> None:
    if _COMMITTED in names:
        data = _json(folder / _COMMITTED)
        if isinstance(data, dict) and data.get("commit_timestamp_nsecs", 0) is None:
            raise BrokenCheckpointError(f"{_COMMITTED} has no time of the commit")
        return
    inside = [file.name for item in folder.iterdir() if item.is_dir() for file in item.iterdir()]
    if not any(sign in (*names, *inside) for sign in _OLD_SIGNS):
        raise BrokenCheckpointError(f"it has no {_COMMITTED}")


def _check_item(folder: Path) -> None:
    for name in ("_METADATA", "_sharding"):
        if (folder / name).is_file():
            _json(folder / name)
    manifest = folder / "manifest.ocdbt"
    if manifest.is_file() and not manifest.stat().st_size:
        raise BrokenCheckpointError(f"{folder.name}/{manifest.name} is empty")
    # Those of the processes are merged into it at the end, after `_METADATA` was written.
    if not manifest.exists() and any(folder.glob("ocdbt.process_*")):
        raise BrokenCheckpointError(f"{folder.name} has no {manifest.name}")


def _json(path: Path) -> object:
    try:
        return json.loads(read_bounded(path, _MAX_JSON))
    except (ValueError, RecursionError):
        raise BrokenCheckpointError(f"{path.parent.name}/{path.name} is no whole JSON") from None
