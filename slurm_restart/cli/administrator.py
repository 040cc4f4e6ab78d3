"""What an administrator does on the controller: as SlurmUser, with the name of the person."""

import os
from pathlib import Path

from slurm_restart.control.controller import Controller, commands_for
from slurm_restart.control.site import load_site
from slurm_restart.control.slurm_user import become_owner, check_slurm_user
from slurm_restart.control.state_dir import user_name
from slurm_restart.core.printable import escape_controls

_MAX_WHO = 64


def person() -> str:
    """Return who runs this command: the user, and who has called sudo."""
    own, caller = user_name(os.getuid()), os.environ.get("SUDO_USER")
    who = own if caller in (None, "", own) else f"{caller} as {own}"
    return escape_controls(who)[:_MAX_WHO]


def become_controller(site_path: Path, command: str) -> Controller:
    """Become SlurmUser for good, and return the controller.

    Args:
        site_path: the site's settings.
        command: for messages: `csx-restart nodes clear`.

    Raises:
        ConfigError: the settings cannot be read.
        SlurmError: Slurm does not answer.
        StateError: there is no state directory here, or it belongs to somebody else than SlurmUser.
        UsageError: the caller is neither root nor SlurmUser.
    """
    site = load_site(site_path)
    become_owner(site.state_dir, command)
    slurm = commands_for(site)
    check_slurm_user(site.state_dir, slurm.config())
    return Controller(slurm=slurm, site=site, cluster=slurm.cluster_name())
