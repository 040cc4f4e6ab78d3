"""Find the form of a checkpoint from its name and its content.

Only what certainly is of a form is given it: a check by the wrong form could call a good checkpoint
broken.
"""

import re
from pathlib import Path

from slurm_restart.safe_files import open_binary
from slurm_restart.trainer.probes.broken import BrokenCheckpointError
from slurm_restart.trainer.run_plan import CheckpointFormat

_HDF5 = b"\x89HDF\r\n\x1a\n"
_ZIP = b"PK\x03\x04"
_PICKLE = b"\x80"
"""The opcode with the protocol, from protocol 2 on."""
_BY_ENDING = {
    ".safetensors": CheckpointFormat.SAFETENSORS,
    ".npz": CheckpointFormat.NPZ,
    ".keras": CheckpointFormat.KERAS,
}
_TORCH_ENDINGS = (".pt", ".pth", ".ckpt", ".bin", ".pkl")
_HDF5_ENDINGS = (".h5", ".hdf5", ".mdl")
_HEAD = 512


def detect_form(path: str) -> CheckpointFormat | None:
    """Return the form; None: it is not one of the known ones.

    Raises:
        BrokenCheckpointError: a file that is empty, or begins with zeros where its form has none.
        OSError: it cannot be read.
    """
    if Path(path).is_dir():
        return _detect_directory(Path(path))
    return _detect_file(Path(path))


def _detect_directory(path: Path) -> CheckpointFormat | None:
    names = {file.name for file in path.iterdir()}
    if ".metadata" in names or any(name.endswith(".distcp") for name in names):
        return CheckpointFormat.DCP
    if "trainer_state.json" in names or (
        re.fullmatch(r"checkpoint-\d+", path.name)
        and any(name.endswith((".safetensors", ".bin")) or name == "config.json" for name in names)
    ):
        return CheckpointFormat.HF
    if any(name.endswith(("_model_states.pt", "_optim_states.pt")) for name in names):
        return CheckpointFormat.DEEPSPEED
    if "_CHECKPOINT_METADATA" in names or any(
        ".orbax-checkpoint-tmp" in name or name == "manifest.ocdbt" for name in names
    ):
        return CheckpointFormat.ORBAX
    return None


def _detect_file(path: Path) -> CheckpointFormat | None:
    with open_binary(path) as stream:
        head = stream.read(_HEAD)
    if not head:
        raise BrokenCheckpointError("the file is empty")
    ending = path.suffix.lower()
    if ending in _BY_ENDING:
        return _BY_ENDING[ending]
    known = ending in _TORCH_ENDINGS or ending in _HDF5_ENDINGS
    if known and not head.strip(b"\0"):
        # A file system that lost the data of a file, but not its size, gives zeros.
        raise BrokenCheckpointError("the file begins with zeros")
    if ending in _HDF5_ENDINGS and head.startswith(_HDF5):
        return CheckpointFormat.MDL if ending == ".mdl" else CheckpointFormat.HDF5
    if (ending in _HDF5_ENDINGS and _HDF5.startswith(head)) or (
        ending in _TORCH_ENDINGS and _ZIP.startswith(head)
    ):
        raise BrokenCheckpointError("the file ends within its first bytes")
    if ending in _TORCH_ENDINGS and head.startswith((_ZIP, _PICKLE)):
        return CheckpointFormat.TORCH
    return None
