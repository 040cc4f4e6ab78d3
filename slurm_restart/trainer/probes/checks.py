"""Check a checkpoint by the means of its form, which may have to be found first."""

import os
from collections.abc import Callable, Mapping
from importlib import import_module
from pathlib import Path

from slurm_restart.safe_files import open_regular
from slurm_restart.trainer.probes.broken import BrokenCheckpointError
from slurm_restart.trainer.probes.detect_form import detect_form
from slurm_restart.trainer.run_plan import CheckpointFormat

_MAX_FILES = 2000
"""Files of a directory of unknown form that are checked."""

Check = Callable[[str], int | None]


def check(path: str, form: CheckpointFormat) -> int | None:
    """Return the step that the checkpoint holds; None: it holds none.

    Raises:
        BrokenCheckpointError: it is not complete.
        OSError: it cannot be read now.
    """
    # Raises OSError for an absent or unreadable one, before its content is judged.
    if Path(path).is_dir():
        os.close(os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC))
    else:
        os.close(open_regular(path))
    return _check_of(form)(path)


# Module and function; imported when needed: HDF5 alone takes 0.2 s.
_CHECKS: Mapping[CheckpointFormat, tuple[str, str]] = {
    CheckpointFormat.MDL: ("hdf5_files", "check_mdl"),
    CheckpointFormat.HDF5: ("hdf5_files", "check_hdf5"),
    CheckpointFormat.TORCH: ("torch_files", "check_torch"),
    CheckpointFormat.LIGHTNING: ("torch_files", "check_torch"),
    CheckpointFormat.SAFETENSORS: ("safetensors", "check_safetensors"),
    CheckpointFormat.NPZ: ("zip_files", "check_npz"),
    CheckpointFormat.KERAS: ("keras", "check_keras"),
    CheckpointFormat.HF: ("hugging_face", "check_hf"),
    CheckpointFormat.DCP: ("torch_distributed", "check_dcp"),
    CheckpointFormat.DEEPSPEED: ("deepspeed", "check_deepspeed"),
    CheckpointFormat.ORBAX: ("orbax", "check_orbax"),
    CheckpointFormat.AUTO: ("checks", "check_auto"),
    CheckpointFormat.ANY: ("checks", "check_nothing"),
    CheckpointFormat.NONE: ("checks", "check_nothing"),
}


def _check_of(form: CheckpointFormat) -> Check:
    module, function = _CHECKS[form]
    check: Check = getattr(import_module(f"{__package__}.{module}"), function)
    return check


def check_nothing(_path: str) -> None:
    """Do nothing: the name alone shows that it is complete."""


def check_auto(path: str) -> int | None:
    """Check a checkpoint by the form that it shows; in a directory of none, each file by its own.

    Raises:
        As `check`.
    """
    form = detect_form(path)
    if form is not None:
        return _check_of(form)(path)
    if Path(path).is_dir():
        inside = sorted(Path(path).iterdir())
        if not inside:
            raise BrokenCheckpointError("the directory is empty")
        for file in inside[:_MAX_FILES]:
            check_known(file)
    return None


def check_known(path: Path) -> None:
    """Check a file inside a directory if its form is known.

    Raises:
        BrokenCheckpointError: it is empty, or of a known form and not complete.
    """
    if not path.is_file():
        return
    try:
        form = detect_form(str(path))
        if form is not None:
            _check_of(form)(str(path))
    except BrokenCheckpointError as error:
        raise BrokenCheckpointError(f"{path.name}: {error}") from None
