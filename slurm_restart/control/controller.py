"""Slurm, the site's settings and the cluster's name: the context of everything in `control`."""

from slurm_restart.control.hook_log import HookLog
from slurm_restart.control.site import Site
from slurm_restart.frozen import frozen
from slurm_restart.slurm.commands import Commands


@frozen
class Controller:
    """Access to one cluster's controller as SlurmUser."""

    slurm: Commands
    site: Site
    cluster: str

    def log(self, job_id: int) -> HookLog:
        """Return the log for one job."""
        return HookLog(self.site.state_dir, str(job_id))


def commands_for(site: Site) -> Commands:
    """Return Slurm's commands, configured by the site's settings."""
    return Commands(
        bin_dir=site.slurm_bin, slurm_conf=site.slurm_conf, timeout=site.limits.command_timeout
    )
