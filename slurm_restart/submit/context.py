"""What a submission reads from its process."""

from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from slurm_restart.trainer.run_plan import SlurmAccess


@dataclass(frozen=True, kw_only=True)
class SubmitContext:
    """The process that submits; an argument, so that tests can choose it."""

    environ: Mapping[str, str]
    cwd: Path
    slurm: SlurmAccess
