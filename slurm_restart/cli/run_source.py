"""Where commands read the journals of all runs, and whose runs they may show there."""

import os
import pwd
from pathlib import Path

from slurm_restart.control.cluster_folder import folder_name
from slurm_restart.control.run_index import RunIndex
from slurm_restart.control.site import Site
from slurm_restart.control.slurm_user import become_owner
from slurm_restart.errors import SlurmError, UsageError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.commands import Commands

INDEX = "index.sqlite"
_SEES_JOBS = "jobs"


@frozen
class RunSource:
    """The journals that the caller may read."""

    root: Path | None
    """The directory with the clusters' folders; None: there is none."""
    index: Path | None
    """Where the index is kept; None: in memory."""
    is_controller: bool
    """Whether it is the controller's own directory: everything may be shown."""
    cluster: str | None
    """Name of the cluster; None: Slurm does not answer."""
    everybody: bool
    """Whether other users' runs may be shown: PrivateData of slurm.conf does not hide jobs."""

    def open(self, *, uid: int | None) -> RunIndex | None:
        """Open the index of the runs of a user, or of all that may be shown; None: no journals."""
        if self.root is None:
            return None
        own = os.getuid()
        if not self.everybody and uid not in (None, own):
            return None
        folder = None if self.cluster is None else folder_name(self.cluster)
        shown = uid if self.everybody else own
        try:
            return RunIndex(self.root, self.index, cluster=folder, uid=shown)
        except FileNotFoundError:
            return None


def find_source(site: Site, slurm: Commands, command: str) -> RunSource:
    """Return where to read journals; root becomes SlurmUser for good where the state directory is.

    Args:
        site: the site's settings.
        slurm: the cluster.
        command: for messages: `csx-restart list`.
    """
    journals = site.state_dir / "journal"
    if os.geteuid() == 0 and journals.is_dir():
        become_owner(site.state_dir, command)
    cluster, private = _facts(slurm)
    if os.access(journals, os.R_OK | os.X_OK):
        return RunSource(
            root=journals,
            index=site.state_dir / INDEX,
            is_controller=True,
            cluster=cluster,
            everybody=True,
        )
    root = site.export_dir if site.export_dir is not None and site.export_dir.is_dir() else None
    return RunSource(
        root=root,
        index=None if root is None else _user_index(root),
        is_controller=False,
        cluster=cluster,
        everybody=private is not None and _SEES_JOBS not in private,
    )


def hides_jobs(slurm: Commands) -> bool:
    """Return whether PrivateData hides the jobs of others; also where Slurm does not answer."""
    private = _facts(slurm)[1]
    return private is None or _SEES_JOBS in private


def site_commands(path: Path, site: Site) -> Commands:
    """Return Slurm's commands: the site's where its settings are, else those in PATH."""
    if not path.exists():
        return Commands()
    return Commands(
        bin_dir=site.slurm_bin, slurm_conf=site.slurm_conf, timeout=site.limits.command_timeout
    )


def _facts(slurm: Commands) -> tuple[str | None, set[str] | None]:
    """Return the cluster's name and what PrivateData hides; None: Slurm does not answer."""
    try:
        config = slurm.config()
    except SlurmError:
        return None, None
    private = {word.strip().lower() for word in config.get("PrivateData", "").split(",")}
    return config.get("ClusterName"), private


def _user_index(root: Path) -> Path | None:
    """Return the index of a public directory in the caller's own cache; None: there is no place."""
    home = os.environ.get("XDG_CACHE_HOME") or os.environ.get("HOME")
    if not home or not home.startswith("/"):
        return None
    cache = Path(home) if os.environ.get("XDG_CACHE_HOME") else Path(home) / ".cache"
    return cache / "slurm_restart" / f"runs{str(root).replace('/', '-')[-120:]}.sqlite"


def uid_of(name: str) -> int:
    """Return the uid of a user's name or number.

    Raises:
        UsageError: there is no such user.
    """
    if name.isascii() and name.isdecimal():
        return int(name)
    try:
        return pwd.getpwnam(name).pw_uid
    except KeyError:
        raise UsageError(f"--user {name}: there is no such user") from None
