"""What everything on the controller works with: Slurm, the site's settings, the cluster's name."""

from dataclasses import dataclass

from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.site import Site
from slurm_restart.slurm.commands import Commands


@dataclass(frozen=True, kw_only=True)
class Controller:
    """One cluster's controller, as SlurmUser sees it."""

    slurm: Commands
    site: Site
    cluster: str

    def log(self, job_id: int) -> HookLog:
        """The trace of what is done about a job."""
        return HookLog(self.site.state_dir, str(job_id))


def commands_for(site: Site) -> Commands:
    """Slurm's commands as the site's settings say."""
    return Commands(
        bin_dir=site.slurm_bin, slurm_conf=site.slurm_conf, timeout=site.limits.command_timeout
    )
