"""What a submission reads from its process."""

from collections.abc import Mapping
from pathlib import Path

from slurm_restart.frozen import frozen
from slurm_restart.trainer.run_plan import SlurmAccess


@frozen
class SubmitContext:
    """The process that submits; an argument, so that tests can choose it."""

    environ: Mapping[str, str]
    cwd: Path
    slurm: SlurmAccess
    observes: bool | None = False
    """Whether the site is in observe mode; None: its settings are not on this host."""
