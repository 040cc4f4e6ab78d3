"""What the checks are given: the site's settings, Slurm's configuration and SlurmUser."""

import pwd
import re
from collections.abc import Mapping
from functools import cached_property
from pathlib import Path

from slurm_restart.control.checks.run_as import Account
from slurm_restart.control.site import Site
from slurm_restart.core.cluster_facts import ClusterFacts
from slurm_restart.errors import CsxError
from slurm_restart.frozen import frozen
from slurm_restart.slurm.parse_config import cluster_facts

_ROOT = 0
_USER = re.compile(r"([^()]+)\((\d+)\)")
_VERSION = re.compile(r"(\d{2})\.(\d{2})\.(\d+)")


class NotKnownError(CsxError):
    """A check needs something that is not known; `remedy` says how it can be known."""

    def __init__(self, message: str, remedy: str) -> None:
        self.remedy = remedy
        super().__init__(message)


@frozen
class Context:
    """The installation that is checked.

    Attributes:
        site_path: the site's settings file.
        site_found: its content, or the problems for which it cannot be used.
        config_found: the output of `scontrol show config` by name, or why there is none.
        bin_dir: directory of the Slurm commands that this process runs; None: PATH is searched.
        slurm_conf: the slurm.conf for them; None: the environment's, else Slurm's default.
    """

    site_path: Path
    site_found: Site | tuple[str, ...]
    config_found: Mapping[str, str] | str
    bin_dir: Path | None = None
    slurm_conf: Path | None = None

    @property
    def site(self) -> Site:
        """Return the site's settings.

        Raises:
            NotKnownError: the file cannot be used.
        """
        if isinstance(self.site_found, Site):
            return self.site_found
        message = f"not checked: {self.site_path} cannot be used"
        raise NotKnownError(message, f"correct {self.site_path} first")

    @property
    def config(self) -> Mapping[str, str]:
        """Return the settings of slurm.conf as slurmctld uses them.

        Raises:
            NotKnownError: slurmctld did not answer.
        """
        if not isinstance(self.config_found, str):
            return self.config_found
        message = "not checked: Slurm's configuration is not known"
        raise NotKnownError(message, "see slurm.config, then run csx-restart doctor again")

    @cached_property
    def facts(self) -> ClusterFacts:
        """Return what the configuration says about requeued jobs.

        Raises:
            NotKnownError: slurmctld did not answer.
            SlurmError: it shows no release.
        """
        return cluster_facts(dict(self.config))

    @cached_property
    def release(self) -> tuple[int, int, int]:
        """Return slurmctld's release, such as (24, 11, 5).

        Raises:
            NotKnownError: slurmctld did not answer, or shows no release.
        """
        shown = self.config.get("SLURM_VERSION", "")
        match = _VERSION.match(shown)
        if match is None:
            message = f"not checked: SLURM_VERSION is {shown!r}, expected one such as 24.11.5"
            raise NotKnownError(message, "scontrol show config | grep SLURM_VERSION")
        return int(match[1]), int(match[2]), int(match[3])

    @cached_property
    def slurm_user(self) -> Account:
        """Return SlurmUser, which `scontrol show config` prints as `slurm(64030)`.

        Raises:
            NotKnownError: slurmctld did not answer, or this host has no such user.
        """
        shown = self.config.get("SlurmUser", "")
        match = _USER.fullmatch(shown)
        if match is None:
            message = f"not checked: SlurmUser is {shown!r}, expected one such as slurm(64030)"
            raise NotKnownError(message, "scontrol show config | grep SlurmUser")
        try:
            entry = pwd.getpwuid(int(match[2]))
        except (KeyError, OverflowError):
            message = f"not checked: SlurmUser {shown} is no user of this host"
            raise NotKnownError(message, "run csx-restart doctor on the controller") from None
        return Account(name=entry.pw_name, uid=entry.pw_uid, gid=entry.pw_gid)

    @property
    def trusted(self) -> frozenset[int]:
        """Return the user ids that may own what runs as SlurmUser: root and SlurmUser."""
        return frozenset({_ROOT, self.slurm_user.uid})

    def setting(self, name: str) -> str:
        """Return a setting of slurm.conf; an empty text where it is not set."""
        value = self.config.get(name, "")
        return "" if value == "(null)" else value

    def options(self, name: str) -> tuple[str, ...]:
        """Return a setting that is a list, such as PrologFlags, in lower case."""
        return tuple(filter(None, self.setting(name).lower().split(",")))

    def several(self, name: str) -> tuple[str, ...]:
        """Return the values of a setting that slurm.conf may have several times.

        From 24.11, Slurm shows them numbered: `EpilogSlurmctld[0]`.
        """
        numbered = re.compile(rf"{name}(\[\d+\])?")
        keys = [key for key in self.config if numbered.fullmatch(key)]
        values = [value for key in keys for value in self.setting(key).split(",")]
        return tuple(filter(None, values))

    def seconds(self, name: str) -> int | None:
        """Return the seconds of a setting such as `300 sec`; None where it is no number."""
        match = re.match(r"(\d+)", self.setting(name))
        return int(match[1]) if match else None
