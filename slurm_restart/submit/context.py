"""What a submission reads from its process."""

from collections.abc import Mapping
from pathlib import Path

from slurm_restart.frozen import frozen
from slurm_restart.trainer.run_plan import SlurmAccess
from slurm_restart.trainer.settings_files import SiteFacts


@frozen
class SubmitContext:
    """The process that submits; an argument, so that tests can choose it."""

    environ: Mapping[str, str]
    cwd: Path
    slurm: SlurmAccess
    site: SiteFacts = SiteFacts()

    @property
    def observes(self) -> bool | None:
        """Whether the site is in observe mode; None: its settings are not on this host."""
        return self.site.observes
