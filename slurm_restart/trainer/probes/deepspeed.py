"""Check directories of DeepSpeed, `global_step100`; `latest` beside them is written last."""

import re
from pathlib import Path

from slurm_restart.safe_files import read_bounded
from slurm_restart.trainer.probes.broken import BrokenCheckpointError
from slurm_restart.trainer.probes.torch_files import check_torch

_LATEST = "latest"
_MODEL = "_model_states.pt"
_OPTIMIZER = "_optim_states.pt"
_RANK = re.compile(r"(?P<series>.*?(?:zero_pp_rank|mp_rank|layer)_)(?P<rank>\d+)(?P<rest>.*)")
_NUMBER = re.compile(r"\d+$")


def check_deepspeed(path: str) -> None:
    """Check the files of all ranks, and that `latest` does not name an earlier checkpoint.

    Raises:
        BrokenCheckpointError: it is not complete.
        OSError: it cannot be read now.
    """
    folder = Path(path)
    names = sorted(file.name for file in folder.iterdir())
    if not any(name.endswith(_MODEL) for name in names):
        raise BrokenCheckpointError(f"it has no file of model states (*{_MODEL})")
    _check_latest(folder)
    _check_ranks(names)
    for name in names:
        if name.endswith(".pt"):
            try:
                check_torch(str(folder / name))
            except BrokenCheckpointError as error:
                raise BrokenCheckpointError(f"{name}: {error}") from None


def _check_latest(folder: Path) -> None:
    try:
        latest = read_bounded(folder.parent / _LATEST, 4096).decode(errors="replace").strip()
    except FileNotFoundError:
        return  # save_latest=False
    if latest == folder.name:
        return
    newest, this = _NUMBER.search(latest), _NUMBER.search(folder.name)
    if newest is not None and this is not None and int(newest[0]) < int(this[0]):
        raise BrokenCheckpointError(f"`{_LATEST}`, which is written last, names {latest}")


def _check_ranks(names: list[str]) -> None:
    """Check that the ranks of each series of files are those from 0 to the last."""
    series: dict[tuple[str, str], set[int]] = {}
    for name in names:
        match = _RANK.fullmatch(name)
        if match is not None and name.endswith((_MODEL, _OPTIMIZER)) and "layer_" not in name:
            key = match["series"], match["rest"]
            series.setdefault(key, set()).add(int(match["rank"]))
    for (before, after), ranks in sorted(series.items()):
        missing = set(range(max(ranks))) - ranks
        if missing:
            raise BrokenCheckpointError(f"{before}{min(missing)}{after} is not there")
