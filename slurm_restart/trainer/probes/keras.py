"""Check what Keras writes: `.keras`, a zip file, and `.weights.h5` or `.h5`, which are HDF5."""

from slurm_restart.safe_files import open_binary
from slurm_restart.trainer.probes.broken import BrokenCheckpointError
from slurm_restart.trainer.probes.zip_files import check_sums, open_zip

_MEMBERS = ("config.json", "metadata.json", "model.weights.h5")


def check_keras(path: str) -> None:
    """Check a `.keras` file, or one of HDF5.

    Raises:
        BrokenCheckpointError: it is not complete.
        OSError: it cannot be read now.
    """
    if path.lower().endswith((".h5", ".hdf5")):
        from slurm_restart.trainer.probes.hdf5_files import check_hdf5  # noqa: PLC0415 - slow

        check_hdf5(path)
        return
    with open_binary(path) as stream:
        if not stream.read(1):
            raise BrokenCheckpointError("the file is empty")
    with open_zip(path) as archive:
        missing = [name for name in _MEMBERS if name not in archive.namelist()]
        if missing:
            raise BrokenCheckpointError(f"it has no {missing[0]}")
        check_sums(archive)
