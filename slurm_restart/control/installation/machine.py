"""The facts of this machine that an installation depends on."""

import importlib.metadata
import json
import os
import re
import shutil
import socket
import sys
from collections.abc import Mapping
from dataclasses import field
from pathlib import Path
from urllib.parse import unquote, urlparse

from slurm_restart import __version__
from slurm_restart.control.checks.context import Context
from slurm_restart.control.checks.systemd_unit import systemd_runs
from slurm_restart.control.doctor import gather
from slurm_restart.control.site import Site
from slurm_restart.errors import CsxError, SlurmUnavailableError
from slurm_restart.frozen import frozen
from slurm_restart.safe_files import read_bounded
from slurm_restart.trainer.site_file import DEFAULT_PATH

DEFAULT_CONF = Path("/etc/slurm/slurm.conf")
DEFAULT_EXPORT = "/var/lib/slurm_restart_public"
_MAX_BYTES = 1 << 22
_SETTING = re.compile(r"^[ \t]*([A-Za-z]+)[ \t]*=[ \t]*([^\s#]+)", re.MULTILINE)
_NAME = "csx-restart"


@frozen
class Machine:
    """What is known of this machine.

    Attributes:
        context: the site's settings, and Slurm's, of the running slurmctld or of its file.
        answers: whether slurmctld has answered.
        command: csx-restart, by the path that files are to name.
        systemd: whether systemd is the init system.
        host: the name of this machine.
        root: where the files of the system are looked for; another directory than `/` in tests.
    """

    context: Context
    answers: bool
    command: Path
    systemd: bool
    root: Path = Path("/")
    host: str = field(default_factory=socket.gethostname)

    def at(self, path: str) -> Path:
        """Return the path of a file of the system."""
        return self.root / path.lstrip("/")

    @property
    def conf_settings(self) -> Mapping[str, str]:
        """The settings in slurm.conf's own text, by name in lower case; empty: it has none."""
        return read_conf(self.slurm_conf)

    @property
    def slurm_conf(self) -> Path:
        """The path of slurm.conf."""
        if isinstance(self.context.site_found, Site):
            return self.context.site_found.slurm_conf
        return find_conf(self.context)

    @property
    def slurm_bin(self) -> Path:
        """The directory of Slurm's commands."""
        found = shutil.which("scontrol")
        return Site().slurm_bin if found is None else Path(found).parent

    @property
    def controllers(self) -> tuple[str, ...]:
        """The names of the hosts that slurmctld runs on, without their addresses."""
        return tuple(name.partition("(")[0] for name in self.context.several("SlurmctldHost"))

    @property
    def is_controller(self) -> bool:
        """Whether slurmctld runs here, by the name of this host; also where that is not known."""
        names = {name.partition(".")[0] for name in self.controllers}
        return not names or self.host.partition(".")[0] in names

    @property
    def hides_jobs(self) -> bool:
        """Whether users may not see the jobs of others, or the nodes (PrivateData)."""
        return bool({"jobs", "nodes"} & set(self.context.options("PrivateData")))


def look(site_path: Path) -> Machine:
    """Return the facts of this machine; where slurmctld does not answer, those of slurm.conf.

    Raises:
        SlurmUnavailableError: neither slurmctld nor slurm.conf can be read.
    """
    context = gather(site_path)
    answers = not isinstance(context.config_found, str)
    if not answers:
        context = _from_file(context)
    return Machine(context=context, answers=answers, command=own_command(), systemd=systemd_runs())


def _from_file(context: Context) -> Context:
    conf = find_conf(context)
    names = {"slurmuser": "SlurmUser", "epilogslurmctld": "EpilogSlurmctld"}
    names |= {name.lower(): name for name in ("PrivateData", "PrologEpilogTimeout", "MinJobAge")}
    found = read_conf(conf)
    if not found:
        raise SlurmUnavailableError(
            f"slurmctld does not answer ({context.config_found}), and {conf} cannot be read: "
            "run this on the controller, once Slurm is installed there"
        )
    config = {name: found[key] for key, name in names.items() if key in found}
    config["SlurmUser"] = _with_number(config.get("SlurmUser", "root"))
    return Context(
        site_path=context.site_path,
        site_found=context.site_found,
        config_found=config,
        bin_dir=context.bin_dir,
        slurm_conf=conf,
    )


def _with_number(user: str) -> str:
    """Return SlurmUser as `scontrol show config` prints it."""
    import pwd  # noqa: PLC0415 - only where slurmctld does not answer

    try:
        return f"{user}({pwd.getpwnam(user).pw_uid})"
    except KeyError:
        raise CsxError(f"SlurmUser={user} is no user of this host") from None


def find_conf(context: Context) -> Path:
    """Return the slurm.conf that Slurm's commands use here."""
    shown = "" if isinstance(context.config_found, str) else context.setting("SLURM_CONF")
    return Path(shown or os.environ.get("SLURM_CONF") or DEFAULT_CONF)


def read_conf(path: Path) -> Mapping[str, str]:
    """Return the settings of a slurm.conf by name in lower case; what it includes is not read."""
    try:
        text = read_bounded(path, _MAX_BYTES).decode(errors="replace")
    except OSError:
        return {}
    return {match[1].lower(): match[2] for match in _SETTING.finditer(text)}


def own_command() -> Path:
    """Return the path of csx-restart: as it was called, else beside the interpreter."""
    called = Path(sys.argv[0])
    if called.name == _NAME and called.is_absolute():
        return called
    found = shutil.which(_NAME) if called.name == _NAME else None
    return Path(found) if found else Path(sys.executable).parent / _NAME


def source() -> str:
    """Return what pip has installed this package from: a directory, a wheel, or a release."""
    try:
        text = importlib.metadata.distribution("slurm_restart").read_text("direct_url.json")
        url = urlparse(json.loads(text)["url"]) if text else None
    except (importlib.metadata.PackageNotFoundError, ValueError, KeyError):
        url = None
    if url is not None and url.scheme == "file":
        return unquote(url.path)
    return f"slurm_restart=={__version__}"


def is_default(site_path: Path) -> bool:
    """Return whether these settings are read without --site."""
    return site_path == DEFAULT_PATH
